"""SDPO whose loss counts at some tokens only, chosen by their class (our own; it measures where SDPO's loss acts).

    L = (sum of D(s_t, q_t) over the kept tokens) / N

with D the loss of SDPO and N the tokens that it is a mean over: all of the responses with a demonstration in the optimizer mini-batch. N is
not the number of kept tokens, so that the gradients of the five positions add up to SDPO's, as those of `only` and `without` one
class do. Kept are the tokens of any class of `at`, or those of none. `high-entropy` are the `entropy_share` of the N tokens at which
the policy that drew them had the highest entropy over the vocabulary; tokens that are equal to the last of them belong to them too.
The share of 20 % is that of arXiv 2506.01939, which trains on those tokens only by reinforcement learning; that they are
counted in the mini-batch is our choice.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from selfdistill.study.fields import Share
from selfdistill.study.methods.base import Method
from selfdistill.study.methods.sdpo import SdpoSettings, check_teacher_thinking
from selfdistill.vocabulary.contexts import TEACHER
from selfdistill.vocabulary.looks import Look
from selfdistill.vocabulary.token_classes import TOKEN_CLASSES

ONLY, WITHOUT = "only", "without"
"""Values of `keep`."""


def distinct(classes: list[str]) -> list[str]:
    """Return classes of which none comes twice. Raises ValueError otherwise."""
    for name in classes:
        if classes.count(name) > 1:
            others = ", ".join(other for other in TOKEN_CLASSES if other not in classes)
            raise ValueError(f"{name!r} comes twice; allowed beside: {others}")
    return classes


class PositionsSettings(SdpoSettings):
    """SDPO whose loss counts at some tokens only."""

    at: Annotated[list[Literal[TOKEN_CLASSES]], AfterValidator(distinct)] = Field(
        min_length=1,
        description="classes of tokens: where they are in the response (grading/positions.py), `epistemic` (of the ten words), or "
        "`high-entropy`",
    )
    keep: Literal[ONLY, WITHOUT] = Field(
        default=ONLY,
        description="`only` (tokens of these classes have a loss) or `without` (all others have)",
    )
    entropy_share: Share = Field(
        default=0.2, description="share of a mini-batch's loss tokens that are `high-entropy`"
    )


POSITIONS = Method(
    name="sdpo-positions",
    label="SDPO at some tokens ({symbol})",
    settings=PositionsSettings,
    sections=("rl", "sdpo", "positions"),
    trainer="selfdistill.training.variants.positions:train_positions",
    passes=7.0,  # as SDPO, and one of the student for its entropies
    contexts=TEACHER,
    has_teacher=True,
    look=Look("#661100", "P", "/"),
    check=check_teacher_thinking,
)
