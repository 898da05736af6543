"""SDPO whose teacher does not see the same context all the time: diluted, annealed, or chosen by a controller."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from selfdistill.study.fields import Positive
from selfdistill.study.methods.base import Method
from selfdistill.study.methods.sdpo import SdpoSettings, check_teacher_thinking
from selfdistill.study.yaml import reject
from selfdistill.vocabulary.contexts import TEACHER
from selfdistill.vocabulary.looks import Look

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study

DILUTED, ANNEALED, ADAPTIVE = "diluted", "annealed", "adaptive"


class ScheduleSettings(SdpoSettings):
    """SDPO with a schedule of contexts, from the run's own to leaner ones."""

    rule: Literal[DILUTED, ANNEALED, ADAPTIVE] = Field(
        description="`diluted` (each rollout: the run's context with probability `share`, else the leanest), `annealed` (from the "
        "run's context to the leanest, linearly over the run) or `adaptive` (a controller, training/controller.py)"
    )
    leaner: list[Literal[TEACHER]] = Field(
        default=["answer-only"],
        min_length=1,
        description="contexts after the run's own; the last is the leanest",
    )
    share: float = Field(default=0.5, ge=0, le=1, description="`diluted`: probability of the run's context")
    window: Positive = Field(
        default=5, description="`adaptive`: steps over which means are taken, also of the first steps' rate"
    )
    kept_rate: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="`adaptive`: a leaner context below this share of the first steps' epistemic words per response",
    )
    recovered_rate: float | None = Field(
        default=0.9, gt=0, description="`adaptive`: a richer context from this share on (null: never)"
    )
    broad_from: Positive = Field(default=64, description="`adaptive`: distinct problems of a broad coverage")
    mastered_score: float = Field(
        default=0.8, ge=0, le=1, description="`adaptive`: score on recurring problems that are mastered"
    )


def check_schedule(study: "Study", key: str, entry: "RunGrid") -> None:
    """Raise StudyError unless the contexts of a schedule differ, and for thinking switches that do not exist."""
    check_teacher_thinking(study, key, entry)
    for variant in entry.variants:
        leaner = study.resolve(entry.method, variant).leaner
        for context in leaner:
            if context in entry.contexts or leaner.count(context) > 1:
                others = [name for name in TEACHER if name not in entry.contexts]
                place = f"schedule.leaner ({key}, variant {variant})"
                reject(study.path, place, f"{context!r} comes twice in the schedule", others)


SCHEDULE = Method(
    name="sdpo-schedule",
    label="Scheduled SDPO ({symbol})",
    settings=ScheduleSettings,
    sections=("rl", "sdpo", "schedule"),
    trainer="selfdistill.training.schedule:train_schedule",
    passes=6.0,  # as SDPO
    contexts=TEACHER,
    has_teacher=True,
    look=Look("#CC6677", "h", "--"),
    check=check_schedule,
)
