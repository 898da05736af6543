"""Student's intervals and p values against simulated truths, at the levels that Holm's correction asks for.

Data are clustered as in the study: a problem's difficulty is shared by all its samples and all draws, a base shifts all runs
that begin from it, a training shifts one run. The first simulations go through the whole code, with replications stacked on the
metric axis of `Cells`; those of many runs draw the sums that the code would compute.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfdistill.statistics import Cells, minimum_detectable_effect
from selfdistill.statistics.cells import Design
from selfdistill.statistics.simulation import Setting, contrasts, judged
from selfdistill.statistics.student import Student, linear_contrast, priors, student

REPLICATIONS = 2000


def simulate(draws: int, problems: int, samples: int, spread: float, start: int) -> np.ndarray:
    """Mean correctness, (replications, draws, problems); truth 0.5 by symmetry of every level."""
    draw = np.random.default_rng(start)
    difficulty = 1.5 * draw.standard_normal((REPLICATIONS, 1, problems))
    luck = spread * draw.standard_normal((REPLICATIONS, draws, 1))
    chance = 1 / (1 + np.exp(-difficulty - luck))
    return draw.binomial(samples, chance) / samples


def stack(values: np.ndarray) -> Cells:
    """Replications as the metrics of one stratum."""
    return Cells(values, np.ones_like(values), np.zeros(values.shape[2], dtype=np.int64))


def design(*arms: Cells, draw_sets: tuple[int, ...] | None = None) -> Design:
    """Arms on the same problems, with the same draws unless `draw_sets` says otherwise."""
    everything = np.arange(arms[0].strata.size)
    return Design(arms, (everything,) * len(arms), arms[0].strata, draw_sets or (0,) * len(arms), 1)


def intervals(cells: Cells) -> np.ndarray:
    """Lower and upper bounds of every replication of one group."""
    return student(linear_contrast(design(cells), (1.0,))).interval()


def coverage(found: np.ndarray, truth: float) -> float:
    """Share of intervals, (2, replications), that hold the truth."""
    return float(np.mean((found[0] <= truth) & (found[1] >= truth)))


@pytest.mark.parametrize(
    ("draws", "problems", "samples", "spread"),
    [(1, 128, 4, 0.0), (1, 40, 16, 0.0), (3, 128, 4, 0.0), (3, 64, 4, 0.3), (5, 64, 4, 0.3)],
)
def test_interval_covers_the_truth(draws: int, problems: int, samples: int, spread: float) -> None:
    found = coverage(intervals(stack(simulate(draws, problems, samples, spread, start=1))), 0.5)
    assert 0.93 <= found <= 0.97, found


def test_problems_alone_would_not_cover_what_draws_differ() -> None:
    """Three draws that differ by about twenty points, alone: few degrees of freedom, and still nearly covered."""
    found = linear_contrast(design(stack(simulate(3, 128, 4, 1.0, start=1))), (1.0,))
    alone = Student(found.effect, found.problems, np.full_like(found.effect, 127.0))
    assert coverage(alone.interval(), 0.5) < 0.80
    assert coverage(student(found).interval(), 0.5) > 0.90


def test_interval_covers_the_truth_of_two_unequal_benchmarks() -> None:
    values = np.concatenate([simulate(1, 30, 8, 0.0, start=2), simulate(1, 200, 8, 0.0, start=3)], axis=2)
    found = intervals(Cells(values, np.ones_like(values), np.repeat([0, 1], [30, 200])))
    assert 0.93 <= coverage(found, 0.5) <= 0.97


def test_interval_of_a_ratio_of_sums_covers_the_truth() -> None:
    draw = np.random.default_rng(4)
    length = draw.gamma(4.0, 25.0, size=(REPLICATIONS, 1, 100))
    rate = 0.02 * draw.gamma(8.0, 1 / 8.0, size=length.shape)
    cells = Cells(1000.0 * draw.poisson(rate * length), length, np.zeros(100, dtype=np.int64))
    assert 0.93 <= coverage(intervals(cells), 20.0) <= 0.97


@pytest.mark.parametrize(
    ("draws", "reference_draws", "spread"),
    [(1, 1, 0.0), (3, 3, 0.0), (3, 3, 0.3), (3, 1, 0.0), (5, 4, 0.3), (5, 5, 0.3)],
)
def test_false_positive_rate_of_the_paired_contrast(draws: int, reference_draws: int, spread: float) -> None:
    draw = np.random.default_rng(5)
    difficulty = 1.5 * draw.standard_normal((REPLICATIONS, 1, 100))
    arms = []
    for size in (draws, reference_draws):
        luck = spread * draw.standard_normal((REPLICATIONS, size, 1))
        arms.append(stack(draw.binomial(4, 1 / (1 + np.exp(-difficulty - luck))) / 4))
    pair = design(*arms, draw_sets=(0, 0 if draws == reference_draws else 1))
    found = student(linear_contrast(pair, (1.0, -1.0)))
    rate = np.mean(found.p_two_sided() < 0.05)
    assert 0.03 <= rate <= 0.06, rate
    assert coverage(found.interval(), 0.0) == pytest.approx(1 - rate, abs=1e-9)
    assert np.mean(found.p_above() < 0.025) <= 0.035


@pytest.mark.parametrize(("draws", "same_runs"), [(1, True), (3, True), (3, False)])
def test_a_difference_in_differences_of_four_arms_covers_the_truth(draws: int, same_runs: bool) -> None:
    """[a - b] on one benchmark minus [c - d] on another, the truth being 0; problems paired within each.

    With `same_runs` c and d are the training runs a and b, draw by draw, so that their luck cancels.
    """
    draw = np.random.default_rng(10)
    spread = 0.2 if draws > 1 else 0.0
    lucks = spread * draw.standard_normal((4, REPLICATIONS, draws, 1))
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
    found = student(linear_contrast(four, (1.0, -1.0, -1.0, 1.0)))
    assert 0.93 <= coverage(found.interval(), 0.0) <= 0.97


# ---- a study: runs of three bases against them, judged together


STUDIES = 20_000


def test_priors_of_one_study_by_hand() -> None:
    """A unit counts once, a contrast learns from the other units, one of several units from all; at most ten degrees of freedom."""
    given = np.array([[1.0, 3.0, 5.0, np.nan, 2.0], [2.0, 2.0, 2.0, 0.0, 2.0]])[:, :, None]
    ratio, freedom = (found[:, 0] for found in priors(*given, ["a", "a", "b", "c", None]))
    assert ratio.tolist() == [5.0, 5.0, 2.0, 3.5, 3.5]
    assert freedom.tolist() == [2.0, 2.0, 2.0, 4.0, 2.0]
    ones = np.ones((9, 1))
    assert (priors(ones, 2 * ones, range(9))[1] == 10).all()
    assert priors(ones[:1], 2 * ones[:1], ["a"])[1].tolist() == [[0.0]]


DESIGNS = {
    "1 base x 3 seeds": Setting(3, 0.0, 1.0, 3.6),
    "1 base x 3 seeds, k = 8": Setting(3, 0.0, 1.0, 1.8),
    "3 bases": Setting(3, 1.9, 1.0, 3.6),
    "3 bases, k = 8": Setting(3, 1.9, 1.0, 1.8),
    "3 bases that do not differ": Setting(3, 1e-9, 0.0, 3.6),
    "3 bases that differ much": Setting(3, 7.0, 2.0, 1.8),
    "3 bases x 2 seeds": Setting(3, 1.9, 0.7, 1.3),
    "5 bases": Setting(5, 1.9, 1.0, 1.8),
}


def error_rates(found: Student, setting: Setting) -> tuple[float, float]:
    """Family-wise error of Holm's first step in families of 7 and of all runs."""
    p_value = found.p_above().reshape(STUDIES, -1)
    seven, whole = (
        float(np.mean((p_value[:, :size] <= 0.025 / size).any(axis=1))) for size in (7, len(setting.units))
    )
    return seven, whole


