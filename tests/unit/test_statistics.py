"""Estimates and contrasts against brute force and hand-made samples (their intervals: test_intervals)."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from selfdistill import statistics
from selfdistill.statistics import BASE_GROUP, contrasts, estimates, last_step, pass_at_k, with_common_end
from selfdistill.statistics.student import Student

RUN = {"model": "m", "method": "sdpo", "context": "solution", "teacher": "fixed"} | {
    "dataset": "chain",
    "coverage": "full",
    "variant": "default",
    "step": 40,
}


def make_samples(correct: np.ndarray, benchmark: str = "in-domain", **fields: object) -> pd.DataFrame:
    """Samples of one run from a (seed, problem, sample) array; 10 tokens if right, 20 if wrong."""
    rows = np.indices(correct.shape).reshape(3, -1)
    tokens = np.where(correct.ravel(), 10, 20)
    columns = {
        "replicate": 0,
        "seed": rows[0],
        "problem_id": [f"p{i:04d}" for i in rows[1]],
        "sample_index": rows[2],
    }
    columns |= {"extracted_answer": np.where(correct.ravel(), "1", "0")}
    columns |= {"correct": correct.ravel().astype(bool), "truncated": False, "response_tokens": tokens}
    columns |= {"thinking_tokens": tokens - 5, "epistemic_substring": rows[2] + 1, "epistemic_word": rows[2]}
    return pd.DataFrame(RUN | {"benchmark": benchmark} | fields | columns)


@pytest.mark.parametrize(("samples", "k"), [(1, 1), (4, 1), (4, 2), (4, 4), (6, 3)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(samples: int, k: int) -> None:
    for correct in range(samples + 1):
        responses = [True] * correct + [False] * (samples - correct)
        subsets = [any(subset) for subset in itertools.combinations(responses, k)]
        assert pass_at_k(correct, samples, k) == pytest.approx(np.mean(subsets))


def test_pass_at_k_refuses_too_few_samples() -> None:
    with pytest.raises(ValueError, match="pass@5 needs 5 samples per problem; a problem has 4"):
        pass_at_k(np.array([1, 1]), np.array([8, 4]), 5)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (4, 2.7764), (5, 2.5706), (30, 2.0423), (1000, 1.9623)],
)
def test_intervals_are_students(freedom: float, quantile: float) -> None:
    """Against the table of Student's distribution; p values agree with the interval at every level."""
    found = Student(np.array([3.0]), np.array([4.0]), np.array([float(freedom)]))
    assert found.interval()[:, 0] == pytest.approx([3 - 2 * quantile, 3 + 2 * quantile], rel=2e-3)
    for level in (0.95, 1 - 0.05 / 7, 1 - 0.05 / 28):
        low, high = found.interval(level)[:, 0]
        assert found.p_above(low)[0] == pytest.approx((1 - level) / 2)
        assert found.p_below(high)[0] == pytest.approx((1 - level) / 2)


def test_pairing_by_problem_narrows_the_interval_of_a_difference() -> None:
    draw = np.random.default_rng(6)
    chance = draw.beta(0.5, 0.5, size=(1, 200, 1))
    base = make_samples(draw.random((1, 200, 8)) < chance, **BASE_GROUP)
    trained = make_samples(draw.random((1, 200, 8)) < np.clip(chance - 0.1, 0, 1))
    (row,) = contrasts(pd.concat([base, trained]), BASE_GROUP, metrics=["accuracy"]).to_dict("records")
    single = estimates(trained, metrics=["accuracy"]).iloc[0]
    assert row["high"] - row["low"] < 0.7 * (single["high"] - single["low"])
    assert row["high"] < 0
    assert row["p_value"] < 1e-6


