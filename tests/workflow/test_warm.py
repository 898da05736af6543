"""Jobs forked from the warm process give what jobs give that import everything themselves, bit for bit."""

import os
import shutil
import signal
import time

import pandas
import psutil
import pytest

from .conftest import Workspace

RESULTS = "results/test"
RUN = "runs/r1-test/sdpo/solution/ema-0.05/chain/full/default/replicate-0/seed-0"


def is_alive(process: psutil.Process) -> bool:
    """Whether a process has not ended; one whose parent has yet to ask for its status has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def without_run(finished, tmp_path) -> Workspace:
    """A copy of the finished study from which one run is taken out."""
    shutil.copytree(finished.root, tmp_path / "study", symlinks=True)
    study = Workspace(tmp_path / "study")
    shutil.rmtree(study.root / RESULTS / RUN)
    shutil.rmtree(study.root / "logs")
    return study


def test_every_job_was_forked(finished):
    logs = [path.read_text() for path in (finished.root / "logs/test").rglob("*.log") if path.stem != "warm"]
    assert len(logs) > 50
    assert not [text for text in logs if "not run by the warm process" in text]


def test_a_run_without_the_warm_process_is_bit_identical(finished, without_run):
    call = (f"{RESULTS}/{RUN}/samples/step-2.parquet", "--config", "study=test")
    without_run.snakemake(*call, environment={"SELFDISTILL_WARM": "off"})
    folders = [place.root / RESULTS / RUN for place in (finished, without_run)]
    weights = sorted(path.relative_to(folders[0]) for path in folders[0].rglob("*.safetensors"))
    assert weights
    for name in (*weights, "rollouts.parquet", "samples/step-2.parquet"):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1, name
    frames = [pandas.read_parquet(folder / "training.parquet").drop(columns="seconds") for folder in folders]
    pandas.testing.assert_frame_equal(*frames)


@pytest.fixture
def interruptible():
    """Processes started here do not ignore SIGINT, as they would where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_and_a_killed_snakemake_leave_no_process(without_run, interruptible, number):
    without_run.edit("config/test.yaml", "    steps: 2\n", "    steps: 600\n")
    process = without_run.start(f"{RESULTS}/{RUN}/training.parquet", "--config", "study=test")
    while not list((without_run.root / RESULTS / "resume").glob("runs/**/checkpoint-*/files.json")):
        assert process.poll() is None, (without_run.root / "snakemake.log").read_text()
        time.sleep(0.01)
    snakemake = psutil.Process(process.pid)
    family = [snakemake, *snakemake.children(recursive=True)]
    scripts = [member for member in family if "/scripts/tmp" in " ".join(member.cmdline())]
    assert len(family) > len(scripts) + 2, "Snakemake, the warm process and its child"
    if number == signal.SIGINT:  # from the terminal: to all that are in Snakemake's group
        members = [member for member in family if os.getpgid(member.pid) == os.getpgid(process.pid)]
    else:  # Snakemake alone: the script goes on, until it is told to end
        snakemake.kill()
        process.wait()
        members = [member for member in scripts if is_alive(member)]
        assert members
        number = signal.SIGTERM
    for member in members:
        member.send_signal(number)
    process.wait()
    deadline = time.monotonic() + 60
    while left := [member for member in family if is_alive(member)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert not (without_run.root / RESULTS / RUN / "training.parquet").exists(), "ended, not stopped"
