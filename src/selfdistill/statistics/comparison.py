"""Linear contrasts of runs: two runs, a difference in differences over benchmarks, a ratio, a mean over models.

    compare([Arm(grpo, +1), Arm(sdpo, -1)], "accuracy")
    compare([Arm(grpo_aime, +1), Arm(sdpo_aime, -1), Arm(grpo_amc, -1), Arm(sdpo_amc, +1)], "accuracy")

The verdicts of the claims are computed from these.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from selfdistill.statistics.cells import CellTable, Design, check_columns, sample_columns
from selfdistill.statistics.student import Contrast, Student, linear_contrast, priors, student


@dataclass(frozen=True, eq=False)
class Arm:
    """One run with all its draws, at one step on one or more benchmarks, and its weight in the contrast.

    rows: rows of the samples record, of which only replicate, seed, benchmark, problem_id, sample_index and the columns
    of the metric are read. The arm's estimate is the mean over its benchmarks. over: weight in the divisor of a ratio;
    group: arms of one group make one difference or ratio, and the contrast is the mean over groups; metric: its own
    metric instead of the contrast's.
    """

    rows: pd.DataFrame
    weight: float
    over: float = 0.0
    group: int = 0
    metric: str = ""


@dataclass(frozen=True)
class Comparison:
    """A contrast with its interval. Counts are the smallest over the arms; k: samples per problem.

    drawn: what the draws are, `replicate` or `seed`; with one draw, the interval covers problems only.
    """

    contrast: Contrast
    student: Student
    n_problems: int
    k: int
    n_replicates: int
    n_seeds: int
    n_draws: int
    drawn: str

    @property
    def effect(self) -> float:
        """Return the effect."""
        return float(self.student.effect[0])

    @property
    def low(self) -> float:
        """Return the lower end of the interval."""
        return float(self.student.interval()[0, 0])

    @property
    def high(self) -> float:
        """Return the upper end of the interval."""
        return float(self.student.interval()[1, 0])

    @property
    def estimates(self) -> tuple[float, ...]:
        """Return the estimate of every arm."""
        return tuple(self.contrast.estimates[:, 0].tolist())

    def p_above(self, bound: float) -> float:
        """Return the one-sided p value for an effect above `bound`."""
        return float(self.student.p_above(bound)[0])

    def p_below(self, bound: float) -> float:
        """Return the one-sided p value for an effect below `bound`."""
        return float(self.student.p_below(bound)[0])


def compare(arms: Sequence[Arm], metric: str) -> Comparison:
    """Return the sum of weight times estimate over the arms; with weights `over`, divided by the sum of those times estimate.

    Arms of one group on the same benchmark are paired: they are restricted to their common problems. Groups may have other problems
    (each model has its own in section 3); those that they share count as shared. If the samples have several
    replicates, all arms are restricted to the common ones. Else arms with the same set of seeds are paired by seed, others are
    independent. The draws are those of these arms alone; `pooled` adds what other contrasts tell about draws.

    Some cases give NaN instead of an error: all values if a ratio has a divisor of 0; the interval if a benchmark has one
    problem. Raise ValueError for no arms, and NoContrast for an arm without rows or without a column that the metric needs, for a
    benchmark on which the arms of a group share no problem, and for arms without a common replicate.
    """
    design, drawn = design_of(arms, metric)
    weights, over, groups = zip(*((arm.weight, arm.over, arm.group) for arm in arms), strict=True)
    contrast = linear_contrast(design, weights, over, groups)
    return Comparison(
        contrast=contrast,
        student=student(contrast),
        n_problems=min(arm.strata.size for arm in design.arms),
        k=design.k,
        n_replicates=design.n_replicates,
        n_seeds=design.n_seeds,
        n_draws=design.n_draws,
        drawn=drawn,
    )


def pooled(found: Sequence[Comparison], units: Sequence[Hashable | None]) -> list[Comparison]:
    """Return comparisons of like metrics, each with what the others tell about the variance of draws.

    units: what does not share draws (`student.priors`). With nobody to learn from, the degrees of freedom are those of the
    draws alone, so that a p value holds at small levels too.
    """
    ratio, freedom = (
        np.array([getattr(one.contrast, name) for one in found]) for name in ("ratio", "draw_freedom")
    )
    results = []
    for one, expected, weight in zip(found, *priors(ratio, freedom, units), strict=True):
        own = student(one.contrast, expected, weight)
        if weight == 0 and one.n_draws > 1:
            own = replace(own, freedom=np.minimum(own.freedom, one.contrast.draw_freedom))
        results.append(replace(one, student=own))
    return results


def design_of(arms: Sequence[Arm], metric: str) -> tuple[Design, str]:
    """Return the design of the arms over the common problems of each group, and what its draws are; raise ValueError as `compare` does."""
    if not arms:
        raise ValueError("a contrast needs at least one arm")
    metrics = list(dict.fromkeys(arm.metric or metric for arm in arms))
    columns = sample_columns(metrics)
    for arm in arms:
        check_columns(arm.rows, columns)
    frames = [arm.rows[columns].assign(arm=position) for position, arm in enumerate(arms)]
    table = CellTable(pd.concat(frames, ignore_index=True), ["arm"], metrics)
    design = table.together([arm.group for arm in arms])
    rows = [[metrics.index(arm.metric or metric)] for arm in arms]
    own = (
        replace(cells, numerator=cells.numerator[row], denominator=cells.denominator[row])
        for cells, row in zip(design.arms, rows, strict=True)
    )
    return replace(design, arms=tuple(own)), table.drawn
