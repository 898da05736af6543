"""Weights and questions that come inside a Python package (config/smollm.yaml): found, never imported.

For a machine that reaches a package index and no model hub. The weights are a GGUF file; transformers reads it,
but cannot save what it read, so the numbers are copied into a fresh model.
"""

import importlib.util
from pathlib import Path

SCHEME = "package://"


class PackageMissing(FileNotFoundError):
    """A package, or a file of it, that is not installed."""


def package_file(address: str) -> Path:
    """The file of `package://NAME/PATH`; raises PackageMissing with what to install."""
    name, _, path = address.removeprefix(SCHEME).partition("/")
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise PackageMissing(
            f"{address}: the package {name} is not installed: `make smollm` installs envs/requirements-smollm.txt"
        )
    file = Path(next(iter(found.submodule_search_locations)), path)
    if not file.is_file():
        raise PackageMissing(f"{address}: the installed package has no such file; another version?")
    return file


def weights_file(address: str) -> Path:
    """The GGUF file of `package://NAME/PATH`; raises PackageMissing where it, or the package that reads it, is not installed."""
    if importlib.util.find_spec("gguf") is None:
        raise PackageMissing(
            f"{address}: the package gguf, which reads it, is not installed: `make smollm` installs envs/requirements-smollm.txt"
        )
    return package_file(address)


def unpack_model(address: str, end_of_turn: str, folder: Path) -> None:
    """Write the GGUF model of a package as a plain model folder with its tokenizer.

    end_of_turn: the token that ends a response. GGUF readers take the one that starts a turn for it, so that
    no response would ever end. Weights are dequantised to float32.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = weights_file(address)
    source = {"gguf_file": file.name, "dtype": "float32"}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.eos_token = tokenizer.pad_token = end_of_turn
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, **source)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
