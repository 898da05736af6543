"""Estimates, intervals and contrasts against brute force, simulated truths and hand-made samples.

The simulations stack their replications on the metric axis of `Cells`, so several hundred bootstraps are one
matrix product. Data are clustered as in the study: a problem's difficulty is shared by all of its samples and
all seeds, a training seed shifts every problem.
"""

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
from selfdistill.statistics import BASE, Cells, contrasts, estimates, last_step, pass_at_k, student_quantile

REPLICATIONS = 2000
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
    columns = {"seed": rows[0], "problem_id": [f"p{i:04d}" for i in rows[1]], "sample_index": rows[2]}
    columns |= {"correct": correct.ravel().astype(bool), "truncated": False, "response_tokens": tokens}
    columns |= {"thinking_tokens": tokens - 5, "epistemic_substring": rows[2] + 1, "epistemic_word": rows[2]}
    return pd.DataFrame(RUN | {"benchmark": benchmark} | fields | columns)


def simulate(seeds: int, problems: int, samples: int, seed_spread: float, start: int) -> np.ndarray:
    """Mean correctness, (replications, seeds, problems); truth 0.5 by symmetry of every level."""
    draw = np.random.default_rng(start)
    difficulty = 1.5 * draw.standard_normal((REPLICATIONS, 1, problems))
    luck = seed_spread * draw.standard_normal((REPLICATIONS, seeds, 1))
    chance = 1 / (1 + np.exp(-difficulty - luck))
    return draw.binomial(samples, chance) / samples


def stack(values: np.ndarray) -> Cells:
    """Replications as the metrics of one stratum."""
    return Cells(values, np.ones_like(values), np.zeros(values.shape[2], dtype=np.int64))


def intervals(cells: Cells) -> np.ndarray:
    """Lower and upper bounds of every replication, by the steps of `estimates`."""
    draws = cells.resampled(*statistics._weights(cells, 1000, 0))
    layout = statistics._layout((cells.linearised(),), cells.strata)
    return statistics._interval(statistics._stretch(draws, cells.estimate(), *layout, 0.95), 0.95)


@pytest.mark.parametrize(("samples", "k"), [(1, 1), (4, 1), (4, 2), (4, 4), (6, 3)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(samples: int, k: int) -> None:
    for correct in range(samples + 1):
        responses = [True] * correct + [False] * (samples - correct)
        subsets = [any(subset) for subset in itertools.combinations(responses, k)]
        assert pass_at_k(correct, samples, k) == pytest.approx(np.mean(subsets))


def test_pass_at_k_refuses_too_few_samples() -> None:
    with pytest.raises(ValueError, match="pass@5 needs 5 samples"):
        pass_at_k(np.array([1, 1]), np.array([8, 4]), 5)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (4, 2.7764), (5, 2.5706), (30, 2.0423), (1000, 1.9623)],
)
def test_student_quantile_against_the_table(freedom: float, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=2e-3)


@pytest.mark.parametrize(
    ("seeds", "problems", "samples", "seed_spread"),
    [(1, 128, 4, 0.0), (1, 40, 16, 0.0), (3, 128, 4, 0.0), (3, 64, 4, 0.3), (5, 64, 4, 0.3)],
)
def test_interval_covers_the_truth(seeds: int, problems: int, samples: int, seed_spread: float) -> None:
    low, high = intervals(stack(simulate(seeds, problems, samples, seed_spread, start=1)))
    coverage = np.mean((low <= 0.5) & (high >= 0.5))
    assert 0.93 <= coverage <= 0.97, coverage


def test_a_plain_bootstrap_of_three_seeds_that_differ_would_not_cover() -> None:
    """Why the draws are stretched; Satterthwaite's approximation is itself a little short in this extreme."""
    cells = stack(simulate(3, 128, 4, 1.0, start=1))
    low, high = statistics._interval(cells.resampled(*statistics._weights(cells, 1000, 0)), 0.95)
    assert np.mean((low <= 0.5) & (high >= 0.5)) < 0.80
    low, high = intervals(cells)
    assert np.mean((low <= 0.5) & (high >= 0.5)) > 0.90


def test_interval_covers_the_truth_of_two_unequal_benchmarks() -> None:
    values = np.concatenate([simulate(1, 30, 8, 0.0, start=2), simulate(1, 200, 8, 0.0, start=3)], axis=2)
    low, high = intervals(Cells(values, np.ones_like(values), np.repeat([0, 1], [30, 200])))
    assert 0.93 <= np.mean((low <= 0.5) & (high >= 0.5)) <= 0.97


def test_interval_of_a_ratio_of_sums_covers_the_truth() -> None:
    draw = np.random.default_rng(4)
    length = draw.gamma(4.0, 25.0, size=(REPLICATIONS, 1, 100))
    rate = 0.02 * draw.gamma(8.0, 1 / 8.0, size=length.shape)
    cells = Cells(1000.0 * draw.poisson(rate * length), length, np.zeros(100, dtype=np.int64))
    low, high = intervals(cells)
    assert 0.93 <= np.mean((low <= 20.0) & (high >= 20.0)) <= 0.97


