"""What a job function is given, and how it is marked. It knows nothing of Snakemake: any caller can make a Task."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.records.progress import write_progress

if TYPE_CHECKING:
    from selfdistill.records.parts import Parts

Facts = Mapping[str, Any] | None
"""What a job tells its manifest; `tokens` are counted over the study."""
JobFunction = Callable[["Task"], Facts]


@dataclass(frozen=True)
class Task:
    """One job.

    params: what its result depends on beside its input files, as plain values; input, output: paths by name; resume:
    folder that outlives a killed job; resources: threads, processes, gpu, accelerate.
    """

    params: Mapping[str, Any]
    input: Any
    output: Any
    resume: Path
    resources: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def parts(self) -> "Parts":
        """Return the frames that the job keeps as they are finished."""
        from selfdistill.records.parts import Parts  # loads pandas, which few jobs need

        return Parts(self.resume / "parts")

    def progress(self, done: int, total: int) -> None:
        """Write for `make status` that `done` parts of `total` are finished."""
        write_progress(self.resume, step=done, steps=total, seconds=time.monotonic() - self.started)


def nothing_late(params: Mapping[str, Any]) -> Sequence[str]:
    """Return no modules."""
    return ()


def job(
    late: Callable[[Mapping[str, Any]], Sequence[str]] = nothing_late,
) -> Callable[[JobFunction], JobFunction]:
    """Mark a job function; late: modules that a job with given params imports only when it runs.

    They are imported before the job begins, without garbage collection, or once for all jobs by the process that
    forks them (jobs.warm).
    """

    def mark(function: JobFunction) -> JobFunction:
        function.late = late
        return function

    return mark
