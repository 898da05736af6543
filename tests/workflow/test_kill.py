"""`kill -9` of Snakemake and of its job in the middle of a training: the next call goes on, and ends bit-identical.

The uninterrupted study is another copy with the same seed, so this also shows that two runs of one seed are identical.
"""

import time

import pandas
import psutil
import pytest

from .conftest import copy_workflow

RESULTS = "results/test"
EMA_RUN = "runs/r1-test/sdpo/solution/ema-0.05/chain/full/default/seed-0"
GRPO_RUN = "runs/qwen3-test/grpo/none/none/chain/full/default/seed-0"


def killed(study, target: str) -> str:
    """Start a target, `kill -9` Snakemake and its job at the first complete checkpoint; returns that checkpoint's name."""
    process = study.start(target, "--config", "study=test")
    resume = study.root / RESULTS / "resume"
    deadline = time.monotonic() + 600
    while not (found := [path for path in resume.glob("**/checkpoint-*/COMPLETE") if "runs" in path.parts]):
        assert process.poll() is None and time.monotonic() < deadline, (
            study.root / "snakemake.log"
        ).read_text()
        time.sleep(0.005)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family)
    process.wait()
    return found[0].parent.name


@pytest.mark.parametrize("run", [EMA_RUN, GRPO_RUN])
def test_a_killed_run_ends_bit_identical_to_an_uninterrupted_one(tmp_path, run):
    target = f"{RESULTS}/{run}/training.parquet"
    studies = [copy_workflow(tmp_path / name) for name in ("whole", "killed")]
    for study in studies:
        study.edit("config/test.yaml", "    steps: 2\n", "    steps: 5\n")
    whole, broken = studies
    whole.snakemake(target, "--config", "study=test")
    assert killed(broken, target) == "checkpoint-2", (
        "two updates a step: killed after the first of five steps"
    )
    assert not (broken.root / target).exists()
    broken.snakemake(target, "--config", "study=test")
    # Snakemake starts a new log for a job that runs again
    log = next((broken.root / "logs/test").glob(f"train_*/{run}/training.log")).read_text(encoding="utf-8")
    assert "step 1 of 5" not in log and "step 2 of 5" in log, "the second call must go on from the checkpoint"
    for step in range(1, 6):
        weights = [
            (study.root / RESULTS / run / f"checkpoints/step-{step}/model.safetensors").read_bytes()
            for study in studies
        ]
        assert weights[0] == weights[1]
    rollouts = [pandas.read_parquet(study.root / RESULTS / run / "rollouts.parquet") for study in studies]
    pandas.testing.assert_frame_equal(*rollouts)
