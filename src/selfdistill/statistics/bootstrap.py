"""The two-level bootstrap of a linear contrast, its width, and p values from its draws.

`linear_contrast` is the one entry point: a group's estimate is the contrast of one arm, a difference that of two.
The package's docstring explains how draws and width are made, and why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from selfdistill.statistics.cells import Design

TIE_TOLERANCE = 1e-9
"""Draws this close to a bound count as on it, so that rounding errors of a constant contrast show no effect."""


@dataclass(frozen=True)
class Bootstrap:
    """Estimates of the arms, (arms, metrics), the effect, (metrics,), and its stretched draws."""

    estimates: np.ndarray
    effect: np.ndarray
    draws: np.ndarray


def linear_contrast(
    design: Design, weights: Sequence[float], relative: bool, n_boot: int, seed: int, level: float
) -> Bootstrap:
    """Return the weighted sum of the arms' estimates; with `relative`, the first over the second, minus 1.

    NaN if a relative contrast has a reference of 0. The draws are also NaN if the layout has no width (a
    benchmark of one problem).
    """
    estimates = np.stack([arm.estimate() for arm in design.arms])
    drawn = arm_draws(design, n_boot, seed)
    # slopes: derivative of the contrast by each arm's estimate, so that `layout` can linearise a ratio
    if relative:
        reference = np.where(estimates[1] == 0, np.nan, estimates[1])
        effect, draws = estimates[0] / reference - 1, drawn[0] / np.where(drawn[1] == 0, np.nan, drawn[1]) - 1
        slopes = np.stack([1 / reference, -estimates[0] / reference**2])
    else:
        slopes = np.broadcast_to(np.asarray(weights, float)[:, None], estimates.shape)
        effect, draws = np.einsum("am,am->m", slopes, estimates), np.einsum("am,abm->bm", slopes, drawn)
    return Bootstrap(estimates, effect, stretched(draws, effect, *layout(design, slopes), level))


def arm_draws(design: Design, n_boot: int, seed: int) -> np.ndarray:
    """Return bootstrap estimates, (arms, draws, metrics); arms share the draws of common problems and seed sets."""
    problems = problem_weights(design.strata.tobytes(), n_boot, seed)
    every = design.crossed  # then indexing, which copies, is not needed
    return np.stack(
        [
            arm.resampled(
                seed_weights(arm.n_seeds, n_boot, seed + chosen), problems if every else problems[:, own]
            )
            for arm, own, chosen in zip(design.arms, design.problems, design.seed_sets, strict=True)
        ]
    )


@lru_cache(maxsize=64)
def seed_weights(seeds: int, n_boot: int, seed: int) -> np.ndarray:
    """Return how often each training seed is drawn, (draws, seeds)."""
    generator = np.random.default_rng([seed, 0, seeds])
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=n_boot).astype(float)


@lru_cache(maxsize=16)
def problem_weights(strata: bytes, n_boot: int, seed: int) -> np.ndarray:
    """Return how often each problem is drawn within its stratum, (draws, problems).

    strata: the int64 codes as bytes, because the cache needs a hashable argument.
    """
    codes = np.frombuffer(strata, dtype=np.int64)
    generator = np.random.default_rng([seed, 1, codes.size])
    weights = np.empty((n_boot, codes.size))
    for stratum, size in enumerate(np.bincount(codes)):
        weights[:, codes == stratum] = generator.multinomial(size, np.full(size, 1 / size), size=n_boot)
    return weights


def layout(design: Design, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variance and Satterthwaite degrees of freedom, each (metrics,), of the sum over arms under `slopes`.

    slopes: (arms, metrics). The variance of the seed means of each seed set counts in full, including the sampling
    noise in it; problems add only what exceeds that noise. NaN if a stratum has a single problem.
    """
    sizes = np.bincount(design.strata)
    if sizes.min() < 2:
        missing = np.full(slopes.shape[1], np.nan)
        return missing, missing
    by_problem, (by_seed, residuals) = influence(design, slopes), _seed_parts(design, slopes)
    spread = [
        size * by_problem[:, design.strata == stratum].var(axis=1, ddof=1)
        for stratum, size in enumerate(sizes)
    ]
    noise = [rest.var(axis=1, ddof=1).sum(axis=1) / rest.shape[1] for rest in residuals.values()]
    # the seed means already contain this noise: counting it again would widen the interval
    problems = np.clip(np.sum(spread, axis=0) - sum(noise), 0, None)
    parts = [(problems, design.strata.size - sizes.size)]
    parts += [(means.var(axis=1, ddof=1) / means.shape[1], means.shape[1] - 1) for means in by_seed.values()]
    variance = np.sum([part for part, _ in parts], axis=0)
    squares = np.sum([part**2 / freedom for part, freedom in parts], axis=0)
    return variance, np.divide(variance**2, squares, out=np.ones_like(variance), where=squares > 0)


