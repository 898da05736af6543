"""Bases and models of models.yaml: shapes, habits, and the thinking that a template can write."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from selfdistill.study.feasibility.impossible import Impossible, check_rate
from selfdistill.study.models import OrganismBase
from selfdistill.vocabulary.organism import ACCEPTANCE_FIGURES, HABITS

if TYPE_CHECKING:
    from selfdistill.study.study import Study


def organisms(study: "Study") -> Iterator[tuple[str, OrganismBase]]:
    """Yield (key, base) of the study's organisms."""
    for name in study.bases("organism"):
        yield f"bases.{name}", study.base(name)


def check_shapes(study: "Study") -> Iterator[Impossible]:
    """Heads share the width evenly, in an even number of dimensions each (rotary positions turn pairs)."""
    for key, base in organisms(study):
        if base.hidden_size % (2 * base.heads):
            problem = f"{base.hidden_size} is not a multiple of 2 x heads = {2 * base.heads}"
            yield Impossible(f"{key}.hidden_size", problem, file="models.yaml")


def check_organisms(study: "Study") -> Iterator[Impossible]:
    """Habits, acceptance figures and their bounds exist; rates are no slip of the pen."""
    for key, base in organisms(study):
        for habit in set(base.style) - set(HABITS):
            yield Impossible(f"{key}.style.{habit}", "unknown habit", HABITS, "models.yaml", habit)
        for figure, (low, high) in base.acceptance.items():
            if figure not in ACCEPTANCE_FIGURES:
                yield Impossible(
                    f"{key}.acceptance.{figure}", "unknown figure", ACCEPTANCE_FIGURES, "models.yaml", figure
                )
            if low is not None and high is not None and low > high:
                problem = f"lowest {low:g} is above highest {high:g}"
                yield Impossible(f"{key}.acceptance.{figure}", problem, file="models.yaml")
        yield from check_rate(f"{key}.learning_rate", base.learning_rate, "models.yaml")


def check_thinking(study: "Study") -> Iterator[Impossible]:
    """A model's thinking is one that its base's template can write."""
    for name in study.models():
        allowed, found = study.family(name).modes, study.model(name).thinking
        if found not in allowed:
            problem = f"{found!r} cannot be written by the template {study.family(name).name} of its base"
            yield Impossible(f"models.{name}.thinking", problem, allowed, "models.yaml")
