"""What a run is: its fields, in the order of paths, columns and wildcards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from selfdistill.seeds import draw_seed

RUN_KEY = ("model", "method", "context", "teacher", "dataset", "coverage", "variant")
"""Fields of a run without its draw: what an estimate is about."""
DRAW = ("replicate", "seed")
"""Fields of a draw: a replicate draws base and data anew; a seed draws training and sampling within a replicate."""
RUN_FIELDS = (*RUN_KEY, *DRAW)
"""Fields that identify a run."""
SECTION_3 = "section-3"
"""Name under which the problems of section 3 stand beside the benchmarks."""
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
    """One run of the grid."""

    model: str
    method: str
    context: str
    teacher: str
    dataset: str
    coverage: str
    variant: str
    replicate: int
    seed: int

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Run":
        """Return the run with these fields (wildcards, columns or params)."""
        return cls(**{name: fields[name] for name in RUN_KEY}, **{name: int(fields[name]) for name in DRAW})

    def fields(self) -> dict[str, str | int]:
        """Return the run fields in their order."""
        return {name: getattr(self, name) for name in RUN_FIELDS}

    def key(self) -> dict[str, str]:
        """Return the run fields without the draw."""
        return {name: str(getattr(self, name)) for name in RUN_KEY}

    @property
    def draw_seed(self) -> int:
        """Return the number that all random streams of the run are derived from, another one for every draw."""
        return draw_seed(self.replicate, self.seed)

    def __str__(self) -> str:
        """Return the run fields joined by slashes, as in the run's path."""
        return "/".join(str(value) for value in self.fields().values())


def base_run(model: str, replicate: int, seed: int) -> Run:
    """Return a model before training as a run."""
    return Run(model, BASE, "none", "none", "none", "none", DEFAULT, replicate, seed)


def base_key(model: str) -> dict[str, str]:
    """Return the RUN_KEY fields of a model before training."""
    return base_run(model, 0, 0).key()
