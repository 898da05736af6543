"""A job that died twice of the same error without getting further is not tried a third time within one call of Snakemake."""

from types import SimpleNamespace

import pytest
import tiny

from selfdistill.jobs import run_job as job
from selfdistill.jobs.attempts import FAILURES, NoProgress, check_failures, record_failure
from selfdistill.training.distributed import launch

OOM = "CUDA out of memory. Process {} has 74.{} GiB in use"


def fail_at(resume, *errors, reaches=()) -> None:
    """Attempts that end with these errors; `reaches`: (attempt, file that it finishes)."""
    resume.mkdir(exist_ok=True)
    for attempt, error in enumerate(errors, 1):
        check_failures(resume, attempt)
        for number, name in reaches:
            if number == attempt:
                (resume / name).write_text(name)
        record_failure(resume, error)


def test_the_third_attempt_is_refused_with_the_error_and_the_way_out(tmp_path):
    fail_at(tmp_path, RuntimeError(OOM.format(11, 3)), RuntimeError(OOM.format(27, 9)))
    with pytest.raises(
        NoProgress, match="not tried again: .*: RuntimeError: CUDA out of memory. Process 27 "
    ) as caught:
        check_failures(tmp_path, 3)
    assert f"call Snakemake again; to try again within this call, `rm {tmp_path / FAILURES}`" in str(
        caught.value
    )
    (tmp_path / FAILURES).unlink()
    check_failures(tmp_path, 4)


def test_a_new_call_of_snakemake_tries_again(tmp_path):
    fail_at(tmp_path, ValueError("x"), ValueError("x"))
    check_failures(tmp_path, 1)
    check_failures(tmp_path, 2)


@pytest.mark.parametrize(
    ("errors", "reaches"),
    [
        ([ValueError("x")], ()),
        ([ValueError("x"), OSError("x")], ()),
        ([ValueError("x"), ValueError("x")], [(2, "rollouts-000003.parquet")]),
        ([ValueError("x"), ValueError("x")], [(1, "model.incomplete"), (2, "model-2.incomplete")]),
    ],
)
def test_another_error_or_progress_is_tried_again(tmp_path, errors, reaches):
    fail_at(tmp_path, *errors, reaches=reaches)
    check_failures(tmp_path, len(errors) + 1)


def test_progress_since_the_last_failure_counts(tmp_path):
    """An attempt that SIGTERM ended after a checkpoint leaves no failure."""
    fail_at(tmp_path, ValueError("x"), ValueError("x"))
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "optimizer.pt").write_bytes(b"1")
    check_failures(tmp_path, 4)


def test_files_that_are_only_written_again_are_no_progress(tmp_path):
    fail_at(tmp_path, ValueError("x"), ValueError("x"), reaches=[(1, "training-000001.parquet")])
    (tmp_path / "training-000001.parquet").write_text("of another length, for it holds seconds")
    with pytest.raises(NoProgress):
        check_failures(tmp_path, 3)


def test_a_job_counts_its_attempts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("redirect_output", "set_threads", "hand_over", "log_header"):
        monkeypatch.setattr(job, name, lambda *_: None)
    calls = []

    def function(task):
        calls.append(task.resume)
        raise SystemExit(143) if len(calls) == 1 else ValueError("out of memory")

    monkeypatch.setattr(job, "load", lambda *_: function)
    ends = []
    for attempt in range(1, 6):
        snakemake = SimpleNamespace(
            rule="train", threads=1, log=["log"], params={}, input=[], resources={"attempt": attempt},
            output=["results/s/runs/a.parquet"],
        )  # fmt: skip
        try:
            job.run_job(snakemake, "module:function")
        except (SystemExit, ValueError, NoProgress) as end:
            ends.append(type(end).__name__)
    assert ends == ["SystemExit", "ValueError", "ValueError", "NoProgress", "NoProgress"]
    assert len(calls) == 3


def test_the_launcher_tells_the_error_of_the_process_that_failed(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import sys\nfrom selfdistill.training.distributed import launch\n"
        "with launch.telling(launch.read_job(sys.argv[1]).resume):\n    raise ValueError('no memory')\n"
    )
    training = tiny.job(tmp_path, "grpo", tiny.GRPO)
    training.resume.mkdir(parents=True)
    (training.resume / launch.ERROR).write_text("of an earlier attempt")
    with pytest.raises(RuntimeError, match=r"on 2 processes failed \(exit code 1\): ValueError: no memory"):
        launch.launch(training, 2, None, (str(worker),))
