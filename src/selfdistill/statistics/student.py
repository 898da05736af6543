"""Student's intervals of contrasts: variance over problems and over draws, the latter pooled over runs.

`linear_contrast` gives an effect with the parts of its variance, `priors` what other runs tell about the draws, and
`student` joins them. The package's docstring explains why, docs/statistics.md shows how well it is calibrated.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from selfdistill.statistics.cells import Design

LARGEST_PRIOR = 10.0
"""Most degrees of freedom that other runs lend: with more, runs that differ in their variance would be judged too boldly."""
TIE_TOLERANCE = 1e-9
"""An effect this close to a bound counts as on it, so that rounding errors of a constant contrast show no effect."""


@dataclass(frozen=True)
class Contrast:
    """Effects with the parts of their variance, each (metrics,); estimates: (arms, metrics).

    problems: variance of the effect from problems and the sampling of responses, given the draws; draws: variance
    of the mean over draws as their spread tells it; noise: what the sampling of responses alone adds to `draws`.
    A single draw has no `draws` and no `noise` (0, with 0 degrees of freedom). NaN if a benchmark has one problem.
    """

    estimates: np.ndarray
    effect: np.ndarray
    problems: np.ndarray
    problem_freedom: int
    draws: np.ndarray
    noise: np.ndarray
    draw_freedom: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Return `draws` over `noise`, (metrics,): 1 if draws differ by sampling alone; NaN for a single draw."""
        known = (self.noise > 0) & (self.draw_freedom > 0)
        return np.divide(self.draws, self.noise, out=np.full_like(self.noise, np.nan), where=known)


@dataclass(frozen=True)
class Student:
    """Effects that follow Student's distribution with this variance and these degrees of freedom, each (metrics,)."""

    effect: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray

    def interval(self, level: float = 0.95) -> np.ndarray:
        """Return the lower and the upper end, (2, metrics)."""
        from scipy.stats import t

        half = t.ppf(0.5 + level / 2, self.freedom) * np.sqrt(self.variance)
        return np.stack([self.effect - half, self.effect + half])

    def p_above(self, bound: float = 0.0) -> np.ndarray:
        """Return the one-sided p values, (metrics,), for an effect above `bound`; 0 or 1 without any variance."""
        from scipy.stats import t

        excess = np.where(abs(self.effect - bound) <= TIE_TOLERANCE, 0.0, self.effect - bound)
        error = np.sqrt(self.variance)
        score = np.divide(excess, error, out=np.where(excess > 0, np.inf, -np.inf), where=error != 0)
        return t.sf(np.where(np.isnan(excess), np.nan, score), self.freedom)

    def p_below(self, bound: float = 0.0) -> np.ndarray:
        """Return the one-sided p values, (metrics,), for an effect below `bound`."""
        return Student(-self.effect, self.variance, self.freedom).p_above(-bound)

    def p_two_sided(self) -> np.ndarray:
        """Return the two-sided p values, (metrics,), against zero."""
        return np.minimum(2 * np.minimum(self.p_above(), self.p_below()), 1.0)


def linear_contrast(
    design: Design, weights: Sequence[float], over: Sequence[float] = (), groups: Sequence[int] = ()
) -> Contrast:
    """Return the mean over `groups` of arms of: the sum of weight times estimate, divided by that of over times estimate.

    weights, over, groups: one value per arm. A group whose `over` are 0 (default) is not divided; by default all arms are
    one group. Ratios are linearised. NaN if a group is divided by 0; no variance (NaN) if it is by what may be 0, by its
    own 95 % interval.
    """
    estimates = np.stack([arm.estimate() for arm in design.arms])
    weights, over, groups = _as_arrays(len(design.arms), weights, over, groups)
    effect, slopes = _effect(estimates, weights, over, groups)
    problems, *rest = _variance(design, slopes)
    for own in (groups == name for name in np.unique(groups[over != 0])):
        divisor = np.repeat((over * own)[:, None], effect.size, axis=1)
        value = (divisor * estimates).sum(axis=0)
        low, high = student(Contrast(estimates, value, *_variance(design, divisor))).interval()
        problems = np.where((low <= 0) & (high >= 0), np.nan, problems)
    return Contrast(estimates, effect, problems, *rest)


def _as_arrays(arms: int, weights: Sequence[float], over: Sequence[float], groups: Sequence[int]) -> tuple:
    """Return the arguments of `linear_contrast` as arrays, (arms,), with their defaults."""
    plain = np.zeros(arms)
    return (
        np.asarray(weights, float),
        np.asarray(over, float) if len(over) else plain,
        np.asarray(groups) if len(groups) else plain,
    )


