"""When a process began, and imports that cost less."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def process_start() -> float:
    """When this process began, in Unix time in seconds (Linux, to 0.01 s; elsewhere: now)."""
    now = time.time()
    try:
        ticks = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except OSError:
        return now
    return now - (uptime - int(ticks) / os.sysconf("SC_CLK_TCK"))


@contextmanager
def importing() -> Iterator[None]:
    """Import within the block without garbage collection.

    Importing torch and TRL makes half a million objects that live to the end, and Python's collector walks through all of
    them again and again: a quarter of the time. What was imported is set aside for good (gc.freeze), so that later collections,
    and the one at exit, do not walk through it either. No large object may be made in the block: it would never be collected.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
