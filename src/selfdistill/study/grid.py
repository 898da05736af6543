"""The grid of runs: how an entry of `runs` in a study file unfolds into runs."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field

from selfdistill.study.fields import Positive, Section
from selfdistill.study.sampling import Context
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.runs import RUN_FIELDS, Run

__all__ = ["RUN_FIELDS", "SDPO_CONTEXTS", "TEACHER", "Run", "RunGrid", "base_run", "expand", "parse_seeds"]

SDPO_CONTEXTS = ("solution", "answer-only", "other-solution")
"""What SDPO's teacher may see; `other-solution` is a control (the solution of another problem)."""
TEACHER = re.compile(r"fixed|ema-0?\.\d*[1-9]\d*")


class RunGrid(Section):
    """Runs of an experiment: all lists are crossed."""

    experiment: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="name of the experiment")
    models: list[str] = Field(min_length=1, description="keys of models.yaml")
    method: Literal["sft", "grpo", "sdpo"] = Field(description="training method")
    contexts: list[Context | Literal["other-solution"]] = Field(
        default=[],
        description="sft: what the data was written under; sdpo: what the teacher sees; not for grpo",
    )
    teachers: list[str] = Field(
        default=[], description="sdpo only: `fixed`, or `ema-RATE` with 0 < RATE < 1 an update"
    )
    dataset: str = Field(description="training problem set, key of `datasets`")
    coverages: list[Positive | Literal["full"]] = Field(
        default=["full"], min_length=1, description="distinct training problems"
    )
    variants: list[str] = Field(default=["default"], min_length=1, description="keys of `variants`")
    seeds: list[int] | None = Field(
        default=None, min_length=1, description="seeds where they differ from the study's"
    )


def base_run(model: str, seed: int) -> Run:
    """A model before training."""
    return Run(model, "base", "none", "none", "none", "none", "default", seed)


def expand(entry: RunGrid, seeds: Iterable[int]) -> Iterator[Run]:
    """The runs of one entry of the grid, crossed in the order of its keys."""
    seeds = list(seeds)
    for model in entry.models:
        for context in entry.contexts or ["none"]:
            for teacher in entry.teachers or ["none"]:
                for coverage in entry.coverages:
                    for variant in entry.variants:
                        for seed in seeds:
                            yield Run(
                                model,
                                entry.method,
                                context,
                                teacher,
                                entry.dataset,
                                str(coverage),
                                variant,
                                seed,
                            )


def parse_seeds(value: Any) -> list[int] | None:
    """The seeds that a command line gives (`0`, `0,1,2` or a list); None for none. Raises StudyError."""
    if value in (None, ""):
        return None
    items = value if isinstance(value, list) else str(value).strip("[]").split(",")
    try:
        return [int(str(item)) for item in items]
    except ValueError as error:
        raise StudyError(
            f"--config seeds: {value!r} is not a list of numbers, such as seeds=0,1,2"
        ) from error
