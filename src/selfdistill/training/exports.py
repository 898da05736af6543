"""Exported models in bfloat16: half the disk space of the float32 weights that are trained.

vLLM computes in bfloat16 on a GPU and casts float32 folders when it loads them, so its samples are those of the float32 export.
"""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.constants import CONFIG_NAME, SAFETENSORS_INDEX_FILE
from safetensors import safe_open
from safetensors.torch import save_file

from selfdistill.records.files import link_or_copy, read_json


def export_file(file: Path, target: Path) -> None:
    """Write a file of a model folder to `target`: weights in bfloat16, and what tells of their type and size; others linked."""
    if file.suffix == ".safetensors":
        cast_weights(file, target)
    elif file.name == CONFIG_NAME:
        write_json(target, read_json(file) | {"dtype": "bfloat16"})
    elif file.name == SAFETENSORS_INDEX_FILE:
        write_json(target, halved(read_json(file)))
    else:
        link_or_copy(file, target)


def cast_weights(file: Path, target: Path) -> None:
    """Write the tensors of a safetensors file with its float32 ones in bfloat16, one read at a time."""
    with safe_open(file, framework="pt") as opened:
        tensors = {name: rounded(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        save_file(tensors, target, metadata=opened.metadata())


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Return a float32 tensor in bfloat16, any other as it is."""
    return tensor.to(torch.bfloat16) if tensor.dtype == torch.float32 else tensor


def halved(index: dict[str, Any]) -> dict[str, Any]:
    """Return the index of a float32 folder with the size of its weights in bfloat16."""
    metadata = index.get("metadata", {})
    return index | {"metadata": metadata | {"total_size": metadata.get("total_size", 0) // 2}}


def write_json(target: Path, content: dict[str, Any]) -> None:
    """Write a file as transformers writes its configurations."""
    target.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
