"""Tables (selfdistill.report.tables): cells equal the estimates, the paper's carry their marks, files agree."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from synthetic_study import REPORTED, drawn, further_study, problem_frame, run, study, table

from selfdistill.report.numbers import OOD_MEAN, problems_summary
from selfdistill.report.study_data import FigureError, StudyData, rows_of_run
from selfdistill.report.tables.reported import load_reported, reported_table
from selfdistill.study.displays import TABLES
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.contexts import FURTHER, PAPER_CONTEXTS
from selfdistill.vocabulary.runs import base_key


def test_table1_shows_every_context_beside_the_paper() -> None:
    made = table("table1")
    shown = made.formatted
    assert list(shown["Context"][:4]) == [
        "unguided (c=∅)",
        "answer-only (c=s\\think)",
        "regeneration (c=ỹ)",
        "solution (c=s)",
    ]
    for column in ("Score", "Length", "Epistemic", "Repeated"):
        assert shown[column].str.contains("[", regex=False).all(), f"{column} has our numbers"
    assert list(shown["Paper: score"][:4]) == ["0.30 [S2]", "0.78 [S2]", "0.95 [S2]", "0.98 [S2]"]
    assert list(shown["Paper: length"][:4]) == ["13,054 [S2]", "12,036 [S2]", "2,808 [S2]", "1,873 [S2]"]
    assert list(shown["Paper: epistemic"][:4]) == ["182.5 [F]", "159.8 [S2]", "24.1 [S2]", "8.8 [F]"]
    assert set(shown["Paper: score"][4:]) == {"–"}  # the paper has one model here
    assert "pre-training data" in made.note
    assert "pre-training" not in table("table1", replace(study(), organism=False)).note


def test_table1_shows_the_further_contexts_that_a_study_asks_for_below_the_papers() -> None:
    data = further_study()
    shown = table("table1", data).formatted
    contexts = [*PAPER_CONTEXTS, *FURTHER]
    assert [text.split(" ")[0] for text in shown["Context"]] == 2 * contexts
    rows = data.estimates.query(
        "model == 'r1-mini' and context == 'hint-half' and metric == 'response_tokens'"
    )
    expected = rows[rows["benchmark"] == "section-3"]["estimate"].item()
    assert shown["Length"][contexts.index("hint-half")].startswith(f"{expected:.1f} [")
    assert set(shown["Paper: score"][4:8]) == {"–"}


def test_table2_is_the_last_step_in_percent() -> None:
    data = study()
    made = table("table2")
    raw = made.raw
    column = (raw["column"] == "Longer (4 operations)") & (raw["Trained on"] == "SFT on D_sg")
    cell = raw[column & raw["Model"].str.startswith("Qwen2")].iloc[0]
    rows = rows_of_run(data.estimates, run("r1-mini", "sft", "solution"))
    expected = rows[(rows["benchmark"] == "longer") & (rows["metric"] == "accuracy")].iloc[0]
    for name in ("estimate", "low", "high"):
        assert cell[name] == pytest.approx(100 * expected[name])
    assert (cell["n_problems"], cell["k"], cell["n_seeds"]) == (12, 4, 1)
    assert made.formatted.loc[2, "Paper: AIME24"] == "20.21 [S2]"


def test_every_draw_has_a_row_with_the_changes_against_its_own_base() -> None:
    data = drawn("draws", seeds=2)
    twice = replace(data, runs=[*data.runs, data.runs[0] | {"coverage": "8"}])
    with pytest.raises(FigureError, match="one column per method; two runs are "):
        table("draws", twice)
    shown = table("draws", data).formatted
    own = shown[shown["Model"] == data.label("r1-mini")]
    assert list(own["Seed"]) == ["0", "1"] and set(own["Replicate"]) == {"0"}
    draws = data.draws[(data.draws["benchmark"] == OOD_MEAN) & (data.draws["seed"] == 1)]
    sdpo, base = (
        rows_of_run(draws, one)["accuracy"].item()
        for one in (run("r1-mini", "sdpo", "solution", "fixed"), base_key("r1-mini"))
    )
    assert own["Base, OOD"].iloc[1] == f"{100 * base:.1f}"
    assert own["Δ SDPO (c=s)"].iloc[1] == f"{100 * (sdpo - base):+.1f}".replace("-", "−")
    missing = run("r1-mini", "sdpo", "solution", "fixed") | {"seed": 1}
    gone = (data.draws[list(missing)] == pd.Series(missing)).all(axis=1)
    lacking = table("draws", replace(data, draws=data.draws[~gone])).formatted
    assert lacking[lacking["Model"] == data.label("r1-mini")]["Δ SDPO (c=s)"].iloc[1] == "–"
    off = shown[shown["Model"] == data.label("qwen3-mini-nothink")]
    assert set(off["Δ SDPO (c=s\\think)"]) == {"–"}, "a run that the model does not have"


def test_table3_counts_the_problem_sets() -> None:
    training = {"chain": problem_frame(["d2", "d3"], 6)}
    benchmarks = {"same": problem_frame(["d2"], 4, start=5), "far": problem_frame(["d4"], 3, start=50)}
    summary = problems_summary(training, benchmarks).set_index("benchmark")
    assert (summary["problems"] == 6).all() and (summary["types"] == 2).all()
    assert summary.loc["same", "shared_types"] == 1 and summary.loc["same", "shared_questions"] == 1
    assert summary.loc["far", "shared_types"] == 0 and summary.loc["far", "shared_questions"] == 0
    made = table("table3").formatted
    assert (
        made.loc[made["Training set"] == "narrow", "Relation to the benchmarks"].str.contains("Shorter").all()
    )
    assert list(made["Source"]) == ["this study"] * 2 + ["paper"] * 3


def test_main_results_hold_every_run_and_paired_differences() -> None:
    data = study()
    made = table("main-results")
    runs = data.estimates[data.estimates["benchmark"] == "longer"]
    fields = ["model", "method", "context", "teacher", "dataset", "coverage", "variant"]
    assert len(made.rows) == len(runs[fields].drop_duplicates())
    base = made.formatted[made.formatted["Run"] == "base"]
    assert set(base["Δ base"]) == {"–"} and len(base) == 4
    raw = made.raw
    cell = raw[
        (raw["column"] == "Δ base, OOD") & (raw["Run"] == "SDPO (c=s)") & raw["Model"].str.startswith("Olmo3")
    ]
    rows = rows_of_run(data.differences, run("olmo3-mini", "sdpo", "solution", "fixed"))
    expected = rows[(rows["benchmark"] == OOD_MEAN) & (rows["metric"] == "accuracy")]["difference"].item()
    assert cell["estimate"].item() == pytest.approx(100 * expected)


def test_files_hold_the_same_cells(tmp_path: Path) -> None:
    made = table("table1")
    paths = [tmp_path / f"table1.{suffix}" for suffix in ("csv", "md", "html")]
    made.write(*paths)
    frame = pd.read_csv(paths[0])
    assert len(frame) == len(made.raw) and frame["estimate"].notna().all()
    assert set(frame["mark"].dropna()) == {"S2", "F"} and frame["reported"].sum() == 12
    text, page = (path.read_text(encoding="utf-8") for path in paths[1:])
    for entry in made.formatted["Score"]:
        assert entry in text and entry in re.sub("</?span[^>]*>", "", page)
    sorts = [float(value) for value in re.findall(r'data-sort="([^"]+)"', page)]
    assert sorts == pytest.approx(list(frame["estimate"]))
    assert page.count('class="reported insecure"') == 10 and page.count('class="reported secure"') == 2


def test_markdown_keeps_pipes_inside_cells() -> None:
    lines = table("main-results").to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1


@pytest.mark.parametrize("name", [name for name in TABLES if TABLES[name].shows != "experiments"])
def test_a_table_without_data_says_so(name: str) -> None:
    with pytest.raises(FigureError):
        table(name, StudyData())


def test_table2_shows_the_runs_of_its_experiments_after_their_base() -> None:
    runs = [run("r1-mini", "sft", "solution"), run("r1-mini", "grpo")]
    shown = table("table2", study().of_runs(runs)).formatted
    assert list(shown["Trained on"]) == ["base", "SFT on D_sg", "GRPO"]
    assert len(table("table2").rows) == len(drawn("table2").runs) + 3  # a base per model


def test_every_reported_number_has_a_mark_and_a_shape() -> None:
    frame = load_reported(REPORTED)
    assert set(frame["mark"]) <= {"F", "V", "S2", "S2*", "S1", "D", "I"}
    places = {"table1", "table2", "table3", "figure1", "figure3", "figure4", "figure5", "figure6", "figure7"}
    assert places | {"figure8", "figure9", "figure12", "figure18"} <= set(frame["place"])
    for entry in yaml.safe_load(REPORTED.read_text(encoding="utf-8"))["entries"]:
        assert "value" in entry or "steps" in entry or "words" in entry or "text" in entry
        assert len(entry.get("steps", [])) == len(entry.get("values", []))


def test_a_number_without_a_mark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reported.yaml"
    path.write_text("entries: [{place: table1, value: 1.0}]", encoding="utf-8")
    with pytest.raises(StudyError, match=r"reported\.yaml: entries\.0\.mark: missing"):
        load_reported(path)


def test_what_the_paper_reports_for_a_figure() -> None:
    data = study()
    shown = reported_table(data, "figure12").formatted
    assert "-11.9 [S2*]" in set(shown["Value"]) and "below 1 [S2*]" in set(shown["Value"])
    digitised = reported_table(data, "figure8").formatted
    assert digitised.loc[0, "Value"].startswith("0: 0.237, 10: 0.29,")
    assert digitised.loc[0, "Value"].endswith("(±0.01) [D]")
    assert digitised.loc[0, "Arm"] == "GRPO, |D| = 1"
    assert "unknown [S2]" in set(digitised["Value"])
    assert reported_table(data, "figure2") is None
