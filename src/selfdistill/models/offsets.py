"""Where in its text each token of a sampled response is.

A tokenizer gives offsets of the tokens that it would choose. A model may have drawn others for the same text, so that what it
drew decides here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_offsets(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[int]]
) -> tuple[list[str], list[np.ndarray]]:
    """Return the texts of some rows of token ids without special tokens, and (start, end) of each token in them, (tokens, 2), int64.

    In characters; a special token is empty (start = end). tokenizer: a fast one.
    """
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    special = [token for token, added in tokenizer.added_tokens_decoder.items() if added.special]
    found = []
    for row, chosen, offsets in zip(rows, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        ids = np.asarray(row, dtype=np.int64)
        shown = ~np.isin(ids, special)
        if np.array_equal(ids[shown], chosen):
            ends = np.zeros((len(ids), 2), dtype=np.int64)
            ends[shown] = np.reshape(offsets, (-1, 2))
        else:
            ends = streamed_offsets(tokenizer, row)
        found.append(ends)
    return texts, found


def streamed_offsets(tokenizer: "PreTrainedTokenizerBase", row: Sequence[int]) -> np.ndarray:
    """Return (start, end) of each token, (tokens, 2), int64, by decoding one after the other: slow, but right for every row.

    Of tokens that share a character, the last has it and the others are empty.
    """
    from tokenizers.decoders import DecodeStream

    stream, core = DecodeStream(skip_special_tokens=True), tokenizer.backend_tokenizer
    lengths = [len(stream.step(core, token) or "") for token in row]
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.stack([ends - lengths, ends], axis=1)
