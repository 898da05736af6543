"""What a planned evaluation can show: the smallest difference between two runs that it would detect.

The variance model is that of the intervals (package docstring): problems crossed with training seeds, samples
nested in both, two arms paired by problem and by seed.
"""

import numpy as np


def minimum_detectable_effect(
    n_problems: int,
    k: int,
    seeds: int,
    accuracy: float = 0.5,
    correlation: float = 0.3,
    seed_sd: float = 0.02,
    level: float = 0.95,
    power: float = 0.8,
    *,
    interaction: float = 0.25,
) -> float:
    """Return the difference in accuracy of two runs, paired by problem, that is detected with probability `power`.

    Detected means that the two-sided interval of `level` excludes 0 on the side of the effect. Correctness of a
    sample is binary with mean p = `accuracy` and variance v = p (1 - p). The share `correlation` of v lies between
    problems (the intraclass correlation of a problem's samples); the rest is sampling noise. The share `interaction`
    of the variance between problems belongs to problem x arm; the rest is difficulty, which both arms share and which
    cancels in the difference. Training seeds add `seed_sd` (standard deviation of a run's accuracy over seeds)
    independently in each arm. With n problems and s seeds, the difference of the two means has the variance

        2 interaction correlation v / n                                  from problems, n - 1 degrees of freedom
        + 2 (seed_sd^2 + (1 - correlation) v / (n k)) / s                from seeds, s - 1 degrees of freedom

    and follows Student's distribution with the Satterthwaite degrees of freedom of the sum, as the intervals do. With
    one seed, the interval covers these two training runs only: `seed_sd` does not enter, and all variance is between
    problems.

    The difference is a proportion. If it exceeds the room that `accuracy` leaves, the plan can detect nothing. Raise
    ValueError for fewer than 2 problems, 1 sample or 1 seed.
    """
    if n_problems < 2 or k < 1 or seeds < 1:
        raise ValueError(f"no interval from {n_problems} problems, {k} samples and {seeds} seeds")
    total = accuracy * (1 - accuracy)
    problems = 2 * interaction * correlation * total / n_problems
    noise = 2 * (1 - correlation) * total / (n_problems * k)
    parts = [(problems + noise, n_problems - 1)]
    if seeds > 1:
        parts = [(problems, n_problems - 1), ((2 * seed_sd**2 + noise) / seeds, seeds - 1)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    return float(np.sqrt(variance) * _noncentrality(freedom, level, power))


def _noncentrality(freedom: float, level: float, power: float) -> float:
    """Return the effect, in standard errors, at which the two-sided t test of `level` has this power on its side."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    critical = t.ppf(0.5 + level / 2, freedom)
    above = critical + abs(t.ppf(power, freedom)) + 10
    return brentq(lambda effect: nct.sf(critical, freedom, effect) - power, 0.0, 2 * above)
