"""Locks on the outputs of jobs and on the results of a study, which end with the process that holds them."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def job_lock(path: str | Path) -> Iterator[bool]:
    """Hold the lock file `path`; yields whether another process had to be waited for.

    A job survives a `kill -9` of Snakemake. The same job of the next call must not work on its files, so it
    waits here; the kernel drops the lock with the process, so a dead one never blocks.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "a+", encoding="utf-8") as handle:
        waited = _acquire(handle, target)
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield waited


def _acquire(handle: Any, path: Path) -> bool:
    """Lock an open file, waiting for its holder if there is one; True if it had to wait."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP):
            logger.warning(
                "%s: this file system has no locks; two jobs on one output would not be noticed", path
            )
            return False
        handle.seek(0)
        logger.warning(
            "%s is held by process %s, which still works on this output; waiting", path, handle.read().strip()
        )
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    return False


def lock_of(resume: str | Path) -> Path:
    """The lock file of the job that resumes from `resume`."""
    return Path(str(resume).replace("/resume/", "/locks/", 1) + ".lock")


def is_locked(path: str | Path) -> bool:
    """Whether a living process holds the lock file `path`."""
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class AlreadyRunning(RuntimeError):
    """Another Snakemake works on the same study in the same folder."""


_held: list[Any] = []


def hold_workflow_lock(path: str | Path) -> None:
    """Lock a study's results for this process until it ends (however it ends); raises AlreadyRunning if
    another one has them.

    Child processes do not inherit the lock, so what a killed Snakemake leaves behind does not hold it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle = target.open("a+", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.seek(0)
        raise AlreadyRunning(
            f"another Snakemake (process {handle.read().strip()}) is running this study: {path}"
        ) from error
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    _held.append(handle)
