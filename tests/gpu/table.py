"""The table that a run of the GPU tests prints: one row per measurement, with seconds and peak memory of the device."""

import gc
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .sizes import CUDA, TINY_ON_CPU

HEAD = ("check", "size", "seconds", "peak, GB", "result")


@dataclass
class Row:
    """One row; seconds and gigabytes are None where they were not measured."""

    check: str
    size: str
    seconds: float | None = None
    gigabytes: float | None = None
    result: str = ""

    def cells(self) -> tuple[str, ...]:
        """Its cells as text."""
        seconds = "–" if self.seconds is None else f"{self.seconds:.3g}"
        gigabytes = "–" if self.gigabytes is None else f"{self.gigabytes:.2f}"
        return self.check, self.size, seconds, gigabytes, self.result


ROWS: list[Row] = []
"""The rows of this run, in the order of the tests."""


def device_line() -> str:
    """The device and the versions, above the table."""
    name = torch.cuda.get_device_name(0) if CUDA else f"CPU ({platform.machine()})"
    memory = f", {torch.cuda.get_device_properties(0).total_memory / 1e9:.1f} GB" if CUDA else ""
    import transformers
    import trl

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, trl {trl.__version__}"
    tiny = "; tiny sizes on the CPU: only shows that the code runs" if TINY_ON_CPU else ""
    return f"{name}{memory}; {versions}{tiny}"


def markdown(seconds: float) -> str:
    """The table of this run; seconds: what all tests took."""
    rows = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in ROWS)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([device_line(), "", *lines, "", f"All tests: {seconds:.0f} s."])


@contextmanager
def measured(row: Row) -> Iterator[Row]:
    """Measure what happens inside and add the row: seconds, and the peak memory of the device in all, if it is a GPU."""
    gc.collect()  # trainers are parts of circles: without this, the last one would still hold its model
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    began = time.perf_counter()
    ROWS.append(row)
    yield row
    if CUDA:
        torch.cuda.synchronize()
        row.gigabytes = torch.cuda.max_memory_allocated() / 1e9
    row.seconds = time.perf_counter() - began
