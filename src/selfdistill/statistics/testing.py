"""Tests beside the bootstrap: Holm's correction of a family of claims, and a sign-flip permutation test."""

from collections.abc import Sequence

import numpy as np

from selfdistill.statistics.bootstrap import influence
from selfdistill.statistics.comparison import Arm, design_of


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p values adjusted by Holm's step-down procedure (1979), in the given order.

    NaN (a claim that was not run) stays NaN and does not count as a member of the family.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p_values, dtype=float)
    known = ~np.isnan(adjusted)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return adjusted


def sign_flip(arms: Sequence[Arm], metric: str, *, n_resamples: int = 9999, seed: int = 0) -> float:
    """Return the two-sided p value of a contrast from flipping the signs of its parts, one part per problem.

    A part is the contrast on one problem, averaged over the seeds. Null hypothesis: the parts are independent, and
    each is as likely as its negative. This holds if the arms of a two-arm contrast are exchangeable (their responses
    to a problem have the same distribution); a mean difference of zero is not enough if the parts are skewed. The
    test is conditional on the training runs: seeds are not resampled, so with several seeds it tells less than the
    interval. All sign patterns are tried if there are at most `n_resamples`; otherwise that many are drawn, and p is
    (1 + count) / (n_resamples + 1). The smaller tail is doubled.

    NaN if the arms do not cover the same benchmarks, since problems are then unpaired. Raise ValueError as `compare`
    does.
    """
    from scipy.stats import permutation_test

    design = design_of(arms, metric)
    if not design.crossed:
        return float("nan")
    parts = influence(design, np.array([[arm.weight] for arm in arms], float))[0]
    return float(
        permutation_test(
            (parts,),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=n_resamples,
            batch=1000,
            rng=np.random.default_rng(seed),
        ).pvalue
    )
