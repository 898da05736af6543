"""Locks on the outputs of jobs and on the results of a study, which end with the process that holds them.

Where the file system has `flock`, the kernel drops a lock with its process. Where it refuses `flock` (some mounts of Lustre and NFS),
a lock is a file with host and process id that its holder refreshes: a holder that died is passed over at once on its own host, and
after `LEASE` seconds without a sign of life on another one.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

logger = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds after which a lock file that nobody refreshes is nobody's."""
SUFFIX = ".lease"
"""End of such a file's name, beside that of the kernel's lock."""
REFUSALS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What `flock` answers on a file system without locks."""


@contextlib.contextmanager
def job_lock(path: str | Path) -> Iterator[bool]:
    """Hold the lock file `path`; yield whether another process had to be waited for.

    A job survives a `kill -9` of Snakemake. The same job of the next call must not work on its files, so it
    waits here; a dead holder never blocks.
    """
    lock = lock_at(path)
    waited = not try_lock(lock)
    if waited:
        logger.warning("%s is held by %s, which still works on this output; waiting", path, holder(lock))
        lock.acquire(poll_interval=0.2)
        sign(lock)
    try:
        yield waited
    finally:
        lock.release()


def lock_of(resume: str | Path) -> Path:
    """Return the lock file of the job that resumes from `resume`."""
    return Path(str(resume).replace("/resume/", "/locks/", 1) + ".lock")


def is_locked(path: str | Path) -> bool:
    """Return whether a living process holds the lock file `path`."""
    folder = os.path.dirname(path)
    if not os.access(folder, os.W_OK) or not any(map(os.path.exists, (path, f"{path}{SUFFIX}"))):
        return False
    lock = lock_at(path)
    if not os.path.exists(lock.lock_file):
        return False
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return isinstance(lock, FileLock) or age(lock) < 2 * LEASE


class AlreadyRunning(RuntimeError):
    """Another Snakemake works on the same study in the same folder."""


_held: list[BaseFileLock] = []


def hold_workflow_lock(path: str | Path) -> None:
    """Lock a study's results for this process until it ends (however it ends).

    Raise AlreadyRunning if another one has them. Child processes do not inherit the lock, so what a killed
    Snakemake leaves behind does not hold it.
    """
    lock = lock_at(path)
    if not try_lock(lock):
        raise AlreadyRunning(f"another Snakemake ({holder(lock)}) is running this study: {path}")
    _held.append(lock)


def lock_at(path: str | Path) -> BaseFileLock:
    """Return the lock of a path, of the kind that its file system has; make its folder."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    if flock_works(folder.stat().st_dev, folder):
        return FileLock(path, fallback_to_soft=False)
    return SoftFileLease(f"{path}{SUFFIX}", lease_duration=LEASE, on_compromise=report_loss)


_known: dict[int, bool] = {}


def flock_works(device: int, folder: Path) -> bool:
    """Return whether the file system of a folder has `flock`; say it once per device where it has not."""
    if device not in _known:
        refused = flock_refusal(folder)
        _known[device] = refused is None
        if refused is not None:
            logger.warning(
                "%s: this file system refuses flock (%s); locks are files there, taken over after %.0f s "
                "without a sign of life from another host",
                folder,
                errno.errorcode[refused],
                LEASE,
            )
    return _known[device]


def flock_refusal(folder: Path) -> int | None:
    """Return the error by which a file system says that it has no `flock`, None if it has."""
    with tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in REFUSALS:
                return error.errno
            raise
    return None


def try_lock(lock: BaseFileLock) -> bool:
    """Take a lock and sign it, without waiting; return whether it was free."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    sign(lock)
    return True


def sign(lock: BaseFileLock) -> None:
    """Write this process's id into the file of a kernel lock (a lease has it already)."""
    if isinstance(lock, FileLock):
        Path(lock.lock_file).write_text(f"pid={os.getpid()}\n", encoding="utf-8")


def holder(lock: BaseFileLock) -> str:
    """Return `process N`, with its host where the lock says it."""
    try:
        text = Path(lock.lock_file).read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = dict(re.findall(r"^(pid|host)=(.+)$", text, re.MULTILINE))
    host = f" on host {found['host']}" if "host" in found else ""
    return f"process {found.get('pid', '?')}{host}"


def age(lock: BaseFileLock) -> float:
    """Return the seconds since a lease was refreshed, infinity if it is gone."""
    try:
        return time.time() - os.stat(lock.lock_file).st_mtime
    except FileNotFoundError:
        return float("inf")


def report_loss(compromise: object) -> None:
    """Log that another process took the lock of this one, which was stopped for too long to refresh it."""
    logger.error("lost a lock: another process may work on the same output (%s)", compromise)
