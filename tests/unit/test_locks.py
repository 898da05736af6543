"""Locks: they end with their holder, and work on file systems that refuse flock."""

import errno
import os
import shutil
import subprocess
import sys
import time

import pytest

from selfdistill.jobs import locks
from selfdistill.jobs.locks import is_locked, job_lock

COMPILER = shutil.which("cc")
REFUSE = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int operation) { errno = atoi(getenv("FLOCK_ERRNO")); return -1; }
"""


def test_a_job_waits_for_the_holder_of_its_lock_and_says_so(tmp_path, hold, caplog):
    path = tmp_path / "locks" / "job.lock"
    holder = hold(path, 1.5)
    assert is_locked(path)
    with job_lock(path) as waited:
        assert waited
        assert holder.poll() is not None or holder.wait(5) == 0
    assert f"held by process {holder.pid}" in caplog.text
    assert not is_locked(path)


def test_a_killed_holder_blocks_nobody(tmp_path, hold):
    path = tmp_path / "job.lock"
    holder = hold(path, 60)
    holder.kill()
    holder.wait()
    started = time.monotonic()
    with job_lock(path) as waited:
        assert not waited
    assert time.monotonic() - started < 5


def test_children_do_not_inherit_the_lock(tmp_path):
    path = tmp_path / "job.lock"
    with job_lock(path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        assert not is_locked(path)
    finally:
        child.kill()
        child.wait()


def test_two_snakemakes_of_one_study_are_refused(tmp_path, hold):
    path = tmp_path / "workflow.lock"
    holder = hold(path, 60)
    with pytest.raises(locks.AlreadyRunning, match=f"process {holder.pid}"):
        locks.hold_workflow_lock(path)


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """A library that makes every flock fail with $FLOCK_ERRNO."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "refuse.c").write_text(REFUSE)
    library = folder / "refuse.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, folder / "refuse.c"], check=True)
    return str(library)


ERRORS = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]
TRY = """
import logging, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from selfdistill.jobs.locks import is_locked, job_lock, hold_workflow_lock
path = sys.argv[1]
print("held before", is_locked(path))
with job_lock(path) as waited:
    print("waited", waited, "held", is_locked(path))
print("held after", is_locked(path))
hold_workflow_lock(sys.argv[1] + ".workflow")
"""


def tried(path, shim, error):
    """What a process without flock sees of a lock."""
    environment = os.environ | {"LD_PRELOAD": shim, "FLOCK_ERRNO": str(error)}
    command = [sys.executable, "-c", TRY, str(path)]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_file_system_without_flock_is_named_once_and_works(tmp_path, shim, error):
    done = tried(tmp_path / "locks" / "job.lock", shim, error)
    assert done.returncode == 0, done.stderr
    before, warning, *rest = done.stdout.splitlines()
    assert f"this file system refuses flock ({errno.errorcode[error]})" in warning
    assert [before, *rest] == ["held before False", "waited False held True", "held after False"]


def test_without_flock_a_job_waits_for_its_holder_and_a_killed_one_blocks_nobody(tmp_path, shim, hold):
    path = tmp_path / "job.lock"
    environment = {"LD_PRELOAD": shim, "FLOCK_ERRNO": str(errno.ENOSYS)}
    holder = hold(path, 1.5, **environment)
    done = tried(path, shim, errno.ENOSYS)
    assert "waited True held True" in done.stdout
    assert f"is held by process {holder.pid} on host" in done.stdout
    killed = hold(path, 60, **environment)
    killed.kill()
    killed.wait()
    started = time.monotonic()
    again = tried(path, shim, errno.ENOSYS).stdout
    assert "held before False" in again
    assert "waited False" in again
    assert time.monotonic() - started < 10


def test_without_flock_a_second_snakemake_is_refused(tmp_path, shim, hold):
    path = tmp_path / "job.lock"
    holder = hold(f"{path}.workflow", 60, LD_PRELOAD=shim, FLOCK_ERRNO=str(errno.ENOLCK))
    done = tried(path, shim, errno.ENOLCK)
    assert f"AlreadyRunning: another Snakemake (process {holder.pid} on host" in done.stderr


def test_a_lease_of_another_host_counts_as_running_while_it_is_refreshed(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "flock_works", lambda device, folder: False)
    path = tmp_path / "job.lock"
    lease = tmp_path / "job.lock.lease"
    lease.write_text("filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=0a\nduration=60.0\n")
    assert is_locked(path)
    old = time.time() - 3 * locks.LEASE
    os.utime(lease, (old, old))
    assert not is_locked(path)


def test_a_result_that_cannot_be_written_is_not_running(tmp_path, monkeypatch):
    (tmp_path / "job.lock").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not is_locked(tmp_path / "job.lock")
