"""`kill -9` of Snakemake and of its job in the middle of a training or an evaluation: the next call goes on, and ends bit-identical.

Every way of training is killed: base, SFT, GRPO, SDPO with a fixed and with a moving teacher. The uninterrupted
study is the same copy with the run taken out again, so this also shows that two runs of one seed are identical.
"""

import shutil
import time
from pathlib import Path

import pandas
import psutil
import pytest

from .conftest import Workspace, copy_workflow

RESULTS, SAMPLES = "results/test", "samples/step-5.parquet"
RUNS = {
    "sft": "runs/r1-test/sft/solution/none/chain/full/default/replicate-0/seed-0",
    "grpo": "runs/qwen3-test/grpo/none/none/chain/full/default/replicate-0/seed-0",
    "sdpo, fixed teacher": "runs/r1-test/sdpo/solution/fixed/chain/full/default/replicate-0/seed-0",
    "sdpo, moving teacher": "runs/r1-test/sdpo/solution/ema-0.05/chain/full/default/replicate-0/seed-0",
}
BASE = "bases/r1-test/replicate-0/model"
POLISHED = "bases/r1-test-polished/replicate-0/model"


def call(study: Workspace, *targets: str) -> None:
    """Make targets of the test study."""
    study.snakemake(*(f"{RESULTS}/{target}" for target in targets), "--config", "study=test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Workspace:
    """A study with the four runs, uninterrupted, long enough to be killed in between."""
    study = copy_workflow(tmp_path_factory.mktemp("kill") / "whole")
    study.edit("config/test.yaml", "    steps: 2\n", "    steps: 5\n")
    study.edit("config/test.yaml", "epochs: 1", "epochs: 4")
    study.edit("config/models.yaml", "    steps: 150\n", "    steps: 450\n")
    call(study, *(f"{run}/training.parquet" for run in RUNS.values()), f"{RUNS['grpo']}/{SAMPLES}")
    call(study, POLISHED)
    return study


def without(whole: Workspace, folder: Path, *parts: str) -> Workspace:
    """A copy of a study from which some results are taken out."""
    shutil.copytree(whole.root, folder, symlinks=True)
    for part in parts:
        shutil.rmtree(folder / RESULTS / part)
    shutil.rmtree(folder / "logs", ignore_errors=True)
    return Workspace(folder)


def killed(study: Workspace, target: str, checkpoint: str) -> None:
    """Start a target and `kill -9` Snakemake and its job as soon as a first checkpoint is complete."""
    process = study.start(f"{RESULTS}/{target}", "--config", "study=test")
    resume, deadline = study.root / RESULTS / "resume", time.monotonic() + 600
    while not list(resume.glob(checkpoint)):
        alive = process.poll() is None and time.monotonic() < deadline
        assert alive, (study.root / "snakemake.log").read_text()
        time.sleep(0.005)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family)
    process.wait()
    assert not (study.root / RESULTS / target).exists()


def log_of(study: Workspace, part: str) -> str:
    """The log of the only job that ran in a study since it was copied."""
    (path,) = (study.root / "logs/test").glob(f"*/{part}*.log")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_killed_run_ends_bit_identical_to_an_uninterrupted_one(whole, tmp_path, run):
    study = without(whole, tmp_path / "killed", run)
    killed(study, f"{run}/training.parquet", "runs/**/checkpoint-*/files.json")
    call(study, f"{run}/training.parquet")
    log = log_of(study, f"{run}/checkpoints")
    assert "step 1 of" not in log, "the second call must go on from the checkpoint"
    assert "step" in log
    names = sorted(path.name for path in (whole.root / RESULTS / run / "checkpoints").glob("step-*"))
    assert names == sorted(path.name for path in (study.root / RESULTS / run / "checkpoints").glob("step-*"))
    for name in names:
        weights = [
            (place.root / RESULTS / run / "checkpoints" / name / "model.safetensors").read_bytes()
            for place in (whole, study)
        ]
        assert weights[0] == weights[1], name
    if "/sft/" not in run:
        rollouts = [
            pandas.read_parquet(place.root / RESULTS / run / "rollouts.parquet") for place in (whole, study)
        ]
        pandas.testing.assert_frame_equal(*rollouts)


def test_a_killed_evaluation_takes_what_it_had_and_ends_bit_identical(whole, tmp_path):
    run = RUNS["grpo"]
    study = without(whole, tmp_path / "killed")
    shutil.rmtree(study.root / RESULTS / run / "samples")
    killed(study, f"{run}/{SAMPLES}", "runs/**/samples/*/parts/**/*.parquet")
    call(study, f"{run}/{SAMPLES}")
    assert "reused from" in log_of(study, f"{run}/samples/"), "the second call must reuse the finished parts"
    samples = [(place.root / RESULTS / run / SAMPLES).read_bytes() for place in (whole, study)]
    assert samples[0] == samples[1]


def test_a_killed_polish_ends_bit_identical_to_an_uninterrupted_one(whole, tmp_path):
    study = without(whole, tmp_path / "killed", POLISHED)
    killed(study, POLISHED, f"{POLISHED}/draw-0/round-2/training/checkpoint-*/files.json")
    call(study, POLISHED)
    weights = [
        (place.root / RESULTS / POLISHED / "model.safetensors").read_bytes() for place in (whole, study)
    ]
    assert weights[0] == weights[1]


def test_a_killed_base_ends_bit_identical_to_an_uninterrupted_one(whole, tmp_path):
    study = without(whole, tmp_path / "killed", BASE)
    killed(study, BASE, "bases/r1-test/replicate-0/model/draw-0/checkpoint-*/files.json")
    call(study, BASE)
    assert "steps 0 to 450" not in log_of(study, "bases/r1-test/replicate-0/model")
    weights = [(place.root / RESULTS / BASE / "model.safetensors").read_bytes() for place in (whole, study)]
    assert weights[0] == weights[1]
