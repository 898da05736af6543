"""Tests beside the bootstrap: Holm's correction of a family of claims, and a sign-flip permutation test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfdistill.statistics.bootstrap import influence
from selfdistill.statistics.comparison import Arm, design_of


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P values adjusted by Holm's step-down procedure (1979), in the order given.

    NaN, a claim that was not run, stays NaN and does not count as a member of the family.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p_values, dtype=float)
    known = ~np.isnan(adjusted)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return adjusted


def sign_flip(arms: Sequence[Arm], metric: str, *, n_resamples: int = 9999, seed: int = 0) -> float:
    """Two-sided p value of a contrast from flipping, problem by problem, the sign of its part.

    A problem's part is the contrast on that problem averaged over the seeds. Its null: these parts are
    independent and each as likely as its negative. That is so where the arms of a two-arm contrast can be
    exchanged (their responses to a problem have the same distribution); a mean difference of zero is not
    enough if the parts are skewed. Given the training runs: seeds are not resampled, so with several of them
    it says less than the interval. All sign patterns are tried where there are at most `n_resamples`, else
    that many are drawn and p is (1 + count) / (n_resamples + 1), doubled from the smaller tail.

    NaN if the arms are not all on the same benchmarks, so that problems are unpaired. Raises ValueError as
    `compare` does.
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
