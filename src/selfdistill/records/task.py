"""The argument of job functions (`Task`) and their decorator (`job`); both work without Snakemake."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.records.progress import write_progress

if TYPE_CHECKING:
    from selfdistill.records.parts import Parts

Facts = Mapping[str, Any] | None
"""What a job reports to its manifest; `tokens` are summed over the study."""
JobFunction = Callable[["Task"], Facts]


@dataclass(frozen=True)
class Task:
    """One job.

    params: plain values on which its result depends, besides its input files; input, output: paths by name; resume:
    folder that survives a killed job; resources: threads, gpus, nodes, processes, accelerate.
    """

    params: Mapping[str, Any]
    input: Any
    output: Any
    resume: Path
    resources: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def parts(self) -> "Parts":
        """Return the store of the job's finished parts."""
        from selfdistill.records.parts import Parts  # loads pandas, which few jobs need

        return Parts(self.resume / "parts")

    def progress(self, done: int, total: int) -> None:
        """Record for `make status` that `done` of `total` parts are finished."""
        write_progress(self.resume, step=done, steps=total, seconds=time.monotonic() - self.started)


def nothing_late(params: Mapping[str, Any]) -> Sequence[str]:
    """Return no modules."""
    return ()


def job(
    late: Callable[[Mapping[str, Any]], Sequence[str]] = nothing_late,
) -> Callable[[JobFunction], JobFunction]:
    """Return a decorator that marks a job function; late: params -> modules that the job imports only when it runs.

    They are imported before the job starts, without garbage collection, or once for all jobs by the process that
    forks them (`jobs.warm`).
    """

    def mark(function: JobFunction) -> JobFunction:
        """Set `late` on the function."""
        function.late = late
        return function

    return mark
