"""Tiny models for the tests of vLLM, and what transformers makes of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import PreTrainedModel

from selfdistill.organism.pretraining import build_model
from selfdistill.organism.tokenizer import build_tokenizer

for name, value in {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "0",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}.items():
    os.environ.setdefault(name, value)

SHARPER = 1.5


def save_model(folder: Path, architecture: str, template: str, layers: int = 2, **config) -> Path:
    """A random model with its tokenizer, in the tests' tiny vocabulary; config: entries of its configuration.

    Heads of 32 (vLLM's attention on a CPU knows none of 16), and sharpened: an untrained model is nearly
    uniform, and ties would decide what is greedy.
    """
    tokenizer = build_tokenizer(template)
    spec = SimpleNamespace(
        architecture=architecture, hidden_size=64, layers=layers, heads=2, intermediate_size=96
    )
    model = build_model(spec, tokenizer, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(SHARPER)
    model.config.update(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def greedy(model: PreTrainedModel, prompts: Sequence[list[int]], tokens: int) -> list[list[int]]:
    """The greedy responses of transformers."""
    found = []
    for prompt in prompts:
        given = torch.tensor([prompt])
        whole = model.eval().generate(
            input_ids=given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=tokens
        )
        found.append(whole[0, len(prompt) :].tolist())
    return found
