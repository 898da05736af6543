"""Loading of model folders, the same for every stage: generation, training and the acceptance test of a base."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that a folder was saved with; one without a padding token pads with its end of sequence, as in TRL.

    transformers 5 replaces the saved tokenizer of every folder of model type `qwen2` by its own Qwen2Tokenizer (the class named by
    many hub files of that type is wrong), which would silently re-split our word-level text. A folder that names the generic class
    is therefore loaded as what it says.
    """
    tokenizer = _saved_tokenizer(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _saved_tokenizer(folder: str | Path):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    saved = Path(folder) / "tokenizer_config.json"
    generic = {"TokenizersBackend", "PreTrainedTokenizerFast"}
    if saved.is_file() and json.loads(saved.read_text(encoding="utf-8")).get("tokenizer_class") in generic:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def load_model(folder: str | Path, dtype: str = "float32") -> "PreTrainedModel":
    """Return the causal language model of a folder, on the CPU; dtype `auto` keeps the folder's own."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
