"""Loading of model folders, the same for every stage: generation, training, and the acceptance test of a base."""

from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.records.file_lists import FILE_LIST, check_files
from selfdistill.records.files import Damaged, read_json
from selfdistill.vocabulary.attention import check_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_model_folder(folder: str | Path) -> None:
    """Raise Damaged if a file of a model folder differs from its file list; folders from elsewhere have no list."""
    if (Path(folder) / FILE_LIST).exists():
        check_files(Path(folder))


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that a folder was saved with. Without a padding token, it pads with its end of sequence, as in TRL.

    transformers 5 replaces the saved tokenizer of every folder of model type `qwen2` with its own Qwen2Tokenizer, because many
    hub files of that type name a wrong class. That would silently split the mini models' word-level text differently. A folder
    that names the generic class is therefore loaded with that class.
    """
    tokenizer = _saved_tokenizer(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _saved_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a folder, of the class that the folder names."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    saved = Path(folder) / "tokenizer_config.json"
    generic = {"TokenizersBackend", "PreTrainedTokenizerFast"}
    if saved.is_file() and read_json(saved).get("tokenizer_class") in generic:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def load_model(folder: str | Path, dtype: str = "float32", attention: str | None = None) -> "PreTrainedModel":
    """Return the causal language model of a folder, on the CPU; dtype `auto` keeps that of the folder.

    attention: name of its attention function (None: transformers' choice). Raise ImportError if its package is missing.
    """
    if attention is not None:
        check_attention(attention)
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    except SafetensorError as error:
        raise Damaged(f"{folder}: the weights are truncated or damaged ({error})") from error
