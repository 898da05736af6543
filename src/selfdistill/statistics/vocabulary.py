"""How far training moves groups of words (Fig. 12), with intervals over problems."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

RESAMPLES = 1000
"""Number of resamples of the bootstrap."""


def group_shifts(
    trained: pd.DataFrame,
    base: pd.DataFrame,
    groups: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return the mean shift and the mean absolute shift of the words of each group, paired by problem.

    trained, base: mean counts per response, problems x words (grading.epistemic.counts_by_problem), with the same
    problems and words; groups: the words of each group as a mask over the columns. Intervals are of 95 %, percentiles of a
    bootstrap over problems. The mean of absolute values is not centred in its interval, because noise adds to it.
    Columns: group, mean, mean_low, mean_high, size, size_low, size_high. Raise ValueError if the frames differ in
    problems or words.
    """
    if not (trained.index.equals(base.index) and trained.columns.equals(base.columns)):
        raise ValueError("the frames must have the same problems and words")
    change = trained.to_numpy(float) - base.to_numpy(float)
    size = len(change)
    weights = np.random.default_rng([0, 1, size]).multinomial(size, np.full(size, 1 / size), size=RESAMPLES)
    draws = weights @ change / size
    rows = []
    for name, member in groups.items():
        row: dict[str, object] = {"group": name}
        for key, measure in (("mean", lambda values: values), ("size", np.abs)):
            row[key] = float(measure(change.mean(axis=0)[member]).mean())
            low, high = np.quantile(measure(draws[:, member]).mean(axis=1), [0.025, 0.975])
            row[f"{key}_low"], row[f"{key}_high"] = float(low), float(high)
        rows.append(row)
    return pd.DataFrame(rows)
