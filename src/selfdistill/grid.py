"""The grid of runs: what a run is, and how an entry of `runs` in a study file unfolds into runs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from selfdistill.settings import Context, Positive, Section

RUN_FIELDS = ("model", "method", "context", "teacher", "dataset", "coverage", "variant", "seed")
"""What makes a run, in the order of paths and columns."""

SDPO_CONTEXTS = ("solution", "answer-only", "other-solution")
"""What SDPO's teacher may see; `other-solution` is a control (the solution of another problem)."""
TEACHER = re.compile(r"fixed|ema-0?\.\d*[1-9]\d*")


@dataclass(frozen=True)
class Run:
    """One run of the grid; `experiments` names what it serves and does not make it another run."""

    model: str
    method: str
    context: str
    teacher: str
    dataset: str
    coverage: str
    variant: str
    seed: int
    experiments: tuple[str, ...] = field(default=(), compare=False)

    def fields(self) -> dict[str, str | int]:
        """The run fields in their order: wildcards, columns and params."""
        return {name: getattr(self, name) for name in RUN_FIELDS}

    def __str__(self) -> str:
        """The run fields joined by slashes, as in its path."""
        return "/".join(str(value) for value in self.fields().values())


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
