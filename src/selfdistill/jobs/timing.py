"""Where a job's time goes: when its process began, how long its imports took, and imports that cost less.

Used by `job`, which writes the numbers into every manifest; `timeline` adds them up. Imports nothing that is slow.
"""

import gc
import importlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType


def process_start() -> float:
    """When this process began, in seconds of the epoch (Linux, to 0.01 s; elsewhere: now)."""
    now = time.time()
    try:
        ticks = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except OSError:
        return now
    return now - (uptime - int(ticks) / os.sysconf("SC_CLK_TCK"))


class ImportClock:
    """Seconds that the main thread spends in executing modules, wherever and however they are imported.

    Lazy packages (transformers) import at the first use of a name, so timing the `import` statements of a script would miss much
    of it. Modules that a module imports are counted once, within it.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._depth = 0
        self._thread = threading.get_ident()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count within the block."""
        execute = SourceFileLoader.exec_module

        def timed(loader: SourceFileLoader, module: ModuleType) -> None:
            if threading.get_ident() != self._thread or self._depth:
                return execute(loader, module)
            self._depth, begin, cpu = 1, time.perf_counter(), time.process_time()
            try:
                return execute(loader, module)
            finally:
                self._depth = 0
                self.seconds += time.perf_counter() - begin
                self.cpu_seconds += time.process_time() - cpu

        SourceFileLoader.exec_module = timed
        try:
            yield
        finally:
            SourceFileLoader.exec_module = execute


@contextmanager
def importing(*modules: str) -> Iterator[None]:
    """For the imports at the head of a job: import `modules`, then run the block, without garbage collection.

    Importing torch and TRL makes half a million objects that live to the end, and Python's collector walks through all of
    them again and again: a quarter of the time. What was imported is set aside for good (gc.freeze), so that later collections,
    and the one at exit, do not walk through it either. No large object may be made in the block: it would never be collected.
    """
    gc.disable()
    try:
        for module in modules:
            importlib.import_module(module)
        yield
    finally:
        gc.freeze()
        gc.enable()
