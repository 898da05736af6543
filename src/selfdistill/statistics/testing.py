"""Correction of a family of tests."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p values adjusted by Holm's step-down procedure (1979), in the given order.

    NaN (a clause that was not run) stays NaN and does not count as a member of the family.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p_values, dtype=float)
    known = ~np.isnan(adjusted)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return adjusted
