"""What a planned evaluation can show: the smallest difference between two runs that it would detect.

The variance model is that of the intervals (package docstring): problems crossed with draws, samples nested in both, two
arms paired by problem and by draw.
"""

import numpy as np

from selfdistill.statistics.student import LARGEST_PRIOR


def minimum_detectable_effect(
    n_problems: int,
    k: int,
    draws: int,
    accuracy: float = 0.5,
    correlation: float = 0.3,
    draw_sd: float = 0.02,
    level: float = 0.95,
    power: float = 0.8,
    *,
    interaction: float = 0.25,
    others: float = 0.0,
) -> float:
    """Return the difference in accuracy of two runs, paired by problem, that is detected with probability `power`.

    Detected means that the two-sided interval of `level` excludes 0 on the side of the effect. Correctness of a
    sample is binary with mean p = `accuracy` and variance v = p (1 - p). The share `correlation` of v lies between
    problems (the intraclass correlation of a problem's samples); the rest is sampling noise. The share `interaction`
    of the variance between problems belongs to problem x arm; the rest is difficulty, which both arms share and which
    cancels in the difference. A draw (a replicate, or a seed of one base) adds `draw_sd` (standard deviation of a run's
    accuracy over draws that its reference does not share) independently in each arm. With n problems and d draws the
    difference of the two means has the variance

        2 interaction correlation v / n                                  from problems, n - 1 degrees of freedom
        + 2 (draw_sd^2 + (1 - correlation) v / (n k)) / d                from draws, d - 1 + `others` degrees of freedom

    (others: what other runs lend, `lent_freedom`) and follows Student's distribution with the Satterthwaite degrees of
    freedom of the sum, as the intervals do. With one draw, the interval covers these two training runs only: `draw_sd`
    does not enter, and all variance is between problems.

    The difference is a proportion. If it exceeds the room that `accuracy` leaves, the plan can detect nothing. Raise
    ValueError for fewer than 2 problems, 1 sample or 1 draw.
    """
    if n_problems < 2 or k < 1 or draws < 1:
        raise ValueError(f"no interval from {n_problems} problems, {k} samples and {draws} draws")
    total = accuracy * (1 - accuracy)
    problems = 2 * interaction * correlation * total / n_problems
    noise = 2 * (1 - correlation) * total / (n_problems * k)
    parts = [(problems + noise, n_problems - 1)]
    if draws > 1:
        parts = [(problems, n_problems - 1), ((2 * draw_sd**2 + noise) / draws, draws - 1 + others)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    return float(np.sqrt(variance) * _noncentrality(freedom, level, power))


def lent_freedom(draws: int, units: int) -> float:
    """Return the degrees of freedom that a run's variance of draws gets from the other `units - 1` (bases, or runs of one base)."""
    return min(LARGEST_PRIOR, max(units - 1, 0) * (draws - 1))


def _noncentrality(freedom: float, level: float, power: float) -> float:
    """Return the effect, in standard errors, at which the two-sided t test of `level` has this power on its side."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    critical = t.ppf(0.5 + level / 2, freedom)
    above = critical + abs(t.ppf(power, freedom)) + 10
    return brentq(lambda effect: nct.sf(critical, freedom, effect) - power, 0.0, 2 * above)
