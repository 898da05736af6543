r"""Where in a response a token is: its opener, a fork after a failed check, a candidate, the answer, or anywhere else.

The classes are defined on words, so that they mean the same for every tokenizer; `token_positions` gives them to tokens by
their character offsets. In the organism's language they are exact:

    maybe 5 : 1 5 = 6 no wait perhaps 7 : 1 7 = 7 yes </think> \boxed{7}
    ^opener ^candidate        ^fork   ^candidate               ^answer

- *answer*: the last `\boxed{…}`.
- *opener*: the words before the first number, at most `OPENER_WORDS`.
- *fork*: the first word after a failed check, that is after a word of `REJECTING` and those of `REJECTING` and `HESITATING` that follow it.
- *candidate*: the first number after an opener, a fork or a word of `PROPOSING`, at most `REACH` words later.

Punctuation and think tags are no words; they are *other*, as is the end of a response. In free text the rules are the same, and approximate.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from selfdistill.models.prompts import THINK_CLOSE, THINK_OPEN, last_boxed
from selfdistill.vocabulary.token_classes import POSITIONS
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

OTHER = POSITIONS.index("other")
OPENER_WORDS = 4
REACH = 4
REJECTING = frozenset({"no", "wait", "wrong", "incorrect"})
HESITATING = frozenset({"hmm", "actually"})
CHECKING = REJECTING | HESITATING
PROPOSING = frozenset({*EPISTEMIC_WORDS, "try", "so", "thus", "clearly"}) - CHECKING

_WORD = re.compile(rf"{THINK_OPEN}|{THINK_CLOSE}|(?P<number>\d+(?:\.\d+)?)|(?P<word>[^\W\d_]+)")


def word_positions(response: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, class) of every word of a response that is not `other`, in characters and in order; the box is one word."""
    boxed = last_boxed(response)
    end = response.rindex(boxed) if boxed else len(response)
    opening, near, failed = OPENER_WORDS, REACH, False
    for match in _WORD.finditer(response, 0, end):
        if match["number"]:
            if near:
                yield *match.span(), "candidate"
            opening, near, failed = 0, 0, False
        elif match["word"]:
            word = match["word"].lower()
            fork = failed and word not in CHECKING
            failed = word in REJECTING or (failed and word in HESITATING)
            if opening or fork:
                yield *match.span(), "opener" if opening else "fork"
            near = REACH if fork or word in PROPOSING else max(near - 1, 0)
            opening = max(opening - 1, 0)
    if boxed:
        yield end, end + len(boxed), "answer"


def token_positions(response: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the index in POSITIONS of every token, (tokens,), int64: that of its last character.

    offsets: (start, end) of the tokens in characters, as tokenizers give them; an empty token is `other`.
    """
    of_character = np.full(len(response) + 1, OTHER)
    for start, end, name in word_positions(response):
        of_character[start:end] = POSITIONS.index(name)
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    return np.where(ends > starts, of_character[np.maximum(ends - 1, 0)], OTHER)
