"""Worker processes that compare answers, one pair at a time each; one that overruns is killed and replaced.

The workers are plain subprocesses, not `multiprocessing` children. A spawned child (and one of a fork server, so pebble's too)
would import `__main__` again, which under Snakemake is the temporary script of the rule; a forked one would copy a training
process with its accelerator context. docs/grading.md tells of the trial.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

START_TIMEOUT = 120.0
"""Seconds that a worker may take to import math-verify; past that the installation is broken."""
WALL_FACTOR = 10.0
"""The wall clock ends a comparison after so many times its processor time: a backstop on a machine that is very busy."""

Pair = tuple[str, str]
"""(answer, gold answer)."""


class Verdict(NamedTuple):
    """What came of a comparison, and of an error why."""

    outcome: str
    detail: str = ""


class Worker:
    """One `selfdistill.grading.worker` process and the pair that it is working on."""

    def __init__(self, module: str, seconds: float) -> None:
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        # -P: the working directory must not shadow modules. A session of its own: an interrupt is the parent's business.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "selfdistill.grading.worker", module, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        self.seconds = seconds
        self.pair: Pair | None = None
        self.deadline = 0.0

    def await_ready(self) -> None:
        """Wait until the worker has made its imports. Raises RuntimeError if it does not get there."""
        started = wait([self.process.stdout], START_TIMEOUT) and self.process.stdout.readline()
        if not started:
            self.end()
            raise RuntimeError(
                "the grading worker did not start: is math-verify installed? Its error is on stderr"
            )

    def submit(self, pair: Pair) -> None:
        """Send one pair and start its wall clock."""
        self.pair, self.deadline = pair, time.monotonic() + WALL_FACTOR * self.seconds
        answer, gold = pair
        try:
            self.process.stdin.write(json.dumps({"answer": answer, "gold": gold}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It died while idle; collect() then reads the end of its output and reports the pair as an error.
            logger.warning("grading worker %d died while idle", self.process.pid)

    def collect(self, readable: bool) -> Verdict | None:
        """Return the verdict on the current pair, or None while it is worked on. An overrunning worker is killed."""
        if not readable:
            if time.monotonic() < self.deadline:
                return None
            self.end()
            return Verdict("timeout", "wall clock")
        if line := self.process.stdout.readline():
            return Verdict(**json.loads(line))
        # Its output closed without a reply: the kernel's timer ended it, or it crashed.
        self.end(grace=1.0)
        code = self.process.returncode
        return (
            Verdict("timeout") if code == -signal.SIGPROF else Verdict("error", f"worker ended with {code}")
        )

    @property
    def alive(self) -> bool:
        """Whether the process can take a pair."""
        return self.process.poll() is None

    def end(self, grace: float = 0.0) -> None:
        """Kill the process unless it ends by itself within `grace` seconds, and free its pipes."""
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Pool:
    """Up to `size` workers of one grader's module, started when they are first needed."""

    def __init__(self, module: str, size: int, seconds: float) -> None:
        self.module, self.size, self.seconds = module, size, seconds
        self.workers: list[Worker] = []

    def close(self) -> None:
        """End the worker processes; a later call starts new ones."""
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def compare(self, pairs: Iterable[Pair]) -> dict[Pair, Verdict]:
        """Return the verdict on every pair."""
        queue, verdicts = deque(pairs), {}
        while True:
            self._dispatch(queue)
            running = [worker for worker in self.workers if worker.pair]
            if not running:
                return verdicts
            pause = max(0.0, min(worker.deadline for worker in running) - time.monotonic())
            readable = wait([worker.process.stdout for worker in running], pause)
            for worker in running:
                if found := worker.collect(worker.process.stdout in readable):
                    verdicts[worker.pair], worker.pair = found, None

    def _dispatch(self, queue: deque[Pair]) -> None:
        """Replace dead workers, start as many as the queue can use, and give each idle one a pair."""
        # A dead worker that still has a pair is left for collect(), which counts the pair.
        dead = [worker for worker in self.workers if not worker.pair and not worker.alive]
        for worker in dead:
            worker.end()
        self.workers = [worker for worker in self.workers if worker not in dead]
        busy = sum(worker.pair is not None for worker in self.workers)
        missing = min(self.size, busy + len(queue)) - len(self.workers)
        started = [Worker(self.module, self.seconds) for _ in range(missing)]
        self.workers += started
        for worker in started:
            worker.await_ready()
        for worker in self.workers:
            if queue and not worker.pair:
                worker.submit(queue.popleft())
