"""Simulated studies, on which the intervals are calibrated: runs of several models against their bases, judged together.

Only the sums are drawn that `student.linear_contrast` would compute, from their normal and chi-square distributions, so that tens of
thousands of studies take seconds. tests/unit/test_intervals.py and benchmarks/interval_tables.py use it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from selfdistill.statistics.student import Contrast, Student, priors, student

COMMON = 0.9
"""Share of a base's variance that all runs of its model have in common."""


@dataclass(frozen=True)
class Setting:
    """What is simulated. Standard deviations are of one draw's effect of one run, in points.

    draws: number of draws; base, seed: from the base (0: one base, whose seeds are the draws) and from the training; noise:
    from the sampling of responses, half of it the base's; problem: of a mean over problems, from problem x arm; unlike:
    standard deviation over runs of the logarithm of `base` and `seed`.
    """

    draws: int
    base: float
    seed: float
    noise: float
    problem: float = 0.9
    unlike: float = 0.0
    models: int = 3
    runs: int = 6
    problems: int = 130

    @property
    def units(self) -> list[Hashable]:
        """Return what shares its draws: with one base the run, else the model."""
        contrasts = self.models * self.runs
        return list(range(contrasts)) if not self.base else list(np.repeat(range(self.models), self.runs))


def contrasts(setting: Setting, studies: int, effect: float = 0.0, start: int = 0) -> Contrast:
    """Return the contrasts of all runs with their bases, on the metric axis in the order study, model, run."""
    draw = np.random.default_rng(start)
    shape = (studies, setting.models, setting.runs, setting.draws)
    common = (*shape[:2], 1, setting.draws)
    scale = np.exp(setting.unlike * draw.standard_normal((*shape[:3], 1)))
    shift = setting.base * np.sqrt(COMMON) * draw.standard_normal(common)
    shift = shift + setting.base * np.sqrt(1 - COMMON) * draw.standard_normal(shape)
    shift += setting.seed * draw.standard_normal(shape)
    luck = setting.noise * np.sqrt(0.5) * (draw.standard_normal(common) + draw.standard_normal(shape))
    means = scale * shift + luck
    freedom, noise = setting.problems - 1, setting.noise**2 / setting.draws
    residual = max(setting.draws - 1, 1) * freedom
    several = setting.draws > 1
    flat = np.zeros(means[..., 0].size)
    return Contrast(
        estimates=np.stack([flat, flat]),
        effect=(effect + means.mean(-1) + setting.problem * draw.standard_normal(shape[:3])).ravel(),
        problems=((setting.problem**2 + noise) * draw.chisquare(freedom, shape[:3]) / freedom).ravel(),
        problem_freedom=freedom,
        draws=(means.var(-1, ddof=1) / setting.draws).ravel() if several else flat,
        noise=(noise * draw.chisquare(residual, shape[:3]) / residual).ravel() if several else flat,
        draw_freedom=flat + setting.draws - 1,
    )


def judged(found: Contrast, units: Sequence[Hashable]) -> Student:
    """Return every contrast with the priors that the other runs of its study give it."""
    ratio, freedom = (values.reshape(-1, len(units)).T for values in (found.ratio, found.draw_freedom))
    expected, weight = priors(ratio, freedom, units)
    return student(found, expected.T.ravel(), weight.T.ravel())
