"""What a planned evaluation can show: the smallest difference of two runs that it would detect.

The variance model is that of the intervals (package docstring): problems crossed with training seeds, samples
nested in both, two arms paired by problem and by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


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
    """Difference in accuracy of two runs paired by problem that is found with probability `power`.

    Found means that the two-sided interval of `level` leaves out 0, on the side of the effect. Correctness of
    a sample is binary with mean p = `accuracy` and variance v = p (1 - p), of which the share `correlation`
    lies between problems (the intraclass correlation of a problem's samples) and the rest is sampling noise.
    Of the variance between problems the share `interaction` belongs to problem x arm; the remainder is
    difficulty, which both arms share and the difference is free of. Training seeds add `seed_sd` (standard
    deviation of a run's accuracy over seeds) independently in each arm. With n problems and s seeds the
    difference of the two means has the variance

        2 interaction correlation v / n                                  from problems, n - 1 degrees of freedom
        + 2 (seed_sd^2 + (1 - correlation) v / (n k)) / s                from seeds, s - 1 degrees of freedom

    and Student's distribution with the Satterthwaite degrees of freedom of the sum, as the intervals have. One
    seed speaks about these two runs only: `seed_sd` does not count, and all is variance between problems.

    Returns the difference as a proportion; it may exceed what `accuracy` leaves room for, which says that the
    plan shows nothing. Raises ValueError for fewer than 2 problems, 1 sample or 1 seed.
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


def planned_effects(
    benchmarks: Mapping[str, tuple[int, int]], seeds: Sequence[int], **assumptions: float
) -> pd.DataFrame:
    """The minimum detectable effect of every benchmark at every number of seeds.

    `benchmarks` gives problems and samples a problem by name; `assumptions` are the keywords of
    `minimum_detectable_effect`. Returns columns benchmark, n_problems, k, n_seeds, minimum_detectable_effect
    (a proportion) and one for each assumption.
    """
    rows = [
        {"benchmark": name, "n_problems": problems, "k": k, "n_seeds": size}
        | {"minimum_detectable_effect": minimum_detectable_effect(problems, k, size, **assumptions)}
        | assumptions
        for name, (problems, k) in benchmarks.items()
        for size in seeds
    ]
    return pd.DataFrame(rows)


def _noncentrality(freedom: float, level: float, power: float) -> float:
    """Effect in standard errors at which Student's two-sided test of `level` has this power, one side."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    critical = t.ppf(0.5 + level / 2, freedom)
    above = critical + abs(t.ppf(power, freedom)) + 10
    return brentq(lambda effect: nct.sf(critical, freedom, effect) - power, 0.0, 2 * above)