def test_estimates_by_hand() -> None:
    correct = np.array([[[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    frame = estimates(make_samples(correct), metrics=(*statistics.METRICS, "pass@2"))
    counts = ["n_problems", "k", "n_replicates", "n_seeds"]
    assert list(frame.columns) == [*statistics.GROUP_COLUMNS, "metric", "estimate", "low", "high", *counts]
    assert frame[counts].drop_duplicates().to_numpy().tolist() == [[3, 4, 1, 1]]
    found = frame.set_index("metric")["estimate"]
    tokens = 5 * 10 + 7 * 20
    assert found["accuracy"] == pytest.approx(5 / 12)
    assert found["pass@k"] == pytest.approx(2 / 3)
    assert found["pass@2"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["response_tokens"] == pytest.approx(tokens / 12)
    assert found["epistemic_substring"] == pytest.approx(2.5)
    assert found["epistemic_per_1000_tokens"] == pytest.approx(1000 * 30 / tokens)
    assert found["truncated"] == 0
    inside = (frame["low"] <= frame["estimate"]) & (frame["estimate"] <= frame["high"])
    assert inside.all()
    assert (frame["low"] >= 0).all()
    assert (frame.loc[frame["metric"].isin(["accuracy", "pass@k"]), "high"] <= 1).all()


def test_benchmarks_weigh_the_same_when_pooled() -> None:
    samples = pd.concat(
        [
            make_samples(np.ones((1, 30, 2), bool), "easy"),
            make_samples(np.arange(400).reshape(1, 200, 2) % 2 == 0, "hard"),
        ]
    )
    frame = estimates(samples, by=["model", "method"], metrics=["accuracy", "response_tokens"])
    assert frame["estimate"].tolist() == pytest.approx([0.75, 12.5])
    assert frame["n_problems"].tolist() == [230, 230]


def test_seeds_count_once_each_even_if_problems_are_missing() -> None:
    correct = np.zeros((2, 10, 2), bool)
    correct[1] = True
    samples = make_samples(correct)
    samples = samples[(samples["seed"] == 0) | (samples["problem_id"] < "p0005")]
    (row,) = estimates(samples, metrics=["accuracy"]).to_dict("records")
    assert row["estimate"] == pytest.approx(10 * 1 / 30 * 1)
    assert (row["n_seeds"], row["n_problems"]) == (2, 10)


def test_contrast_against_base_and_grpo() -> None:
    draw = np.random.default_rng(7)
    arms = {
        "base": make_samples(draw.random((1, 20, 4)) < 0.5, **BASE_GROUP),
        "grpo": make_samples(draw.random((3, 20, 4)) < 0.8, method="grpo", context="none", teacher="none"),
        "sdpo": make_samples(draw.random((3, 25, 4)) < 0.2),
    }
    samples = pd.concat(arms.values())
    shared = arms["sdpo"][arms["sdpo"]["problem_id"] < "p0020"]
    to_base = contrasts(samples, BASE_GROUP, metrics=["accuracy"]).set_index("method")
    assert sorted(to_base.index) == ["grpo", "sdpo"]
    assert to_base.loc["sdpo", "reference"] == pytest.approx(arms["base"]["correct"].mean())
    assert to_base.loc["sdpo", "estimate"] == pytest.approx(shared["correct"].mean())
    assert to_base.loc["sdpo", ["n_problems", "k", "n_replicates", "n_seeds"]].tolist() == [20, 4, 1, 1]
    against = {"method": "grpo", "context": "none", "teacher": "none"}
    (row,) = contrasts(samples[samples["step"] == 40], against, metrics=["accuracy"]).to_dict("records")
    expected = shared["correct"].mean() - arms["grpo"]["correct"].mean()
    assert row["difference"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"] < 0
    assert row["n_seeds"] == 3
    last = samples[samples["step"] == 40]
    (row,) = contrasts(last, against, metrics=["accuracy"], relative=True).to_dict("records")
    assert row["difference"] == pytest.approx(row["estimate"] / row["reference"] - 1)
    assert -1 <= row["low"] < row["difference"] < row["high"] < 0


def test_arms_of_unequal_k_are_compared_at_the_smaller() -> None:
    """Else pass@k would set pass@8 of one arm against pass@4 of the other."""
    correct = np.tile([True, False, False, False], (1, 6, 2))
    samples = pd.concat([make_samples(correct), make_samples(correct[:, :, :4], **BASE_GROUP)])
    (row,) = contrasts(samples, BASE_GROUP, metrics=["pass@k"]).to_dict("records")
    assert row["k"] == 4
    assert row["reference"] == 1
    assert row["estimate"] == pytest.approx(1 - 15 / 70)  # C(6, 4) / C(8, 4) of the draws miss both


def test_maj_at_j_is_the_mean_over_votes_that_share_no_sample() -> None:
    samples = make_samples(np.array([[[1, 1, 0, 0, 0, 1, 1]]]))
    samples["extracted_answer"] = ["4", "4", "7", "9", None, "4", "4"]
    metrics = ["maj@1", "maj@2", "maj@3", "maj@k"]
    shuffled = samples.sample(frac=1, random_state=0)
    found = estimates(shuffled, metrics=metrics).set_index("metric")["estimate"]
    # votes of two: 4 4, 7 9, - 4; of three: 4 4 7, 9 - 4 (a tie); what is left over does not vote
    assert found[metrics].tolist() == pytest.approx([4 / 7, 2 / 3, 3 / 4, 1])
    with pytest.raises(ValueError, match="maj@8 needs 8 samples per problem"):
        estimates(samples, metrics=["maj@8"])
    with pytest.raises(ValueError, match="lack the columns.*extracted_answer"):
        estimates(samples.drop(columns="extracted_answer"), metrics=["maj@k"])


def test_results_do_not_depend_on_row_order_or_on_other_groups() -> None:
    draw = np.random.default_rng(8)
    samples = pd.concat(
        [make_samples(draw.random((2, 30, 4)) < 0.4, benchmark) for benchmark in ("one", "two")]
    )
    frame = estimates(samples)
    pd.testing.assert_frame_equal(frame, estimates(samples.sample(frac=1, random_state=0)))
    alone = estimates(samples[samples["benchmark"] == "two"])
    pd.testing.assert_frame_equal(frame[frame["benchmark"] == "two"].reset_index(drop=True), alone)


def test_degenerate_groups() -> None:
    alike = estimates(make_samples(np.ones((2, 5, 2), bool)), metrics=["accuracy"]).iloc[0]
    assert alike[["estimate", "low", "high"]].tolist() == [1.0, 1.0, 1.0]
    single = estimates(make_samples(np.array([[[1, 0]]])), metrics=["accuracy"]).iloc[0]
    assert single["estimate"] == 0.5
    assert math.isnan(single["low"])
    assert math.isnan(single["high"])


def test_draws_that_end_at_different_steps_are_one_run() -> None:
    """SFT has as many steps as its data of a draw ask for; on-policy runs have several steps, which stay."""
    draw = np.random.default_rng(3)
    ends = [
        make_samples(draw.random((1, 20, 4)) < 0.5, method="sft", step=step).assign(replicate=replicate)
        for replicate, step in enumerate((44, 48, 44))
    ]
    curve = [make_samples(draw.random((1, 20, 4)) < 0.5, step=step) for step in (20, 40)]
    found = with_common_end(pd.concat([*ends, *curve], ignore_index=True))
    assert found.groupby("method")["step"].unique().map(list).to_dict() == {"sft": [48], "sdpo": [20, 40]}
    (row,) = estimates(found[found["method"] == "sft"], metrics=["accuracy"]).to_dict("records")
    assert row["n_replicates"] == 3
    assert row["estimate"] == pytest.approx(np.mean([rows["correct"].mean() for rows in ends]))
    assert with_common_end(found.iloc[:0]).empty


def test_what_would_give_a_wrong_number_is_refused() -> None:
    samples = make_samples(np.ones((1, 3, 2), bool))
    with pytest.raises(ValueError, match=r"lack the columns.*'substring_wait'"):
        estimates(samples, metrics=["substring_wait"])
    with pytest.raises(ValueError, match="no samples"):
        estimates(samples.iloc[:0])
    with pytest.raises(ValueError, match="duplicate sample index.*mixes different runs"):
        estimates(pd.concat([samples, samples.assign(step=10)]), by=["model", "benchmark"])
    with pytest.raises(ValueError, match=r"unknown fields \['method'\] in `against`; grouped by: model$"):
        contrasts(samples, {"method": "base"}, by=["model"])
    with pytest.raises(ValueError, match="no group has a reference"):
        contrasts(samples, BASE_GROUP)
    other = make_samples(np.ones((1, 2, 2), bool), **BASE_GROUP).replace({"p0000": "q0", "p0001": "q1"})
    with pytest.raises(ValueError, match="share no problem"):
        contrasts(pd.concat([samples, other]), BASE_GROUP)


def test_last_step_of_each_run() -> None:
    samples = pd.concat(
        [make_samples(np.ones((1, 2, 1), bool), step=step, method=m) for m, step in [("sft", 5), ("grpo", 9)]]
        + [make_samples(np.ones((1, 2, 1), bool), step=3, method="sft")]
    )
    assert sorted(last_step(samples)["step"].unique()) == [5, 9]


def test_all_estimates_of_a_study_take_under_twenty_seconds_of_one_core() -> None:
    command = [sys.executable, __file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert float(done.stdout) < 20


def study_seconds() -> float:
    """CPU time of the estimates of 40 runs x 5 checkpoints x 4 benchmarks x 128 problems x 4 samples."""
    correct = np.random.default_rng(9).random((1, 128, 4)) < 0.5
    runs = [
        make_samples(correct, f"b{benchmark}", coverage=str(run), step=step)
        for run, step, benchmark in itertools.product(range(40), range(5), range(4))
    ]
    samples = pd.concat(runs, ignore_index=True)
    start = time.process_time()
    frame = estimates(samples)
    assert len(frame) == 800 * len(statistics.METRICS)
    return time.process_time() - start


if __name__ == "__main__":
    print(study_seconds())
