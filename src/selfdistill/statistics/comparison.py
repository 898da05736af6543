"""Linear contrasts of runs: two runs, a difference in differences over benchmarks, a ratio, a trend.

    compare([Arm(grpo, +1), Arm(sdpo, -1)], "accuracy")
    compare([Arm(grpo_aime, +1), Arm(sdpo_aime, -1), Arm(grpo_amc, -1), Arm(sdpo_amc, +1)], "accuracy")

The claims' verdicts are computed from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from selfdistill.statistics.bootstrap import linear_contrast, p_above, percentiles
from selfdistill.statistics.cells import CellTable, Design, check_columns, sample_columns


@dataclass(frozen=True, eq=False)
class Arm:
    """One run, all its seeds, at one step on one or more benchmarks, with its weight in the contrast.

    `rows` are rows of the samples record; only seed, benchmark, problem_id, sample_index and the columns of
    the metric are read. The arm's estimate is the mean over its benchmarks.
    """

    rows: pd.DataFrame
    weight: float


@dataclass(frozen=True)
class Comparison:
    """A contrast with its interval. The counts are the smallest over the arms; `k` is samples a problem."""

    effect: float
    low: float
    high: float
    estimates: tuple[float, ...]
    draws: np.ndarray = field(repr=False, compare=False)
    n_problems: int
    k: int
    n_seeds: int

    def p_above(self, bound: float) -> float:
        """One-sided p value for an effect above `bound`, from the stretched draws; NaN if they are."""
        return float(p_above(self.draws, bound))

    def p_below(self, bound: float) -> float:
        """One-sided p value for an effect below `bound`, from the stretched draws; NaN if they are."""
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
    """The sum of weight times estimate over the arms, or with `relative` the first over the second, minus 1.

    Arms on the same benchmark are paired: they are restricted to the problems that they have in common there
    and get the same draws of them. Benchmarks are drawn independently of each other. Arms with the same set
    of seeds get the same draws of seeds, others independent ones; with one seed each, the interval speaks
    about problems only. For two arms on the same benchmarks this is `contrasts`, draw by draw.

    NaN, not an error: everything if a relative contrast has a reference of 0 (the interval, if a draw has);
    the interval if a benchmark has one problem. Raises ValueError for no arms, for an arm without rows or
    without a column that the metric needs, for arms on a benchmark without a common problem, and for
    `relative` with other weights than +1 and -1.
    """
    weights = [arm.weight for arm in arms]
    if relative and weights != [1, -1]:
        raise ValueError(f"a relative contrast has two arms with weights 1 and -1, not {weights}")
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
    """The cells of the arms over their common problems. Raises ValueError as `compare` does."""
    if not arms:
        raise ValueError("a contrast needs an arm")
    columns = sample_columns([metric])
    for arm in arms:
        check_columns(arm.rows, columns)
    frames = [arm.rows[columns].assign(arm=position) for position, arm in enumerate(arms)]
    return CellTable(pd.concat(frames, ignore_index=True), ["arm"], [metric]).together()
