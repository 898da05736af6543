"""Reading results (selfdistill.explore): what is found, what is filtered, and what an error says."""

import json

import pandas as pd
import pytest
from synthetic_study import PROBLEMS, SAMPLES, problem_frame, responses

from selfdistill.explore import (
    ResultsError,
    answers_html,
    choose_problems,
    collect_answers,
    draw_forest,
    open_study,
    run_label,
)
from selfdistill.records.files import write_frame, write_table
from selfdistill.records.paths import Paths
from selfdistill.records.schemas import problems_schema, rollouts_schema, samples_schema, training_schema
from selfdistill.report.numbers import study_differences, study_estimates
from selfdistill.report.study_data import runs_of
from selfdistill.report.style import new_figure
from selfdistill.vocabulary.runs import Run, base_run

PATHS = Paths("test")
BASE = base_run("r1-test", 0, 0)
GRPO = Run("r1-test", "grpo", "none", "none", "chain", "full", "default", 0, 0)
SDPO = Run("r1-test", "sdpo", "solution", "fixed", "chain", "full", "default", 0, 0)
CONTROL = Run("r1-test", "sdpo", "other-solution", "fixed", "chain", "full", "default", 0, 0)
"""A run that no study declares."""
SCALES = {BASE: 1.0, GRPO: 1.25, SDPO: 0.35, CONTROL: 0.9}


def samples_of(run: Run) -> pd.DataFrame:
    """Samples of a run at its steps, on both benchmarks of the study `test`."""
    fields = {name: value for name, value in run.fields().items() if name != "seed"}
    steps = (0,) if run.method == "base" else (1, 2)
    frames = [
        responses(fields, name, step, run.seed, SCALES[run])
        for step in steps
        for name in ("in-domain", "shorter")
    ]
    frame = pd.concat(frames, ignore_index=True).assign(study="test", prompt_hash="", extracted_answer="4")
    frame["outcome"] = frame["correct"].map({True: "correct", False: "wrong"})
    return frame[samples_schema().names]