@pytest.mark.parametrize("name", DESIGNS)
def test_decisions_of_a_study_hold_at_corrected_levels(name: str) -> None:
    setting = DESIGNS[name]
    found = judged(contrasts(setting, STUDIES), setting.units)
    covered = coverage(found.interval(), 0.0)
    assert 0.93 <= covered <= 0.97, covered
    assert max(error_rates(found, setting)) <= 0.03
    assert np.mean(found.p_above() <= 0.025) <= 0.03


@pytest.mark.parametrize("name", ["1 base x 3 seeds", "3 bases", "3 bases, k = 8", "5 bases"])
def test_runs_that_differ_in_their_variance_are_still_covered(name: str) -> None:
    """The assumption of like variances, broken: standard deviations of runs differ by a factor of 1.65 (one SD)."""
    setting = replace(DESIGNS[name], unlike=0.5)
    found = judged(contrasts(setting, STUDIES), setting.units)
    assert 0.93 <= coverage(found.interval(), 0.0) <= 0.97
    assert error_rates(found, setting)[1] <= 0.03


def test_draws_alone_with_satterthwaite_are_too_bold_at_corrected_levels() -> None:
    """Why variances are pooled: three bases that differ, judged each by itself."""
    found = student(contrasts(DESIGNS["3 bases that differ much"], STUDIES))
    assert np.mean(found.p_above() <= 0.025 / 18) > 2.5 * 0.025 / 18


