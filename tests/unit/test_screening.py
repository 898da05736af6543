"""The screening table: where runs stand at equal steps and at equal sampled tokens, and what the existing contrasts say there."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from spoiled import CONFIG
from test_statistics import make_samples

from selfdistill.records.files import write_table
from selfdistill.records.schemas import samples_schema
from selfdistill.report.drawing import make_table
from selfdistill.report.screening import screening_benchmarks, screening_samples, with_screening
from selfdistill.report.study_data import FigureError, StudyData
from selfdistill.statistics import BASE_GROUP, GROUP_COLUMNS, contrasts
from selfdistill.statistics.screening import INSIDE, OUTSIDE, STEPS, TOKENS, screened
from selfdistill.study.displays import TABLES
from selfdistill.study.load import load_study
from selfdistill.study.methods import ON_POLICY
from selfdistill.study.shown import run_keys, runs_shown, with_bases
from selfdistill.vocabulary.runs import RUN_KEY, base_key

BENCHMARKS = {INSIDE: ["in-domain"], OUTSIDE: ["longer", "paired"]}
SDPO = dict(zip(RUN_KEY, ("m", "sdpo", "solution", "fixed", "chain", "full", "default"), strict=True))
GRPO = SDPO | {"method": "grpo", "context": "none", "teacher": "none"}
ALONE = SDPO | {"coverage": "8", "method": "rlsd"}
SHARES = {"base": {0: 0.5}, "sdpo": {20: 0.4, 40: 0.2}, "grpo": {30: 0.6, 60: 0.9}, "rlsd": {40: 0.5}}
TOKENS_PER_STEP = {"sdpo": 5, "grpo": 10, "rlsd": 10}
PROBLEMS = 30


@cache
def samples(draws: int = 1) -> pd.DataFrame:
    """Right and wrong answers of four runs, by SHARES; with several draws, each is a replicate."""
    frames = []
    for fields in (base_key("m"), SDPO, GRPO, ALONE):
        for step, share in SHARES[fields["method"]].items():
            for benchmark in (name for names in BENCHMARKS.values() for name in names):
                rng = np.random.default_rng([step, len(benchmark), len(fields["method"])])
                hard = rng.normal(0, 0.1, (1, PROBLEMS, 1))
                correct = rng.random((draws, PROBLEMS, 4)) < share + hard
                frame = make_samples(correct, benchmark, **fields, step=step)
                words = frame["epistemic_substring"] + 3 * frame["correct"]
                frames.append(frame.assign(replicate=frame["seed"], seed=0, epistemic_substring=words))
    return pd.concat(frames, ignore_index=True)


def training(draws: int = 1) -> pd.DataFrame:
    """Records of tokens; draws differ, and their mean is that of TOKENS_PER_STEP."""
    rows = [
        {**fields, "replicate": draw, "seed": 0, "step": step}
        | {"tokens": (TOKENS_PER_STEP[fields["method"]] + draw - (draws - 1) / 2) * (step + 1)}
        for fields in (SDPO, GRPO, ALONE)
        for draw in range(draws)
        for step in range(max(SHARES[fields["method"]]))
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """What is found with one draw."""
    return screened(samples(), training(), BENCHMARKS)


def number(frame: pd.DataFrame, method: str, spent: str, metric: str) -> pd.Series:
    """The row of one number."""
    rows = frame.query("method == @method and spent == @spent and metric == @metric")
    assert len(rows) == 1
    return rows.iloc[0]


def per_problem(rows: pd.DataFrame, method: str, step: int, column: str, benchmark: str) -> np.ndarray:
    """Means of a column over the samples of each problem."""
    own = rows.query("method == @method and step == @step and benchmark == @benchmark")
    return own.groupby("problem_id")[column].mean().to_numpy(float)


def test_runs_stand_where_the_one_that_spends_least_ends(frame):
    places = frame.groupby(["spent", "method"])["step"].agg(["min", "max"])
    assert (places["min"] == places["max"]).all()
    assert places["min"].to_dict() == {
        (STEPS, "grpo"): 40,
        (STEPS, "rlsd"): 40,
        (STEPS, "sdpo"): 40,
        (TOKENS, "grpo"): pytest.approx(20),  # 200 tokens, those of SDPO at its end
        (TOKENS, "rlsd"): pytest.approx(20),
        (TOKENS, "sdpo"): 40,
    }


def test_a_number_between_two_checkpoints_is_interpolated_problem_by_problem(frame):
    rows = samples()

    def score(method: str, step: int) -> np.ndarray:
        return per_problem(rows, method, step, "correct", "in-domain")

    # GRPO at step 40 is a third of the way from 30 to 60; at 200 tokens two thirds of the way from the base to 30
    for spent, expected in (
        (STEPS, score("grpo", 30) * 2 / 3 + score("grpo", 60) / 3 - score("base", 0)),
        (TOKENS, (score("grpo", 30) - score("base", 0)) * 2 / 3),
    ):
        found = number(frame, "grpo", spent, "change_inside")
        half = t.ppf(0.975, PROBLEMS - 1) * expected.std(ddof=1) / np.sqrt(PROBLEMS)
        assert found["estimate"] == pytest.approx(expected.mean())
        assert [found["low"], found["high"]] == pytest.approx(
            [expected.mean() - half, expected.mean() + half]
        )


def test_a_run_is_compared_with_grpo_at_the_same_place_and_coverage(frame):
    rows = samples()

    def score(method: str, step: int) -> float:
        parts = [per_problem(rows, method, step, "correct", name).mean() for name in BENCHMARKS[OUTSIDE]]
        return float(np.mean(parts))

    grpo = {STEPS: score("grpo", 30) * 2 / 3 + score("grpo", 60) / 3}
    grpo[TOKENS] = score("grpo", 30) * 2 / 3 + score("base", 0) / 3
    for spent, own in grpo.items():
        found = number(frame, "sdpo", spent, "above_grpo")
        assert found["estimate"] == pytest.approx(score("sdpo", 40) - own)
        assert found["low"] < found["estimate"] < found["high"]
    compared = frame[frame["metric"] == "above_grpo"]
    assert set(compared["method"]) == {"sdpo"}, (
        "not GRPO with itself, nor a run on eight problems with GRPO on all"
    )


@pytest.mark.parametrize(
    ("quantity", "column"), [("length_kept", "response_tokens"), ("words_kept", "epistemic_substring")]
)
def test_what_is_kept_is_the_share_of_the_base(frame, quantity, column):
    rows = samples()
    found = number(frame, "grpo", TOKENS, quantity)
    base, own = (
        np.mean([per_problem(rows, method, step, column, name).mean() for name in BENCHMARKS[OUTSIDE]])
        for method, step in (("base", 0), ("grpo", 30))
    )
    assert found["estimate"] == pytest.approx((base / 3 + own * 2 / 3) / base)
    assert found["low"] < found["estimate"] < found["high"]


def test_at_a_checkpoint_numbers_and_intervals_are_those_of_the_main_results():
    rows = samples(draws=3)
    outside = rows[rows["benchmark"].isin(BENCHMARKS[OUTSIDE])]
    last = outside[(outside["step"] == 40) | (outside["method"] == "base")]
    expected = contrasts(last, BASE_GROUP, by=GROUP_COLUMNS[:-1], metrics=("accuracy",)).query(
        "method == 'sdpo'"
    )
    frame = screened(rows, training(draws=3), BENCHMARKS)
    for spent in (STEPS, TOKENS):
        found = number(frame, "sdpo", spent, "change_outside")
        for name, other in (("estimate", "difference"), ("low", "low"), ("high", "high")):
            assert found[name] == pytest.approx(expected[other].item())
        assert (found["n_problems"], found["k"], found["n_replicates"]) == (2 * PROBLEMS, 4, 3)


def test_a_checkpoint_that_lacks_a_benchmark_gives_no_number():
    rows = samples()
    lacking = rows[~((rows["method"] == "grpo") & (rows["step"] == 60) & (rows["benchmark"] == "paired"))]
    frame = screened(lacking, training(), BENCHMARKS)
    found = frame[frame["method"] == "grpo"].groupby("spent")["metric"].agg(set)
    assert found[STEPS] == {"change_inside"}, "at step 40 it needs step 60"
    assert found[TOKENS] == {"change_inside", "change_outside", "length_kept", "words_kept"}


def data() -> StudyData:
    """The four runs as what a table is made of."""
    labels = {"in-domain": False, "shorter": True, "longer": True, "paired": True}
    shown = StudyData(
        training=training(draws=2),
        labels={"m": "Model"},
        headline=["longer", "paired"],
        benchmarks={name: {"label": name.capitalize(), "ood": ood} for name, ood in labels.items()},
    )
    return with_screening(shown.of_runs([SDPO, ALONE, GRPO]), samples(draws=2))


def table(shown: StudyData):
    """The table of some data."""
    display = TABLES["screening"]
    return make_table(display.draw, shown, display.options, name="screening", title=display.title)


def test_the_table_ranks_the_runs_and_shows_both_places():
    shown = data()
    assert screening_benchmarks(shown) == BENCHMARKS
    made = table(shown)
    assert [row["Run"].text for row in made.rows] == ["GRPO", "RLSD (c=s)", "SDPO (c=s)"]
    changes = [row["Δ OOD"].value for row in made.rows]
    assert changes == sorted(changes, reverse=True) and changes[0] > 0 > changes[-1]
    sdpo = made.rows[-1]
    for suffix, spent in (("", STEPS), (", equal tokens", TOKENS)):
        found = number(shown.differences, "sdpo", spent, "words_kept")
        assert sdpo[f"Words kept{suffix}"].value == pytest.approx(100 * found["estimate"])
    assert (sdpo["Step"].text, sdpo["Replicates"].text, sdpo["Sampled tokens"].text) == ("40", "2", "200")
    assert made.rows[0]["Step, equal tokens"].text == "20" and made.rows[0]["OOD against GRPO"].text == "–"
    assert "in domain on In-domain, OOD in the mean of Longer, Paired" in made.note
    with pytest.raises(FigureError):
        table(StudyData())


def test_samples_are_read_without_their_texts(tmp_path, frame):
    schema = samples_schema()
    rows = samples().assign(study="s", response="x" * 9, outcome="correct", prompt_hash="", total_words=1)
    rows = rows.assign(**{name: 0 for name in schema.names if name not in rows})[schema.names]
    write_table(tmp_path / "a.parquet", rows, schema)
    read = screening_samples([str(tmp_path / "a.parquet")])
    assert "response" not in read and len(read) == len(rows)
    pd.testing.assert_frame_equal(screened(read, training(), BENCHMARKS), frame)


def test_the_study_past_the_paper_screens_all_its_runs():
    study = load_study(CONFIG / "beyond.yaml", replicates=[0, 1])
    runs = runs_shown(study, "screening")
    assert set(runs) == set(study.runs(methods=ON_POLICY))
    bases = with_bases(runs)[: -len(runs)]
    assert run_keys(bases) == [base_key("r1-mini")] and [run.replicate for run in bases] == [0, 1]
