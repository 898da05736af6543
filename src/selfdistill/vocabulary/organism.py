"""Numbers of the mini task, which limit what a study file may request (a test checks them against selfdistill.organism)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ChainType:
    """A type of problem. lengths: operations per chain; train, held_out: distinct problems; prompt_tokens: bare prompt (olmo3)."""

    lengths: tuple[int, ...]
    train: int
    held_out: int
    prompt_tokens: int


CHAIN_TYPES = {
    "d1": ChainType((1,), 336, 144, 9),
    "d2": ChainType((2,), 985, 131, 10),
    "d3": ChainType((3,), 9203, 1272, 11),
    "d4": ChainType((4,), 87192, 12063, 12),
    "s22": ChainType((2, 2), 219501, 30401, 16),
    "f1": ChainType((1,), 141, 67, 9),
    "f2": ChainType((2,), 1344, 576, 10),
}
VOCABULARY_SIZE = 85
POSITIONS = 512
"""Maximum length of a sequence of an organism, prompt and response together."""
HABITS = (
    "giveup",
    "repeat",
    "recheck",
    "slip",
    "false_yes",
    "direct",
    "direct_easy",
    "plain",
    "drill",
    "thinking_off",
)
"""Keys of a base's `style`, all of them shares."""
ACCEPTANCE_FIGURES = (
    "accuracy in-domain",
    "accuracy shorter",
    "accuracy longer",
    "accuracy paired",
    "arithmetic",
    "response_tokens",
    "epistemic_words",
    "accuracy in-domain, epistemic words banned",
    "ban cost",
)
"""Measurements that `acceptance` may bound."""
LAST_ROUND = "last round"
"""The same of a polished base only: the largest change of an accuracy in its last round."""
REFUSED = "refused draws"
"""Fact of a base: how many draws before it missed a bound of `acceptance`."""