def records_of(run: Run) -> pd.DataFrame:
    """A training record of two steps."""
    values = dict.fromkeys(training_schema().names, 0.5) | run.fields()
    return pd.DataFrame([values | {"step": step, "tokens": 10 * step} for step in (0, 1)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with results of the study `test`: four runs, two benchmarks, numbers, no config of its own."""
    root = tmp_path_factory.mktemp("explore")
    for run in SCALES:
        for step, rows in samples_of(run).groupby("step"):
            write_table(root / PATHS.samples(run, step), rows, samples_schema())
        if run.method != "base":
            write_table(root / PATHS.training(run), records_of(run), training_schema())
    text = {"problem_id": "d2-1", "response": "wait", "has_demonstration": True, "truncated": False}
    rollout = pd.DataFrame(
        [text | {"step": 0, "sample_index": 0, "score": 1.0, "response_tokens": 1, "outcome": "correct"}]
    )
    write_table(root / PATHS.rollouts(SDPO), rollout, rollouts_schema())
    for name in ("in-domain", "shorter"):
        problems = problem_frame(["d2"], PROBLEMS).assign(dataset=name, metadata="{}")
        problems["problem_id"] = [f"{name}-{index}" for index in range(PROBLEMS)]
        problems["answers"] = [["4"]] * PROBLEMS
        problems["question"] = problems["question"] + " <x>"
        write_table(root / PATHS.benchmark(name), problems, problems_schema())
    samples = pd.concat([samples_of(run) for run in SCALES], ignore_index=True)
    write_frame(root / PATHS.numbers("estimates", "r1-test"), study_estimates(samples, pd.DataFrame(), []))
    write_frame(root / PATHS.numbers("differences", "r1-test"), study_differences(samples, []))
    return root


@pytest.fixture(scope="module")
def results(folder):
    """The opened study."""
    return open_study(folder, "test")


def test_runs_are_the_declared_and_the_found_ones_with_what_they_have(results):
    runs = results.runs.set_index(["model", "method", "context", "teacher", "coverage", "dataset"])
    sdpo = runs.loc[("r1-test", "sdpo", "solution", "fixed", "full", "chain")]
    assert (sdpo["label"], sdpo["experiments"]) == ("SDPO (c=s)", "on-policy")
    assert sdpo["has_samples"]
    assert not runs.loc[("qwen3-test", "grpo", "none", "none", "8", "chain")]["has_samples"]
    assert (
        runs.loc[("r1-test", "sdpo", "other-solution", "fixed", "full", "chain")]["experiments"]
        == "undeclared"
    )
    assert results.models == ["r1-test"]
    assert list(results.runs["method"][:1]) == ["base"]


def test_samples_read_the_runs_and_rows_that_match(results):
    samples = results.samples(method=["base", "grpo"], benchmark="shorter", step=[0, 2])
    assert set(samples["method"]) == {"base", "grpo"}
    assert set(samples["benchmark"]) == {"shorter"}
    assert len(samples) == 2 * PROBLEMS * SAMPLES
    few = results.samples(["correct"], method="grpo", benchmark="shorter")
    assert list(few.columns) == ["correct", "benchmark"]
    assert set(results.samples(experiment="on-policy")["method"]) == {"grpo", "sdpo"}


def test_records_and_rollouts_carry_their_run(results):
    assert len(results.training()) == 6
    assert set(results.training(context="solution")["method"]) == {"sdpo"}
    assert results.rollouts(method="sdpo")[["context", "response"]].to_numpy().tolist() == [
        ["solution", "wait"]
    ]


def test_final_numbers_are_those_of_the_last_step_in_drawing_order(results):
    rows = results.final(results.estimates, benchmark="shorter", metric="accuracy")
    assert list(rows["label"]) == ["base", "GRPO", "SDPO (c=s)", "SDPO (another problem's s)"]
    assert list(rows["step"]) == [0, 2, 2, 2]
    changes = results.final(results.differences, benchmark="shorter", metric="accuracy")
    assert "base" not in set(changes["label"])


def test_figures_can_be_drawn_from_what_is_there(results):
    assert len(results.data.estimates) == len(results.estimates)
    assert len(runs_of(results.data.training)) == 3
    assert results.data.shift.empty
    rows = results.final(results.estimates, benchmark="shorter", metric="accuracy")
    _, axes = new_figure(1, 1)
    draw_forest(axes[0, 0], rows, rows["label"])
    assert [text.get_text() for text in axes[0, 0].get_yticklabels()] == list(rows["label"])
    spans = [line.get_xdata() for line in axes[0, 0].lines[::2]]
    assert [tuple(span) for span in spans] == list(zip(rows["low"], rows["high"], strict=True))


def test_claims_are_a_frame_and_their_absence_an_empty_one(folder):
    assert open_study(folder, "test").claims.empty
    path = folder / PATHS.claims("json")
    path.write_text(json.dumps({"study": "test", "claims": [{"name": "C1", "verdict": "reproduced"}]}))
    try:
        found = open_study(folder, "test").claims
    finally:
        path.unlink()
    assert found.to_dict("records") == [{"name": "C1", "verdict": "reproduced"}]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda r: r.samples(method="gpo"), "no run has method='gpo'; the runs have: base, grpo, sdpo, sft"),
        (lambda r: r.samples(method="grpo", step=7), "no sample has step=7; the samples have: 1, 2"),
        (lambda r: r.select(methods="grpo"), "no filter 'methods'; there are: model, method"),
        (lambda r: r.select(model="r1-test", coverage="8"), "the runs with model='r1-test' have: full, none"),
        (lambda r: r.select(experiment="x"), "there are: coverage, equal-tokens, narrow, off-policy"),
        (lambda r: r.samples(model="qwen3-test"), "Runs that have one: r1-test/base.*config study=test"),
        (lambda r: r.rollouts(method="grpo"), "only GRPO and SDPO runs generate"),
        (lambda r: r.problems("aime"), "no benchmark 'aime'; there are: in-domain, shorter"),
        (
            lambda r: r.shift,
            r"shift.parquet does not exist .r1-test/ holds: differences.parquet, est",
        ),
        (lambda r: r.table("table1"), "tables/ holds: nothing"),
    ],
)
def test_what_is_missing_is_named_with_what_is_there(results, ask, says):
    with pytest.raises(ResultsError, match=says):
        ask(results)


def test_a_study_without_results_names_the_command_that_makes_them(folder):
    with pytest.raises(ResultsError, match=r"results/ holds: test\). Run `make mini`"):
        open_study(folder, "mini")


def test_answers_are_those_of_the_last_step_side_by_side(results):
    runs = results.select(model="r1-test", method=["base", "grpo", "sdpo"], context=["none", "solution"])
    answers = collect_answers(results, runs[runs["has_samples"]], "shorter")
    assert list(answers["label"].unique()) == ["base", "GRPO", "SDPO (c=s)"]
    assert len(answers) == 3 * PROBLEMS
    expected = results.samples(method="grpo", benchmark="shorter", step=2, sample_index=0)
    own = answers[answers["label"] == "GRPO"]
    assert list(own["response"]) == list(expected["response"])


def test_problems_are_chosen_by_who_was_right():
    rows = [("b", "base", True), ("b", "SDPO", False), ("a", "base", True), ("a", "SDPO", False)]
    rows += [("c", "base", True), ("c", "SDPO", True)]
    answers = pd.DataFrame(rows, columns=["problem_id", "label", "correct"])
    assert choose_problems(answers) == ["a", "b", "c"]
    assert choose_problems(answers, right=["base"], wrong=["SDPO"]) == ["a", "b"]
    assert choose_problems(answers, wrong=["base"]) == []
    with pytest.raises(ResultsError, match="no run is called .'GRPO'.; there are: SDPO, base"):
        choose_problems(answers, right=["GRPO"])


def test_answers_page_marks_words_and_escapes_text(results):
    runs = results.select(model="r1-test", method=["base", "sdpo"], context=["none", "solution"])
    answers = collect_answers(results, runs[runs["has_samples"]], "shorter").assign(response="<b> Await")
    page = answers_html(answers, ["shorter-0"])
    assert "&lt;b&gt; A<mark>wait</mark>" in page
    assert "question 0 &lt;x&gt;" in page
    assert "shorter-1" not in page


def test_several_seeds_under_one_name_are_refused(results):
    runs = results.select(model="r1-test", method="base")
    with pytest.raises(ResultsError, match="several runs are called base"):
        collect_answers(results, pd.concat([runs, runs.assign(seed=1)]), "shorter")


def test_labels_name_what_is_not_the_default():
    fields = GRPO.fields()
    assert run_label(fields, "chain") == "GRPO"
    assert run_label(fields | {"dataset": "narrow"}, "chain") == "GRPO, narrow"
    assert run_label(fields | {"dataset": "narrow", "variant": "narrow"}, "chain") == "GRPO, narrow"
    assert run_label(fields | {"coverage": "8"}, "chain") == "GRPO, |D|=8"
    assert run_label(CONTROL.fields(), "chain") == "SDPO (another problem's s)"
