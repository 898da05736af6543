"""Repetition beside the count of epistemic words: from stored texts, at the last step of every run, and shown beside the count."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from synthetic_study import run, section_3_frame, study, table
from test_explore import BASE, GRPO, samples_of

from selfdistill.grading.epistemic import repeated_ngrams
from selfdistill.records import files
from selfdistill.records.files import Damaged, read_frame, write_table
from selfdistill.records.schemas import samples_schema
from selfdistill.records.task import Task
from selfdistill.report.numbers import estimate
from selfdistill.report.repetition import repeated, repetition
from selfdistill.report.study_data import final_cell, rows_of_run
from selfdistill.study.jobs import DeclaredSamples, NumbersParams
from selfdistill.vocabulary.words import REPETITION

LOOP = "wait " * 13
BENCHMARKS = ["in-domain", "shorter"]


@pytest.fixture
def stored(tmp_path):
    """Samples of a base and of a run at two steps with their files: loops at the first step, and in half of the responses at the last."""
    frame, paths = pd.concat([samples_of(BASE), samples_of(GRPO)], ignore_index=True), []
    late = (frame["step"] == 2) & (frame["sample_index"] % 2 == 1)
    frame.loc[(frame["step"] == 1) | late, "response"] = LOOP
    for step, rows in frame.groupby("step"):
        paths.append(str(tmp_path / f"step-{step}.parquet"))
        write_table(paths[-1], rows, samples_schema())
    return frame, paths


def test_every_stored_response_has_its_share_whatever_the_size_of_a_batch(stored, monkeypatch):
    frame, paths = stored
    expected = [repeated_ngrams(text) for text in frame["response"]]
    for rows in (7, 10_000):
        monkeypatch.setattr(files, "ROWS_AT_ONCE", rows)
        found = repetition(paths)
        assert list(found[REPETITION]) == expected
        assert list(found["problem_id"]) == list(frame["problem_id"])
        assert "response" not in found
    assert repetition([]).empty


def test_a_damaged_file_is_named(stored):
    path = stored[1][1]
    with open(path, "r+b") as file:
        file.seek(200)
        file.write(b"\0" * 400)
    with pytest.raises(Damaged, match="step-1"):
        repetition([path])


def test_the_job_estimates_it_at_the_last_step_of_files_that_lack_it(stored, tmp_path):
    frame, paths = stored
    assert REPETITION not in frame
    samples = frame["sample_index"].nunique()
    declared = [DeclaredSamples(step=step, benchmarks=BENCHMARKS, samples=samples) for step in (0, 1, 2)]
    params = NumbersParams(ood=["shorter"], shift_benchmark="shorter", declared=declared)
    output = {
        name: str(tmp_path / f"{name}.parquet") for name in ("estimates", "differences", "draws", "shift")
    }
    inputs = SimpleNamespace(samples=paths, last=[paths[0], paths[2]], section_3=[])
    estimate(Task({"job": params.model_dump()}, inputs, SimpleNamespace(**output), tmp_path))
    found = read_frame(output["estimates"])
    found = found[(found["metric"] == REPETITION) & (found["step"] > 0)].set_index("benchmark")
    last = repeated(frame[frame["step"] == 2]).groupby("benchmark")[REPETITION].mean()
    assert sorted(found.index) == BENCHMARKS
    assert set(found["step"]) == {2}
    for benchmark in BENCHMARKS:
        assert found.loc[benchmark, "estimate"] == pytest.approx(last[benchmark])
        assert found.loc[benchmark, "low"] <= last[benchmark] <= found.loc[benchmark, "high"] <= 1


def test_tables_show_it_in_percent_beside_the_count():
    made = table("main-results")
    columns = list(made.formatted.columns)
    assert columns[columns.index("Epistemic") + 1] == "Repeated"
    assert "4-grams" in made.note
    own = rows_of_run(study().estimates, run("r1-mini", "sdpo", "solution", "fixed"))
    cell = final_cell(own, run("r1-mini", "sdpo", "solution", "fixed"), "in-domain", REPETITION)
    raw = made.raw
    shown = raw[
        (raw["column"] == "Repeated") & (raw["Run"] == "SDPO (c=s)") & raw["Model"].str.startswith("Qwen2")
    ]
    assert shown["estimate"].iloc[0] == pytest.approx(100 * cell.estimate)
    contexts = table("table1").raw
    mean = repeated(section_3_frame().query("model == 'r1-mini' and context == 'unguided'"))[
        REPETITION
    ].mean()
    unguided = contexts[(contexts["column"] == "Repeated") & contexts["Context"].str.startswith("unguided")]
    assert unguided["estimate"].iloc[0] == pytest.approx(100 * mean)


@pytest.mark.parametrize("name", ["main-results", "table1"])
def test_numbers_of_before_show_a_dash(name):
    data = study()
    old = replace(data, estimates=data.estimates[data.estimates["metric"] != REPETITION])
    assert set(table(name, old).formatted["Repeated"]) == {"–"}
    assert isinstance(table(name, old).raw, pd.DataFrame)
