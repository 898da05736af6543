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
        default=[],
        description="methods with a teacher: `fixed`, `ema-RATE` with 0 < RATE < 1 per update, or `snapshot-STEPS`",
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


def expand(entry: RunGrid, draws: Iterable[tuple[int, int]]) -> Iterator[Run]:
    """Yield the runs of one entry of the grid, crossed in the order of its keys; draws: (replicate, seed)."""
    crossed = itertools.product(
        entry.models,
        entry.contexts or [NONE],
        entry.teachers or [NONE],
        map(str, entry.coverages),
        entry.variants,
        list(draws),
    )
    for model, context, teacher, coverage, variant, draw in crossed:
        yield Run(model, entry.method, context, teacher, entry.dataset, coverage, variant, *draw)


def parse_draws(key: str, value: Any) -> list[int] | None:
    """Return the replicates or seeds that a command line gives (`0`, `0,1,2`, `0-9` or a list); None for none.

    Raises StudyError, which names the key.
    """
    if value in (None, ""):
        return None
    items = value if isinstance(value, list | tuple) else str(value).strip("[]").split(",")
    texts = [str(item).strip() for item in items]
    found = [re.fullmatch(r"(-?[0-9]+)(?:-([0-9]+))?", text) for text in texts]
    if not all(found):
        raise StudyError(
            f"--config {key}: {value!r} must be a list of numbers, such as {key}=0,1,2 or {key}=0-2"
        )
    return [
        number
        for first, last in (one.groups() for one in found)
        for number in range(int(first), int(last or first) + 1)
    ]
