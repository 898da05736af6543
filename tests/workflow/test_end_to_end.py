"""The reduced study (config/test.yaml) really run: every output is made, a second call does nothing, a killed run loses nothing."""

import re
import time

import pandas
import psutil
import pytest

from selfdistill.artifacts import RUN_FIELDS, rollouts_schema, samples_schema, training_schema

from .conftest import copy_workflow

RESULTS = "results/test"
EMA_RUN = "runs/r1-test/sdpo/solution/ema-0.05/chain/full/default/seed-0"
GRPO_RUN = "runs/qwen3-test/grpo/none/none/chain/full/default/seed-0"


def test_every_output_of_the_study_is_made(finished):
    results = finished.root / RESULTS
    figures = {path.stem for path in (results / "figures").glob("*.png")}
    assert figures == {
        "figure1",
        "figure3",
        "figure5",
        "figure6",
        "figure7",
        "figure8",
        "figure9",
        "figure12",
    }
    assert {path.stem for path in (results / "tables").glob("*.csv")} >= {"table1", "table2", "table3"}
    assert all((results / "figures" / f"{name}.svg").stat().st_size > 1000 for name in figures)


def test_samples_hold_one_row_a_response_of_every_checkpoint(finished):
    paths = sorted((finished.root / RESULTS).glob("runs/**/samples.parquet"))
    methods = set()
    for path in paths:
        frame = pandas.read_parquet(path)
        assert list(frame.columns) == samples_schema().names
        assert not frame.duplicated([*RUN_FIELDS, "step", "benchmark", "problem_id", "sample_index"]).any()
        assert (frame.groupby(["step", "benchmark"]).size() == 8 * 2).all()
        assert frame["benchmark"].nunique() == 2
        methods |= set(frame["method"])
    assert methods == {"base", "sft", "grpo", "sdpo"}


def test_training_keeps_a_record_and_the_text_of_every_rollout(finished):
    for run in (EMA_RUN, GRPO_RUN):
        training = pandas.read_parquet(finished.root / RESULTS / run / "training.parquet")
        rollouts = pandas.read_parquet(finished.root / RESULTS / run / "rollouts.parquet")
        assert list(training.columns) == training_schema().names
        assert list(rollouts.columns) == rollouts_schema().names
        assert len(training) == 2 and len(rollouts) == 2 * 4 * 4
        assert training["score"].tolist() == pytest.approx(rollouts.groupby("step")["score"].mean().tolist())
        assert training["tokens"].iloc[-1] == rollouts["response_tokens"].sum()


def test_report_is_one_page_that_needs_no_network(finished):
    page = (finished.root / RESULTS / "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img[^>]+src="data:image/png;base64,', page)) == 8
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', re.sub(r"<a [^>]*>", "", page))
    assert "model organism" in page


def test_a_second_call_does_nothing(finished):
    assert finished.planned("--config", "study=test") == {}


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
    log = next((broken.root / "logs/test").glob(f"train_*/{run}/training.log")).read_text(encoding="utf-8")
    assert "step 1 of 5" in log and log.count("step 1 of 5") == 1, (
        "the second call must not repeat the first step"
    )
    for step in range(1, 6):
        weights = [
            (study.root / RESULTS / run / f"checkpoints/step-{step}/model.safetensors").read_bytes()
            for study in studies
        ]
        assert weights[0] == weights[1]
    rollouts = [pandas.read_parquet(study.root / RESULTS / run / "rollouts.parquet") for study in studies]
    pandas.testing.assert_frame_equal(*rollouts)
