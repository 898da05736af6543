"""What a run is: its fields, in the order of paths, columns and wildcards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RUN_FIELDS = ("model", "method", "context", "teacher", "dataset", "coverage", "variant", "seed")
"""Fields that identify a run."""
RUN_KEY = RUN_FIELDS[:-1]
"""Fields of a run without its seed: what an estimate is about."""
BASE = "base"
"""Method of a model before training."""
FULL, DEFAULT = "full", "default"
"""Coverage of a whole training set; variant without overrides."""
LAST = "last"
"""Step of the only checkpoint of a run whose number of steps its data decide."""

Step = int | Literal["last"]
"""Step of a checkpoint: its number (0: a base), or LAST."""


@dataclass(frozen=True)
class Run:
    """One run of the grid. experiments: those that use it; they do not distinguish runs."""

    model: str
    method: str
    context: str
    teacher: str
    dataset: str
    coverage: str
    variant: str
    seed: int
    experiments: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Run":
        """Return the run with these fields (wildcards, columns or params)."""
        return cls(**{name: fields[name] for name in RUN_KEY}, seed=int(fields["seed"]))

    def fields(self) -> dict[str, str | int]:
        """Return the run fields in their order."""
        return {name: getattr(self, name) for name in RUN_FIELDS}

    def key(self) -> dict[str, str]:
        """Return the run fields without the seed."""
        return {name: str(getattr(self, name)) for name in RUN_KEY}

    def __str__(self) -> str:
        """Return the run fields joined by slashes, as in the run's path."""
        return "/".join(str(value) for value in self.fields().values())


def base_run(model: str, seed: int) -> Run:
    """Return a model before training as a run."""
    return Run(model, BASE, "none", "none", "none", "none", DEFAULT, seed)
