"""The progress table: done, running and stopped jobs, and the estimate of the time left."""

import json
from pathlib import Path

import pytest

from selfdistill.commands.status import Entry, State, duration, expected_jobs, render, seconds_left, state_of
from selfdistill.jobs.locks import job_lock, lock_of
from selfdistill.study.load import load_study

STUDY = load_study(Path(__file__).parents[2] / "config" / "test.yaml")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Results are looked for below the working directory."""
    monkeypatch.chdir(tmp_path)


def write(path, content):
    """Write JSON into a file whose folder may not be there."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))


def test_every_run_is_trained_and_evaluated():
    jobs = list(expected_jobs(STUDY))
    assert len({job.manifest for job in jobs}) == len(jobs)
    assert sum(job.kind == "evaluate" for job in jobs) == sum(
        len(STUDY.steps_of(run)) for run in STUDY.runs()
    )


def test_states_follow_manifest_lock_and_progress():
    entry = next(job for job in expected_jobs(STUDY) if job.kind == "sdpo default")
    assert state_of(entry).state == "waiting"
    write(f"{entry.resume}/progress.json", {"step": 3, "steps": 12, "seconds": 6.0, "eta": 18.0})
    assert state_of(entry).state == "stopped"
    with job_lock(lock_of(entry.resume)):
        running = state_of(entry)
        assert (running.state, running.step, running.steps, running.left) == ("running", 3, 12, 18.0)
        assert "step 3 of 12, about 0 min 18 s left" in render(STUDY, 2)
    write(entry.manifest, {"wall_seconds": 24.0})
    assert (state_of(entry).state, state_of(entry).seconds) == ("done", 24.0)


def entry(kind):
    """A job of a kind."""
    return Entry(kind, kind, "", "")


def test_time_left_goes_by_finished_and_running_jobs_of_the_kind():
    states = [
        State(entry("a"), "done", 10.0),
        State(entry("a"), "done", 30.0),
        State(entry("a"), "waiting"),
        State(entry("b"), "running", step=1, steps=4, left=30.0),
        State(entry("b"), "waiting"),
    ]
    assert seconds_left(states) == pytest.approx(20 + 30 + 40)
    assert seconds_left([*states, State(entry("c"), "waiting")]) is None
    assert (duration(None), duration(125)) == ("?", "2 min 05 s")
