"""A manifest names the commit of the code that ran, wherever that was started; times in the future cost nothing."""

import os
import platform
import subprocess
import time
from pathlib import Path

import pytest

import selfdistill
from selfdistill.jobs.clock import date_back
from selfdistill.jobs.manifest import PACKAGE, OtherLibrary, check_library, device_name, git_commit


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package, and one commit."""
    package = tmp_path / "checkout" / "src" / "selfdistill"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    git(tmp_path / "checkout", "init", "-q")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "-qm", "first")
    return package


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory in another repository, which also a hook's variable names."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-qm", "other", "--allow-empty")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    return folder


def test_the_commit_is_that_of_the_code_wherever_it_was_started(checkout, elsewhere):
    commit = git_commit(checkout)
    assert commit == subprocess.run(
        ["git", "--git-dir", checkout.parents[1] / ".git", "rev-parse", "HEAD"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    (checkout / "__init__.py").write_text("x = 1\n")
    assert git_commit(checkout) == f"{commit}+changes"


def test_a_package_that_no_repository_holds_has_no_commit(checkout, tmp_path):
    installed = checkout.parents[1] / ".venv" / "selfdistill"  # as in an environment within a checkout
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert git_commit(installed) is None
    assert git_commit(tmp_path) is None


def test_the_code_that_ran_is_the_imported_package():
    assert Path(selfdistill.__file__).parent.samefile(PACKAGE)


def test_the_library_of_another_checkout_is_refused(checkout, tmp_path):
    check_library(PACKAGE.parents[1])
    (tmp_path / "link").symlink_to(PACKAGE.parents[1])
    check_library(tmp_path / "link")
    with pytest.raises(
        OtherLibrary, match=f"{checkout.parents[1]}, but its library is imported from {PACKAGE}"
    ):
        check_library(checkout.parents[1])


HOUR = 3600


def dated(path: Path, seconds: float) -> Path:
    """A file, or the time stamp of a folder, with a time so many seconds from now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() + seconds,) * 2)
    return path


def test_inputs_of_the_future_are_dated_back_with_all_that_lies_there(tmp_path, caplog):
    results = tmp_path / "results"
    stamp = dated(results / "base" / ".snakemake_timestamp", HOUR)
    problems, other = dated(results / "problems", 2 * HOUR), dated(results / "deep" / "other", HOUR)
    old = dated(results / "old", -HOUR).stat().st_mtime_ns
    outside = dated(tmp_path / "config.yaml", HOUR)
    before = time.time()
    date_back([stamp.parent, outside], results)
    times = {path.stat().st_mtime_ns for path in (stamp, problems, other, outside)}
    assert len(times) == 1  # nothing is newer than what was made of it
    assert before - 1 <= times.pop() / 1e9 <= time.time()
    assert (results / "old").stat().st_mtime_ns == old
    assert f"{stamp} has a time in the future" in caplog.text
    output = results / "output"
    output.touch()  # as Snakemake does after the job
    assert output.stat().st_mtime_ns >= stamp.stat().st_mtime_ns


def test_times_of_the_past_are_left_alone(tmp_path):
    stamp, other = dated(tmp_path / "base" / ".snakemake_timestamp", -HOUR), dated(tmp_path / "other", HOUR)
    before = [path.stat().st_mtime_ns for path in (stamp, other)]
    date_back([stamp.parent], tmp_path)
    assert [path.stat().st_mtime_ns for path in (stamp, other)] == before


def test_a_processor_is_named_with_its_vector_units(tmp_path):
    core = "processor\t: {}\nmodel name\t: Some CPU\nflags\t\t: fpu {} avx2\n\n"
    for flags, device in (("avx avx512f", "Some CPU, AVX-512"), ("avx", "Some CPU, AVX2")):
        (tmp_path / "cpuinfo").write_text(core.format(0, flags) + core.format(1, flags))
        assert device_name(tmp_path / "cpuinfo") == device
    assert device_name(tmp_path / "none") == platform.machine()
