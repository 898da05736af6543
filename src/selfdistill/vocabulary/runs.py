"""What a run is. Apart from `grid`, so that a job that only builds paths does not load the schemas of the study file."""

from dataclasses import dataclass, field

RUN_FIELDS = ("model", "method", "context", "teacher", "dataset", "coverage", "variant", "seed")
"""What makes a run, in the order of paths and columns."""


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
