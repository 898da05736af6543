"""Linear contrasts of runs: two runs, a difference in differences over benchmarks, a ratio, a trend.

    compare([Arm(grpo, +1), Arm(sdpo, -1)], "accuracy")
    compare([Arm(grpo_aime, +1), Arm(sdpo_aime, -1), Arm(grpo_amc, -1), Arm(sdpo_amc, +1)], "accuracy")

The verdicts of the claims are computed from these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from selfdistill.statistics.bootstrap import linear_contrast, p_above, percentiles
from selfdistill.statistics.cells import CellTable, Design, check_columns, sample_columns


@dataclass(frozen=True, eq=False)
class Arm:
    """One run with all its seeds, at one step on one or more benchmarks, and its weight in the contrast.

    rows: rows of the samples record, of which only seed, benchmark, problem_id, sample_index and the columns of
    the metric are read. The arm's estimate is the mean over its benchmarks.
    """

    rows: pd.DataFrame
    weight: float


@dataclass(frozen=True)
class Comparison:
    """A contrast with its interval. Counts are the smallest over the arms; k: samples per problem."""

    effect: float
    low: float
    high: float
    estimates: tuple[float, ...]
    draws: np.ndarray = field(repr=False, compare=False)
    n_problems: int
    k: int
    n_seeds: int

    def p_above(self, bound: float) -> float:
        """Return the one-sided p value for an effect above `bound`, from the stretched draws; NaN if they are."""
        return float(p_above(self.draws, bound))

    def p_below(self, bound: float) -> float:
        """Return the one-sided p value for an effect below `bound`, from the stretched draws; NaN if they are."""
        return float(p_above(-self.draws, -bound))


def compare(
    arms: Sequence[Arm],
    metric: str,
    *,
    relative: bool = False,
    n_boot: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Return the sum of weight times estimate over the arms; with `relative`, the first over the second, minus 1.

    Arms on the same benchmark are paired: they are restricted to their common problems and get the same draws of
    them. Benchmarks are drawn independently. Arms with the same set of seeds get the same draws of seeds, others
    independent ones; with one seed per arm, the interval covers the variation over problems only. For two arms on
    the same benchmarks, the draws are those of `contrasts`.

    Some cases give NaN instead of an error: all values if a relative contrast has a reference of 0; the interval if
    a draw has, or if a benchmark has one problem. Raise ValueError for no arms, for an arm without rows or without a
    column that the metric needs, for a benchmark on which the arms share no problem, and for `relative` with weights
    other than +1 and -1.
    """
    weights = [arm.weight for arm in arms]
    if relative and weights != [1, -1]:
        raise ValueError(f"a relative contrast must have two arms with weights 1 and -1, not {weights}")
    design = design_of(arms, metric)
    result = linear_contrast(design, weights, relative, n_boot, seed, level)
    low, high = percentiles(result.draws, level)[:, 0]
    return Comparison(
        effect=float(result.effect[0]),
        low=float(low),
        high=float(high),
        estimates=tuple(result.estimates[:, 0].tolist()),
        draws=result.draws[:, 0],
        n_problems=min(arm.strata.size for arm in design.arms),
        k=design.k,
        n_seeds=min(arm.n_seeds for arm in design.arms),
    )


def design_of(arms: Sequence[Arm], metric: str) -> Design:
    """Return the design of the arms over their common problems; raise ValueError as `compare` does."""
    if not arms:
        raise ValueError("a contrast needs at least one arm")
    columns = sample_columns([metric])
    for arm in arms:
        check_columns(arm.rows, columns)
    frames = [arm.rows[columns].assign(arm=position) for position, arm in enumerate(arms)]
    return CellTable(pd.concat(frames, ignore_index=True), ["arm"], [metric]).together()
