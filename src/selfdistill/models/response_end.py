"""Where a response ends, for every stage: at an end token of the model folder, or where the model's positions end.

Training, evaluation, section 3, both generation backends and the records use this module. The generation_config.json of a
folder may list several end tokens (Qwen3: 151645 and 151643; Olmo-3: 100265 and 100257), while its tokenizer has one.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.models.loading import load_tokenizer

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase


def end_token_ids(
    generation_config: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase"
) -> tuple[int, ...]:
    """Return the token ids that end a response.

    The first is the tokenizer's, which SFT appends to a response; those that only the generation config lists follow. Raise
    ValueError for a tokenizer without an end-of-sequence token.
    """
    own, listed = tokenizer.eos_token_id, generation_config.eos_token_id
    if own is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no end-of-sequence token (eos_token)")
    listed = listed if isinstance(listed, list) else [listed]
    return tuple(dict.fromkeys([own, *(token for token in listed if token is not None)]))


def read_generation_config(folder: str | Path) -> "GenerationConfig":
    """Return the generation config that the model of a folder has once it is loaded."""
    from transformers import AutoConfig, GenerationConfig

    if (Path(folder) / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder)
    return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))


def folder_end_token_ids(folder: str | Path) -> tuple[int, ...]:
    """Return `end_token_ids` of a model folder."""
    return end_token_ids(read_generation_config(folder), load_tokenizer(folder))


def response_room(prompt_tokens: int, max_new_tokens: int, positions: int) -> int:
    """Return the maximum number of tokens of a response to a prompt, in a model with `positions` positions.

    Raise ValueError for a prompt that leaves no room.

    >>> response_room(100, 50, 512), response_room(500, 50, 512)
    (50, 12)
    """
    if prompt_tokens >= positions:
        raise ValueError(
            f"a prompt of {prompt_tokens} tokens leaves no room in a model of {positions} positions"
        )
    return min(max_new_tokens, positions - prompt_tokens)
