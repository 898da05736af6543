"""Where the core time of a study went (benchmarks/timeline.py), from the manifests of its jobs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from timeline import Job, lanes_of, read_jobs, shares, without_pauses  # noqa: E402

TWO_LANES = [
    Job(100.0, 100.5, 104.0, "train_grpo"),
    Job(100.0, 101.0, 110.0, "train_base"),
    Job(105.0, 105.5, 110.0, "evaluate_run"),
]


@pytest.fixture
def folder(tmp_path):
    """Results with three jobs, and a manifest without times."""
    for number, job in enumerate(reversed(TWO_LANES)):
        times = {"process_began": job.began, "main_began": job.main, "ended": job.ended}
        path = tmp_path / str(number) / "manifest.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"rule": job.rule, "times": times}))
    (tmp_path / "figure1.manifest.json").write_text(json.dumps({"rule": "plot_figure"}))
    return tmp_path


def test_shares_are_of_all_lanes_from_first_begin_to_last_end(folder):
    jobs = without_pauses(read_jobs(folder))
    assert [job.rule for job in jobs] == ["train_grpo", "train_base", "evaluate_run"]
    assert [job.began for job in jobs] == [0.0, 0.0, 5.0]
    assert lanes_of(jobs) == [0, 1, 0]
    found = shares(jobs, lanes_of(jobs))
    assert found == pytest.approx({"compute": 17 / 20, "start-up": 2 / 20, "idle": 1 / 20})


def test_the_pause_before_a_later_session_counts_nowhere():
    later = Job(5110.0, 5111.0, 5120.0, "train_sft")
    moved = without_pauses([*TWO_LANES, later])
    assert (moved[-1].began, moved[-1].ended) == (10.0, 20.0)
    short = without_pauses([Job(0.0, 0.0, 10.0, "a"), Job(40.0, 40.0, 50.0, "b")])
    assert short[-1].began == 40.0


def test_the_command_draws_and_tells(folder, tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/timeline.py"), str(folder), str(tmp_path / "a.png")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "3 jobs, 2 at once, 10 s: 85.0 % compute, 10.0 % start-up, 5.0 % idle"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