def test_pooling_narrows_the_interval() -> None:
    setting = DESIGNS["3 bases, k = 8"]
    found = contrasts(setting, STUDIES)
    alone, together = student(found).interval(), judged(found, setting.units).interval()
    assert np.mean(together[1] - together[0]) < 0.85 * np.mean(alone[1] - alone[0])


@pytest.mark.parametrize("change", [-0.05, -0.6])
def test_relative_lengths_hold_at_corrected_levels(change: float) -> None:
    """Three bases whose trained lengths differ by a tenth, 600 studies of three models with three runs each."""
    draw, studies_, shape = np.random.default_rng(12), 600, (600, 9, 3, 100)
    hard = draw.gamma(6.0, 1 / 6.0, (studies_, 1, 1, 100))
    base = draw.gamma(4.0, 10.0 * hard, shape)
    luck = np.exp(0.1 * draw.standard_normal((studies_, 9, 3, 1)) - 0.005)
    trained = draw.gamma(4.0, 10.0 * (1 + change) * hard * luck, shape)
    arms = [stack(values.reshape(-1, 3, 100)) for values in (trained, base)]
    found = linear_contrast(design(*arms), (1.0, -1.0), over=(0.0, 1.0))
    ratio, freedom = (values.reshape(studies_, 9).T for values in (found.ratio, found.draw_freedom))
    expected, weight = priors(ratio, freedom, list(np.repeat(range(3), 3)))
    own = student(found, expected.T.ravel(), weight.T.ravel())
    assert 0.93 <= coverage(own.interval(), change) <= 0.975
    p_value = np.minimum(own.p_above(change), own.p_below(change)).reshape(studies_, 9)
    assert np.mean((p_value <= 0.025 / 9).any(axis=1)) <= 0.06  # both sides, each 0.025, and sampling error


@pytest.mark.parametrize(
    ("problems", "samples", "draws"), [(128, 2, 3), (128, 16, 3), (60, 4, 5), (128, 4, 1)]
)
def test_the_minimum_detectable_effect_is_detected_with_its_power(
    problems: int, samples: int, draws: int
) -> None:
    """Normal data with the variances of the formula's own model; found: the interval leaves out 0."""
    correlation, interaction, draw_sd = 0.3, 0.25, 0.02 if draws > 1 else 0.0
    effect = minimum_detectable_effect(problems, samples, draws, correlation=correlation, draw_sd=draw_sd)
    draw, total = np.random.default_rng(11), 0.25
    difficulty = np.sqrt(total * correlation * (1 - interaction)) * draw.standard_normal(
        (REPLICATIONS, 1, problems)
    )
    arms = []
    for shift in (effect, 0.0):
        own = np.sqrt(total * correlation * interaction) * draw.standard_normal((REPLICATIONS, 1, problems))
        luck = draw_sd * draw.standard_normal((REPLICATIONS, draws, 1))
        noise = np.sqrt(total * (1 - correlation) / samples) * draw.standard_normal(
            (REPLICATIONS, draws, problems)
        )
        arms.append(stack(0.5 + shift + difficulty + own + luck + noise))
    low, _ = student(linear_contrast(design(*arms), (1.0, -1.0))).interval()
    assert 0.75 <= np.mean(low > 0) <= 0.85
