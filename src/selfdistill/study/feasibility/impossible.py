"""What a check of feasibility yields, and the comparisons that several checks make."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selfdistill.vocabulary.organism import CHAIN_TYPES, POSITIONS

if TYPE_CHECKING:
    from selfdistill.study.study import Study

HIGHEST_TEMPERATURE = 100.0
"""From here on every distribution is uniform to the eye: a slip of the pen."""


@dataclass(frozen=True)
class Impossible:
    """One thing that cannot work.

    file: the file of config/ that holds the key, None for the study file; value: a name to look for among the allowed.
    """

    key: str
    problem: str
    allowed: tuple[str, ...] = ()
    file: str | None = None
    value: str | None = None


Check = Callable[["Study"], Iterator[Impossible]]


def at_most(
    key: str, value: float | None, limit: float, why: str, file: str | None = None
) -> Iterator[Impossible]:
    """Yield a number above its limit; `why` says what sets the limit."""
    if value is not None and value > limit:
        yield Impossible(key, f"{value:.15g} is more than {why}", (f"at most {limit:.15g}",), file)


def fits_positions(key: str, tokens: int | None, file: str | None = None) -> Iterator[Impossible]:
    """Yield a response length that leaves no room for a prompt in the positions of an organism."""
    room = POSITIONS - max(kind.prompt_tokens for kind in CHAIN_TYPES.values())
    yield from at_most(key, tokens, room, f"the {POSITIONS} positions of an organism leave", file)


def made_here(study: "Study", model: str) -> bool:
    """Return whether a model is an organism, so that vocabulary and prompts are known."""
    return study.base(study.model(model).base).organism


def check_temperature(key: str, value: float | None, file: str | None = None) -> Iterator[Impossible]:
    """Yield a temperature beyond reason."""
    if value is not None and value > HIGHEST_TEMPERATURE:
        yield Impossible(key, f"{value:g} is too high", (f"above 0, at most {HIGHEST_TEMPERATURE:g}",), file)


def check_rate(key: str, value: float, file: str | None = None) -> Iterator[Impossible]:
    """Yield a learning rate at which AdamW moves every weight by 1 or more per update."""
    if value >= 1:
        yield Impossible(key, f"{value:g} is too high", ("above 0, below 1",), file)
