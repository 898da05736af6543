"""What the methods share that combine GRPO's group advantage with the self-teacher's log-probabilities."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from selfdistill.study.methods.base import Method, taught_method
from selfdistill.study.methods.grpo import GrpoSettings
from selfdistill.study.methods.sdpo import SdpoSettings, check_teacher_thinking
from selfdistill.vocabulary.contexts import TEACHER
from selfdistill.vocabulary.looks import Look

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study


class CreditSettings(SdpoSettings, GrpoSettings):
    """GRPO's clips and SDPO's teacher; `alpha`, `top_k`, `tail` and `is_clip` serve Blend and SRPO, which also distil."""


def credit_method(
    name: str,
    label: str,
    settings: type[CreditSettings],
    passes: float,
    look: Look,
    check: Callable[["Study", str, "RunGrid"], None] = check_teacher_thinking,
    contexts: tuple[str, ...] = TEACHER,
) -> Method:
    """Return the declaration of a method whose trainer is `training.variants.NAME:train_NAME`.

    Settings that GRPO and SDPO both have, such as the learning rate, are GRPO's unless the method's section has its own.
    """
    return taught_method(name, label, settings, ("rl", "sdpo", "grpo", name), passes, look, check, contexts)
