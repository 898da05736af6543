"""Bases and models of models.yaml: shapes, habits, and the thinking that a template can write."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from selfdistill.study.feasibility.impossible import Impossible, at_most, check_rate, fits_positions
from selfdistill.study.models import OrganismBase, PolishedBase
from selfdistill.vocabulary.families import family_of
from selfdistill.vocabulary.organism import (
    ACCEPTANCE_FIGURES,
    CHAIN_TYPES,
    HABITS,
    LAST_ROUND,
)

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
        yield from check_acceptance(key, base, ACCEPTANCE_FIGURES)
        yield from check_rate(f"{key}.learning_rate", base.learning_rate, "models.yaml")


def check_acceptance(
    key: str, base: OrganismBase | PolishedBase, figures: tuple[str, ...]
) -> Iterator[Impossible]:
    """Bounds are on figures that are measured, the lowest below the highest."""
    for figure, (low, high) in base.acceptance.items():
        if figure not in figures:
            yield Impossible(f"{key}.acceptance.{figure}", "unknown figure", figures, "models.yaml", figure)
        if low is not None and high is not None and low > high:
            problem = f"lowest {low:g} is above highest {high:g}"
            yield Impossible(f"{key}.acceptance.{figure}", problem, file="models.yaml")


def check_polish(study: "Study") -> Iterator[Impossible]:
    """What is polished is an organism, in a thinking of its template, on problems that there are."""
    for name in study.bases("polished"):
        key, base, organism = f"bases.{name}", study.base(name), study.root(name)
        allowed = family_of(organism.template).modes
        if base.thinking not in allowed:
            problem = f"{base.thinking!r} cannot be written by the template {organism.template} of {base.of}"
            yield Impossible(f"{key}.thinking", problem, allowed, "models.yaml")
        for kind in set(base.types) - set(CHAIN_TYPES):
            yield Impossible(
                f"{key}.types.{kind}", "unknown type of problem", tuple(CHAIN_TYPES), "models.yaml", kind
            )
        there = sum(CHAIN_TYPES[kind].train for kind in base.types if kind in CHAIN_TYPES)
        yield from at_most(
            f"{key}.selection.pool", base.selection.pool, there, "its types have problems", "models.yaml"
        )
        yield from fits_positions(f"{key}.max_new_tokens", base.max_new_tokens, "models.yaml")
        yield from check_rate(f"{key}.sft.learning_rate", base.sft.learning_rate, "models.yaml")
        yield from check_acceptance(key, base, (*ACCEPTANCE_FIGURES, LAST_ROUND))


def check_thinking(study: "Study") -> Iterator[Impossible]:
    """A model's thinking is one that its base's template can write."""
    for name in study.models():
        allowed, found = study.family(name).modes, study.model(name).thinking
        if found not in allowed:
            problem = f"{found!r} cannot be written by the template {study.family(name).name} of its base"
            yield Impossible(f"models.{name}.thinking", problem, allowed, "models.yaml")
