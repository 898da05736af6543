"""The test study is hit at random moments, by what ends jobs in real life, and ends with the results of an undisturbed one.

`make test-chaos`. Each schedule is HITS moments: a call of Snakemake is hit, the next call goes on from what is left. Another
seed gives other moments: SELFDISTILL_CHAOS_SEED=1.
"""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from workflow.conftest import Workspace, assert_same_results, copy_workflow

STUDY = ("--config", "study=test")
RESULTS = "results/test"
HITS = 20
JOBS = 0, 4  # that a call finishes before it is hit
MOMENTS = 0, 5  # seconds after that
SECONDS_TO_END = 900  # for a call that was hit
NEW = 15  # seconds: what was written since may be lost in a power cut
DISK_MB = 1000
ROOM = 200_000  # bytes that a full disk has left, at most


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Workspace:
    """The test study, run in one go."""
    study = copy_workflow(tmp_path_factory.mktemp("undisturbed") / "study")
    study.snakemake(*STUDY)
    return study


@pytest.fixture
def rng(request) -> random.Random:
    """The random numbers of one schedule."""
    return random.Random(f"{request.node.name} {os.environ.get('SELFDISTILL_CHAOS_SEED', 0)}")


def family_of(process: subprocess.Popen) -> list[psutil.Process]:
    """A call of Snakemake and all processes below it."""
    main = psutil.Process(process.pid)
    return [main, *main.children(recursive=True)]


def kill(*processes: psutil.Process) -> None:
    """`kill -9`."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)


def wait_for_jobs(study: Workspace, process: subprocess.Popen, count: int) -> None:
    """Wait until a call has finished `count` jobs and begun another, or has ended."""
    deadline, output = time.monotonic() + SECONDS_TO_END, ""
    while process.poll() is None and (output.count("Finished jobid") < count or "\nExecute " not in output):
        assert time.monotonic() < deadline, output
        time.sleep(0.05)
        output = (study.root / "snakemake.log").read_text()


def hit_until_done(
    study: Workspace,
    rng: random.Random,
    hit: Callable[[subprocess.Popen], str],
    explained: Callable[[str], bool],
) -> None:
    """Call Snakemake until the study is done and was hit HITS times.

    hit: what happens to a call; it returns what it did. explained: whether an unhit call may fail with this output.
    """
    done, refused = Counter(), 0
    while sum(done.values()) < HITS or not (study.root / RESULTS / "report.html").exists():
        (study.root / "snakemake.log").write_text("")
        process = study.start(*STUDY)
        more = sum(done.values()) < HITS
        try:
            if more:
                wait_for_jobs(study, process, rng.randint(*JOBS))
            process.wait(rng.uniform(*MOMENTS) if more else SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            what = hit(process)
            done[what] += 1
            print(f"hit {sum(done.values())}: {what}", flush=True)
            process.wait(SECONDS_TO_END)
            continue
        output = (study.root / "snakemake.log").read_text()
        if process.returncode:
            assert explained(output), output
            refused += 1
            assert refused < 3 * HITS, output
        elif sum(done.values()) < HITS:
            shutil.rmtree(rng.choice(sorted((study.root / RESULTS / "runs").glob("*/*"))))
            (study.root / RESULTS / "report.html").unlink()
    print(f"{dict(done)}, {refused} calls refused by name", flush=True)


def never(output: str) -> bool:
    """No call may fail that was not hit."""
    return False


def test_kills(undisturbed, tmp_path, rng):
    """Snakemake, one of its jobs, or everything gets `kill -9`; jobs without a Snakemake go on beside the next call."""
    study = copy_workflow(tmp_path / "study")

    def hit(process: subprocess.Popen) -> str:
        family = family_of(process)
        what = rng.choice(["everything", "snakemake", "one process"])
        if what == "everything":
            kill(*family)
        elif what == "snakemake" or len(family) == 1:
            kill(family[0])
        else:
            kill(rng.choice(family[1:]))
        return what

    hit_until_done(study, rng, hit, never)
    assert_same_results(undisturbed.root / RESULTS, study.root / RESULTS)


def newest_files(study: Workspace) -> list[Path]:
    """The files that a power cut can reach: results, states of running jobs, and Snakemake's own records."""
    files = [
        path
        for folder in (RESULTS, ".snakemake/metadata", ".snakemake/incomplete")
        for path in (study.root / folder).rglob("*")
        if path.is_file() and path.stat().st_size and time.time() - path.stat().st_mtime < NEW
    ]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)


def test_power_cuts(undisturbed, tmp_path, rng):
    """Everything gets `kill -9`, and up to four of the newest files are emptied or cut.

    What the next call refuses by name is deleted, as its message says.
    """
    study = copy_workflow(tmp_path / "study")
    cut: set[Path] = set()

    def hit(process: subprocess.Popen) -> str:
        kill(*family_of(process))
        files = newest_files(study)[:12]
        chosen = rng.sample(files, min(len(files), rng.randint(1, 4)))
        for path in chosen:
            size = path.stat().st_size
            os.truncate(path, rng.choice([0, rng.randrange(size) if size else 0]))
            print("   ", path.relative_to(study.root), size, "->", path.stat().st_size)
        cut.update(chosen)
        return f"{len(chosen)} files cut"

    def explained(output: str) -> bool:
        logs = [Path(study.root, name) for name in re.findall(r"logs/\S+\.log", output)]
        text = output + "".join(log.read_text() for log in set(logs) if log.exists())
        named = [path for path in cut if str(path.relative_to(study.root)) in text]
        print("    refused:", *(path.relative_to(study.root) for path in named))
        for command in re.findall(r"`rm -r ([^`]*)`", text):
            for path in command.split():
                shutil.rmtree(study.root / path) if (study.root / path).is_dir() else (
                    study.root / path
                ).unlink()
        for path in named:
            path.unlink(missing_ok=True)
        return bool(named)

    hit_until_done(study, rng, hit, explained)
    assert_same_results(undisturbed.root / RESULTS, study.root / RESULTS)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own."""
    if os.geteuid():
        pytest.skip("a file system can only be mounted by root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def fill(ballast: Path, room: int) -> None:
    """Write a file that leaves at most `room` bytes of its file system; jobs write at the same time."""
    with ballast.open("wb") as handle:
        while (free := shutil.disk_usage(ballast.parent).free) > room:
            try:
                os.posix_fallocate(handle.fileno(), handle.seek(0, os.SEEK_END), free - room)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error


def test_full_disks(undisturbed, small_disk, rng):
    """The disk with the whole study is full until the call has ended."""
    study = copy_workflow(small_disk / "study")
    ballast = small_disk / "ballast"

    def hit(process: subprocess.Popen) -> str:
        fill(ballast, rng.randrange(ROOM))
        process.wait(SECONDS_TO_END)
        ballast.unlink()
        return "ended well" if process.returncode == 0 else "failed"

    hit_until_done(study, rng, hit, never)
    assert_same_results(undisturbed.root / RESULTS, study.root / RESULTS)