def _effect(
    estimates: np.ndarray, weights: np.ndarray, over: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the effect, (metrics,), and its derivative by each arm's estimate, (arms, metrics)."""
    effect, slopes = np.zeros(estimates.shape[1]), np.zeros_like(estimates)
    names = np.unique(groups)
    for own in (groups == name for name in names):
        total = weights[own] @ estimates[own]
        if over[own].any():
            divisor = over[own] @ estimates[own]
            divisor = np.where(divisor == 0, np.nan, divisor)
            effect += total / divisor
            slopes[own] = weights[own, None] / divisor - over[own, None] * total / divisor**2
        else:
            effect += total
            slopes[own] = weights[own, None]
    return effect / names.size, slopes / names.size


def _variance(design: Design, slopes: np.ndarray) -> tuple:
    """Return the fields of a Contrast from `problems` on."""
    sizes = _fewest_problems(design)
    missing = np.full(slopes.shape[1], np.nan)
    zero = np.zeros(slopes.shape[1])
    if sizes.min() < 2:
        return missing, 0, missing, missing, zero
    influence, by_draw, residuals = _parts(design, slopes)
    problems = influence**2 @ (sizes / (sizes - 1))[design.strata]
    draws, noise, squares = zero.copy(), zero.copy(), zero.copy()
    for key, means in by_draw.items():
        count = means.shape[1]
        part = means.var(axis=1, ddof=1) / count
        draws, squares = draws + part, squares + part**2 / (count - 1)
        noise = noise + residuals[key].var(axis=1, ddof=1).sum(axis=1) / count
    freedom = np.divide(draws**2, squares, out=zero.copy(), where=squares > 0)
    if by_draw:  # draws that agree to the last digit have no spread, and still their number
        freedom = np.where(squares > 0, freedom, min(len(means[0]) for means in by_draw.values()) - 1)
    return problems, design.strata.size - sizes.size, draws, noise, freedom


def _fewest_problems(design: Design) -> np.ndarray:
    """Return the number of problems of each benchmark in the arm that has the fewest of them, (strata,)."""
    counts = np.array(
        [np.bincount(design.strata[own], minlength=design.strata.max() + 1) for own in design.problems]
    )
    return np.where(counts, counts, design.strata.size).min(axis=0)


def _centred(values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return values of problems, (metrics, problems), less their mean over the problems of their stratum."""
    means = np.stack([np.bincount(strata, weights=row) for row in values]) / np.bincount(strata)
    return values - means[:, strata]


def _parts(design: Design, slopes: np.ndarray) -> tuple[np.ndarray, dict, dict]:
    """Return by how much each problem moves the contrast, (metrics, problems); per set of several draws, means and residuals."""
    influence = np.zeros((slopes.shape[1], design.strata.size))
    by_draw: dict[int, np.ndarray] = {}
    residuals: dict[int, np.ndarray] = {}
    for arm, own, chosen, slope in zip(design.arms, design.problems, design.draw_sets, slopes, strict=True):
        linear = slope[:, None, None] * arm.linearised()
        influence[:, own] += _centred(linear.mean(axis=1), arm.strata) * arm.share
        if arm.n_draws > 1:
            means = linear @ arm.share
            by_draw[chosen] = by_draw.get(chosen, 0) + means
            empty = np.zeros((len(slope), arm.n_draws, design.strata.size))
            residuals.setdefault(chosen, empty)[:, :, own] += (linear - means[:, :, None]) * arm.share
    return influence, by_draw, residuals


def priors(
    ratio: np.ndarray, freedom: np.ndarray, units: Sequence[Hashable | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each contrast, what the draws of other units tell: the expected `ratio` and its degrees of freedom.

    ratio, freedom: (contrasts, metrics), as is what is returned; NaN in `ratio` teaches nothing. units: (contrasts,);
    contrasts of one unit may share their draws (runs of one base), those of different units do not. A unit counts once, with
    the mean of its contrasts, however many they are. None: a contrast of several units; it learns from all and teaches none.
    """
    known = ~np.isnan(ratio)
    names = [unit for unit in dict.fromkeys(units) if unit is not None]
    member = np.array([[own == name for own in units] for name in names], float).reshape(-1, len(ratio))
    count = member @ known
    means, lent = (
        np.divide(member @ np.where(known, values, 0.0), count, out=np.zeros_like(count), where=count > 0)
        for values in (ratio, freedom)
    )
    others = (1 - member.T) @ (count > 0)
    expected = np.divide((1 - member.T) @ means, others, out=np.ones_like(others), where=others > 0)
    several = np.array([unit is None for unit in units])[:, None]
    weight = (1 - member.T) @ lent - several * freedom
    return expected, np.clip(weight, 0, LARGEST_PRIOR)


def student(
    contrast: Contrast, ratio: np.ndarray | float = 1.0, freedom: np.ndarray | float = 0.0
) -> Student:
    """Return the distribution of a contrast; `ratio` and `freedom` are its priors.

    The spread of the draws is weighted with its prior by degrees of freedom. It holds the sampling noise, so problems add
    only what exceeds that. Satterthwaite's degrees of freedom follow.
    """
    total = contrast.draw_freedom + freedom
    spread = contrast.draw_freedom * contrast.draws + freedom * ratio * contrast.noise
    draws = np.divide(spread, total, out=np.zeros_like(contrast.draws), where=total > 0)
    problems = np.clip(contrast.problems - contrast.noise, 0, None)
    variance = problems + draws
    squares = problems**2 / max(contrast.problem_freedom, 1) + draws**2 / np.maximum(total, 1)
    own = np.divide(variance**2, squares, out=np.ones_like(variance), where=squares > 0)
    return Student(contrast.effect, np.where(np.isnan(contrast.effect), np.nan, variance), own)
