"""SDPO: on-policy self-distillation (paper Eq. 1; sections 5 and 6)."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from selfdistill.study.fields import Positive
from selfdistill.study.methods.base import Method, RolloutSettings
from selfdistill.study.yaml import reject
from selfdistill.vocabulary.contexts import TEACHER
from selfdistill.vocabulary.families import OFF, ON

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study

SAME = "same"
"""Value of `teacher_thinking`: the student's own."""


class SdpoSettings(RolloutSettings):
    """SDPO: on-policy self-distillation."""

    alpha: float = Field(
        description="divergence: generalised Jensen-Shannon, from KL (0) to reverse KL (1)", ge=0, le=1
    )
    top_k: Positive | None = Field(
        description="number of the student's most likely tokens in the loss (null: the whole vocabulary)"
    )
    tail: bool = Field(
        description="whether the loss has a bucket for all other tokens, if `top_k` leaves any out"
    )
    is_clip: float | None = Field(
        default=2.0,
        description="upper bound of the ratio to the policy that generated the rollouts (null: none)",
    )
    success_threshold: float = Field(
        default=0.5, description="lowest score of a response that counts as a demonstration"
    )
    max_reprompt_tokens: Positive | None = Field(
        default=None,
        description="length in tokens at which the teacher's prompt is cut, on the right (null: never)",
    )
    teacher_thinking: Literal[SAME, ON, OFF] = Field(
        default=SAME,
        description="thinking switch of the teacher's prompt: `same` as the student's, or its own ("
        "appendix E: `on` for a student with thinking off is the hybrid)",
    )


def check_teacher_thinking(study: "Study", key: str, entry: "RunGrid") -> None:
    """Raise StudyError if a teacher has a thinking switch of its own and a model's template has none."""
    switched = [name for name in study.catalogue.models if study.family(name).has_switch]
    for variant in entry.variants:
        if study.resolve(entry.method, variant).teacher_thinking == SAME:
            continue
        for model in entry.models:
            if model not in switched:
                problem = f"variant {variant} switches the teacher's thinking, which {model} cannot"
                reject(study.path, f"{key}.models", problem, switched)


SDPO = Method(
    name="sdpo",
    label="SDPO ({symbol})",
    settings=SdpoSettings,
    sections=("rl", "sdpo"),
    trainer="selfdistill.training.sdpo:train_sdpo",
    passes=6.0,  # as GRPO, and one of the teacher (an upper bound: rollouts without a demonstration cost one token)
    contexts=TEACHER,
    has_teacher=True,
    check=check_teacher_thinking,
)
