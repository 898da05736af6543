"""Intervals and p values of the bootstrap against simulated truths.

The simulations stack their replications on the metric axis of `Cells`, so two thousand bootstraps are one
matrix product. Data are clustered as in the study: a problem's difficulty is shared by all of its samples and
all seeds, a training seed shifts every problem.
"""

from __future__ import annotations

import numpy as np
import pytest

from selfdistill.statistics import Cells, minimum_detectable_effect
from selfdistill.statistics.bootstrap import arm_draws, linear_contrast, p_above, p_two_sided, percentiles
from selfdistill.statistics.cells import Design

REPLICATIONS = 2000


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


def design(*arms: Cells, seed_sets: tuple[int, ...] | None = None) -> Design:
    """Arms on the same problems, with the same seeds unless `seed_sets` says otherwise."""
    everything = np.arange(arms[0].strata.size)
    return Design(arms, (everything,) * len(arms), arms[0].strata, seed_sets or (0,) * len(arms), 1)


def intervals(cells: Cells) -> np.ndarray:
    """Lower and upper bounds of every replication of one group."""
    return percentiles(linear_contrast(design(cells), (1.0,), False, 1000, 0, 0.95).draws, 0.95)


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
    low, high = percentiles(arm_draws(design(cells), 1000, 0)[0], 0.95)
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
    pair = design(*arms, seed_sets=(0, 0 if seeds == reference_seeds else 1))
    draws = linear_contrast(pair, (1.0, -1.0), False, 1000, 0, 0.95).draws
    rate = np.mean(p_two_sided(draws) < 0.05)
    assert 0.03 <= rate <= 0.06, rate
    low, high = percentiles(draws, 0.95)
    assert abs(np.mean((low > 0) | (high < 0)) - rate) < 0.01
    assert np.mean(p_above(draws) < 0.025) <= 0.035


@pytest.mark.parametrize(("seeds", "same_runs"), [(1, True), (3, True), (3, False)])
def test_a_difference_in_differences_of_four_arms_covers_the_truth(seeds: int, same_runs: bool) -> None:
    """[a - b] on one benchmark minus [c - d] on another, the truth being 0; problems paired within each.

    With `same_runs` c and d are the training runs a and b, seed by seed, so that their luck cancels.
    """
    draw = np.random.default_rng(10)
    spread = 0.2 if seeds > 1 else 0.0
    lucks = spread * draw.standard_normal((4, REPLICATIONS, seeds, 1))
    arms, places = [], []
    strata = np.repeat([0, 1], [80, 60])
    for benchmark in (0, 1):
        size = int((strata == benchmark).sum())
        difficulty = 1.5 * draw.standard_normal((REPLICATIONS, 1, size))
        for run in (0, 1):
            luck = lucks[run if same_runs else 2 * benchmark + run]
            arms.append(stack(draw.binomial(4, 1 / (1 + np.exp(-difficulty - luck))) / 4))
            places.append(np.flatnonzero(strata == benchmark))
    four = Design(tuple(arms), tuple(places), strata, (0,) * 4 if same_runs else (0, 1, 2, 3), 4)
    low, high = percentiles(linear_contrast(four, (1.0, -1.0, -1.0, 1.0), False, 1000, 0, 0.95).draws, 0.95)
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.97


@pytest.mark.parametrize(
    ("problems", "samples", "seeds"), [(128, 2, 3), (128, 16, 3), (60, 4, 5), (128, 4, 1)]
)
def test_the_minimum_detectable_effect_is_detected_with_its_power(
    problems: int, samples: int, seeds: int
) -> None:
    """Normal data with the variances of the formula's own model; found: the interval leaves out 0."""
    correlation, interaction, seed_sd = 0.3, 0.25, 0.02 if seeds > 1 else 0.0
    effect = minimum_detectable_effect(problems, samples, seeds, correlation=correlation, seed_sd=seed_sd)
    draw, total = np.random.default_rng(11), 0.25
    difficulty = np.sqrt(total * correlation * (1 - interaction)) * draw.standard_normal(
        (REPLICATIONS, 1, problems)
    )
    arms = []
    for shift in (effect, 0.0):
        own = np.sqrt(total * correlation * interaction) * draw.standard_normal((REPLICATIONS, 1, problems))
        luck = seed_sd * draw.standard_normal((REPLICATIONS, seeds, 1))
        noise = np.sqrt(total * (1 - correlation) / samples) * draw.standard_normal(
            (REPLICATIONS, seeds, problems)
        )
        arms.append(stack(0.5 + shift + difficulty + own + luck + noise))
    low, _ = percentiles(linear_contrast(design(*arms), (1.0, -1.0), False, 1000, 0, 0.95).draws, 0.95)
    assert 0.75 <= np.mean(low > 0) <= 0.85
