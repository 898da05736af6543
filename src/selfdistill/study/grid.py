"""The grid of runs: how an entry of `runs` in a study file unfolds into runs."""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field

from selfdistill.study.fields import Positive, Section
from selfdistill.study.methods import METHODS
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.contexts import CONTEXTS, NONE
from selfdistill.vocabulary.runs import DEFAULT, FULL, Run


class RunGrid(Section):
    """One entry of `runs`: the Cartesian product of its lists."""

    experiment: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="name of the experiment")
    models: list[str] = Field(min_length=1, description="keys of models.yaml")
    method: Literal[tuple(METHODS)] = Field(description="training method")
    contexts: list[Literal[tuple(CONTEXTS)]] = Field(
        default=[],
        description="off-policy methods: context under which the data was written; self-distillation: what the teacher sees",
    )
    teachers: list[str] = Field(
        default=[], description="methods with a teacher: `fixed`, or `ema-RATE` with 0 < RATE < 1 per update"
    )
    dataset: str = Field(description="training problem set, key of `datasets`")
    coverages: list[Positive | Literal[FULL]] = Field(
        default=[FULL],
        min_length=1,
        description="numbers of distinct training problems; `full` is the whole set",
    )
    variants: list[str] = Field(default=[DEFAULT], min_length=1, description="keys of `variants`")
    seeds: list[int] | None = Field(
        default=None, min_length=1, description="seeds (null: the study's `seeds`)"
    )


def expand(entry: RunGrid, seeds: Iterable[int]) -> Iterator[Run]:
    """Yield the runs of one entry of the grid, crossed in the order of its keys."""
    crossed = itertools.product(
        entry.models,
        entry.contexts or [NONE],
        entry.teachers or [NONE],
        map(str, entry.coverages),
        entry.variants,
        list(seeds),
    )
    for model, context, teacher, coverage, variant, seed in crossed:
        yield Run(model, entry.method, context, teacher, entry.dataset, coverage, variant, seed)


def parse_seeds(value: Any) -> list[int] | None:
    """The seeds that a command line gives (`0`, `0,1,2` or a list); None for none. Raises StudyError."""
    if value in (None, ""):
        return None
    items = value if isinstance(value, list) else str(value).strip("[]").split(",")
    texts = [str(item).strip() for item in items]
    if not all(re.fullmatch(r"-?[0-9]+", text) for text in texts):
        raise StudyError(f"--config seeds: {value!r} must be a list of numbers, such as seeds=0,1,2")
    return [int(text) for text in texts]
