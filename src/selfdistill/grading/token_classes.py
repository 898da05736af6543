"""The classes of `vocabulary.token_classes` that the text of a response decides, as one table of its tokens."""

import re
from collections.abc import Sequence

import numpy as np

from selfdistill.grading.positions import token_positions
from selfdistill.vocabulary.token_classes import POSITIONS
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

_EPISTEMIC = re.compile("|".join(EPISTEMIC_WORDS), re.IGNORECASE)


def epistemic_tokens(response: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return whether a token shares a character with an epistemic word, (tokens,), bool.

    Words are found as the paper counts them: in any case, and within other words. offsets: (start, end) of the tokens in characters.
    """
    marked = np.zeros(len(response) + 1, dtype=np.int64)  # 1 after each character of a word
    for match in _EPISTEMIC.finditer(response):
        marked[match.start() + 1 : match.end() + 1] = 1
    before = marked.cumsum()
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    return before[ends] > before[starts]


def text_classes(response: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return which tokens belong to which of the positions and to the epistemic words, (tokens, 6), bool; offsets: as above."""
    positions = np.eye(len(POSITIONS), dtype=bool)[token_positions(response, offsets)]
    return np.column_stack([positions, epistemic_tokens(response, offsets)])