@pytest.mark.parametrize(
    ("seeds", "reference_seeds", "seed_spread"),
    [(1, 1, 0.0), (3, 3, 0.0), (3, 3, 0.3), (3, 1, 0.0), (5, 4, 0.3), (5, 5, 0.3)],
)
def test_false_positive_rate_of_the_paired_contrast(
    seeds: int, reference_seeds: int, seed_spread: float
) -> None:
    draw = np.random.default_rng(5)
    difficulty = 1.5 * draw.standard_normal((REPLICATIONS, 1, 100))
    arms = []
    for size in (seeds, reference_seeds):
        luck = seed_spread * draw.standard_normal((REPLICATIONS, size, 1))
        arms.append(stack(draw.binomial(4, 1 / (1 + np.exp(-difficulty - luck))) / 4))
    result = statistics._contrast(tuple(arms), seeds == reference_seeds, False, 1000, 0, 0.95)
    rate = np.mean(result["p_value"] < 0.05)
    assert 0.03 <= rate <= 0.06, rate
    outside = (result["low"] > 0) | (result["high"] < 0)
    assert abs(np.mean(outside) - rate) < 0.01


def test_pairing_by_problem_narrows_the_interval_of_a_difference() -> None:
    draw = np.random.default_rng(6)
    chance = draw.beta(0.5, 0.5, size=(1, 200, 1))
    base = make_samples(draw.random((1, 200, 8)) < chance, **BASE)
    trained = make_samples(draw.random((1, 200, 8)) < np.clip(chance - 0.1, 0, 1))
    (row,) = contrasts(pd.concat([base, trained]), BASE, metrics=["accuracy"]).to_dict("records")
    single = estimates(trained, metrics=["accuracy"]).iloc[0]
    assert row["high"] - row["low"] < 0.7 * (single["high"] - single["low"])
    assert row["high"] < 0
    assert row["p_value"] == pytest.approx(2 / 1001)


def test_estimates_by_hand() -> None:
    correct = np.array([[[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    frame = estimates(make_samples(correct), metrics=(*statistics.METRICS, "pass@2"))
    counts = ["n_problems", "k", "n_seeds"]
    assert list(frame.columns) == [*statistics.BY, "metric", "estimate", "low", "high", *counts]
    assert frame[counts].drop_duplicates().to_numpy().tolist() == [[3, 4, 1]]
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
        "base": make_samples(draw.random((1, 20, 4)) < 0.5, **BASE),
        "grpo": make_samples(draw.random((3, 20, 4)) < 0.8, method="grpo", context="none", teacher="none"),
        "sdpo": make_samples(draw.random((3, 25, 4)) < 0.2),
    }
    samples = pd.concat(arms.values())
    shared = arms["sdpo"][arms["sdpo"]["problem_id"] < "p0020"]
    to_base = contrasts(samples, BASE, metrics=["accuracy"]).set_index("method")
    assert sorted(to_base.index) == ["grpo", "sdpo"]
    assert to_base.loc["sdpo", "reference"] == pytest.approx(arms["base"]["correct"].mean())
    assert to_base.loc["sdpo", "estimate"] == pytest.approx(shared["correct"].mean())
    assert to_base.loc["sdpo", ["n_problems", "k", "n_seeds", "n_seeds_reference"]].tolist() == [20, 4, 3, 1]
    against = {"method": "grpo", "context": "none", "teacher": "none"}
    (row,) = contrasts(samples[samples["step"] == 40], against, metrics=["accuracy"]).to_dict("records")
    expected = shared["correct"].mean() - arms["grpo"]["correct"].mean()
    assert row["difference"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"] < 0
    assert row["n_seeds_reference"] == 3
    (row,) = contrasts(samples[samples["step"] == 40], against, metrics=["accuracy"], relative=True).to_dict(
        "records"
    )
    assert row["difference"] == pytest.approx(row["estimate"] / row["reference"] - 1)
    assert -1 <= row["low"] < row["difference"] < row["high"] < 0


def test_results_do_not_depend_on_row_order_or_on_other_groups() -> None:
    draw = np.random.default_rng(8)
    samples = pd.concat(
        [make_samples(draw.random((2, 30, 4)) < 0.4, benchmark) for benchmark in ("one", "two")]
    )
    frame = estimates(samples)
    pd.testing.assert_frame_equal(frame, estimates(samples.sample(frac=1, random_state=0)))
    alone = estimates(samples[samples["benchmark"] == "two"])
    pd.testing.assert_frame_equal(frame[frame["benchmark"] == "two"].reset_index(drop=True), alone)
    assert not frame["low"].equals(estimates(samples, seed=1)["low"])


def test_degenerate_groups() -> None:
    alike = estimates(make_samples(np.ones((2, 5, 2), bool)), metrics=["accuracy"]).iloc[0]
    assert alike[["estimate", "low", "high"]].tolist() == [1.0, 1.0, 1.0]
    single = estimates(make_samples(np.array([[[1, 0]]])), metrics=["accuracy"]).iloc[0]
    assert single["estimate"] == 0.5
    assert math.isnan(single["low"])
    assert math.isnan(single["high"])


def test_what_would_give_a_wrong_number_is_refused() -> None:
    samples = make_samples(np.ones((1, 3, 2), bool))
    with pytest.raises(ValueError, match=r"lack.*'substring_wait'"):
        estimates(samples, metrics=["substring_wait"])
    with pytest.raises(ValueError, match="no samples"):
        estimates(samples.iloc[:0])
    with pytest.raises(ValueError, match="mixes different runs"):
        estimates(pd.concat([samples, samples.assign(step=10)]), by=["model", "benchmark"])
    with pytest.raises(ValueError, match="not grouped by"):
        contrasts(samples, {"method": "base"}, by=["model"])
    with pytest.raises(ValueError, match="no group has a reference"):
        contrasts(samples, BASE)
    other = make_samples(np.ones((1, 2, 2), bool), **BASE).replace({"p0000": "q0", "p0001": "q1"})
    with pytest.raises(ValueError, match="share no problem"):
        contrasts(pd.concat([samples, other]), BASE)


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
