"""Loading of model folders, the same for every stage: generation, training and the acceptance test of a base."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from selfdistill.records.file_lists import FILE_LIST, check_files
from selfdistill.records.files import Damaged, read_json


def check_model_folder(folder: str | Path) -> None:
    """Raise Damaged if a file of a model folder is not as its list says; a folder that we did not make has none."""
    if (Path(folder) / FILE_LIST).exists():
        check_files(Path(folder))


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
    if saved.is_file() and read_json(saved).get("tokenizer_class") in generic:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def load_model(folder: str | Path, dtype: str = "float32") -> "PreTrainedModel":
    """Return the causal language model of a folder, on the CPU; dtype `auto` keeps the folder's own."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    except SafetensorError as error:
        raise Damaged(f"{folder}: its weights are truncated or damaged ({error})") from error
