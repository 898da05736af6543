"""What the methods share that distil from a cleaned target instead of the self-teacher's own distribution."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from selfdistill.study.methods.base import Method, taught_method
from selfdistill.study.methods.sdpo import SdpoSettings, check_teacher_thinking
from selfdistill.study.yaml import known, reject
from selfdistill.vocabulary.contexts import TEACHER
from selfdistill.vocabulary.looks import Look
from selfdistill.vocabulary.teachers import FIXED

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study

Check = Callable[["Study", str, "RunGrid"], None]


def check_whole_vocabulary(study: "Study", key: str, entry: "RunGrid") -> None:
    """Raise StudyError unless the loss is over the whole vocabulary, where the target is one."""
    for variant in entry.variants:
        top_k = study.resolve(entry.method, variant).top_k
        if top_k is not None:
            place = f"{entry.method}.top_k ({key}, variant {variant})"
            reject(study.path, place, f"{top_k} leaves a part of the target out", ["null"])


def check_fixed(study: "Study", key: str, entry: "RunGrid") -> None:
    """Raise StudyError for a teacher that moves, where the teacher is also the clean base."""
    known(study.path, f"{key}.teachers", entry.teachers, [FIXED])


def target_method(
    name: str,
    label: str,
    settings: type[SdpoSettings],
    passes: float,
    look: Look,
    checks: tuple[Check, ...],
    contexts: tuple[str, ...] = TEACHER,
) -> Method:
    """Return the declaration of a method whose trainer is `training.variants.NAME:train_NAME`; checks: beside SDPO's own."""

    def check(study: "Study", key: str, entry: "RunGrid") -> None:
        """Raise StudyError for what one of the checks refuses."""
        for one in (check_teacher_thinking, *checks):
            one(study, key, entry)

    return taught_method(name, label, settings, ("rl", "sdpo", name), passes, look, check, contexts)