def influence(design: Design, slopes: np.ndarray) -> np.ndarray:
    """Return what each problem adds to the contrast, averaged over seeds, (metrics, problems)."""
    total = np.zeros((slopes.shape[1], design.strata.size))
    for arm, own, slope in zip(design.arms, design.problems, slopes, strict=True):
        total[:, own] += slope[:, None] * arm.linearised().mean(axis=1) * arm.share
    return total


def _seed_parts(design: Design, slopes: np.ndarray) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return, for each set of several seeds, the contrast per seed and its residuals per seed and problem."""
    by_seed: dict[int, np.ndarray] = {}
    residuals: dict[int, np.ndarray] = {}
    for arm, own, chosen, slope in zip(design.arms, design.problems, design.seed_sets, slopes, strict=True):
        if arm.n_seeds > 1:
            linear = slope[:, None, None] * arm.linearised()
            means = linear @ arm.share
            by_seed[chosen] = by_seed.get(chosen, 0) + means
            empty = np.zeros((len(slope), arm.n_seeds, design.strata.size))
            residuals.setdefault(chosen, empty)[:, :, own] += (linear - means[:, :, None]) * arm.share
    return by_seed, residuals


def stretched(
    draws: np.ndarray, estimate: np.ndarray, variance: np.ndarray, freedom: np.ndarray, level: float
) -> np.ndarray:
    """Return the draws, scaled about the estimate until their interval is as wide as Student's with this variance."""
    low, high = percentiles(draws, level)
    student = np.array([student_quantile(0.5 + level / 2, float(f"{value:.2g}")) for value in freedom])
    width = 2 * student * np.sqrt(variance)
    scale = np.divide(width, high - low, out=np.ones_like(width), where=high > low)
    return estimate + (draws - estimate) * np.where(np.isnan(variance), np.nan, scale)


@lru_cache(maxsize=512)
def student_quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's distribution; NaN for NaN degrees of freedom.

    scipy is imported at the first call. The cache is effective because `stretched` rounds the degrees of freedom to
    two digits, so that thousands of groups share few values.
    """
    if math.isnan(freedom):
        return math.nan
    from scipy.stats import t

    return float(t.ppf(probability, freedom))


def percentiles(draws: np.ndarray, level: float) -> np.ndarray:
    """Return the lower and upper percentile of every metric, (2, metrics)."""
    return np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)


def p_above(draws: np.ndarray, bound: float = 0.0) -> np.ndarray:
    """Return one-sided p values, (metrics,), for an effect above `bound`: (1 + #draws <= bound) / (draws + 1).

    draws: (draws, metrics). NaN if a draw is NaN.
    """
    p_value = (1 + (draws <= bound + TIE_TOLERANCE).sum(axis=0)) / (len(draws) + 1)
    return np.where(np.isnan(draws).any(axis=0), np.nan, p_value)


def p_two_sided(draws: np.ndarray) -> np.ndarray:
    """Return two-sided bootstrap p values, (metrics,), against zero; at least 2 / (draws + 1)."""
    return np.minimum(2 * np.minimum(p_above(draws), p_above(-draws)), 1.0)
