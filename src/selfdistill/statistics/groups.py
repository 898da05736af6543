"""Estimates of all groups of a samples frame, and their contrasts with a reference group, as tidy frames."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from selfdistill.statistics.bootstrap import linear_contrast, p_two_sided, percentiles
from selfdistill.statistics.cells import CellTable, Design
from selfdistill.statistics.metrics import METRICS

GROUP_COLUMNS = (
    "model",
    "method",
    "context",
    "teacher",
    "dataset",
    "coverage",
    "variant",
    "step",
    "benchmark",
)
"""Columns of the default grouping: all but the seed, which is a level of the bootstrap."""
BASE_GROUP: dict[str, str | int] = {"method": "base", "variant": "default", "step": 0} | dict.fromkeys(
    ("context", "teacher", "dataset", "coverage"), "none"
)
"""Fields of a base model: `contrasts(…, against=BASE_GROUP)` compares every group with its base on the same benchmark."""


def last_step(samples: pd.DataFrame, by: Sequence[str] = GROUP_COLUMNS[:7]) -> pd.DataFrame:
    """Return the rows of each run (`by` and seed) at its last evaluated step."""
    return samples[samples["step"] == samples.groupby([*by, "seed"])["step"].transform("max")]


def estimates(
    samples: pd.DataFrame,
    by: Sequence[str] = GROUP_COLUMNS,
    metrics: Sequence[str] = METRICS,
    *,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return every metric of every group, with its interval.

    Columns: `by`..., metric, estimate, low, high, n_problems, k (smallest number of samples per problem), n_seeds.
    Metrics are `accuracy`, `pass@j` and `maj@j` (`@k`: j = k), `epistemic_per_1000_tokens` and any numeric column
    of the samples. Raise ValueError for a metric whose columns the samples lack.
    """
    table = CellTable(samples, by, metrics)
    rows = []
    for position, key in enumerate(table.keys):
        design = table.single(position)
        result = linear_contrast(design, [1.0], False, n_boot, seed, level)
        low, high = percentiles(result.draws, level)
        low, high = np.maximum(low, 0.0), np.where(table.is_proportion, np.minimum(high, 1.0), high)
        columns = {"metric": list(metrics), "estimate": result.effect, "low": low, "high": high}
        rows.append(pd.DataFrame(dict(zip(by, key, strict=True)) | columns | _counts(design)))
    return pd.concat(rows, ignore_index=True)


def contrasts(
    samples: pd.DataFrame,
    against: Mapping[str, str | int],
    by: Sequence[str] = GROUP_COLUMNS,
    metrics: Sequence[str] = METRICS,
    *,
    relative: bool = False,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the difference of every group from a reference group, paired by problem.

    The reference of a group has the same key with the fields in `against` replaced: `BASE_GROUP` for the base
    model, or `{"method": "grpo", "context": "none", "teacher": "none"}` for GRPO at the same step. Groups
    without a reference, and the references themselves, are left out. With `relative`, the result is
    group / reference - 1.

    Columns: `by`..., metric, estimate, reference, difference, low, high, p_value, n_problems (those in both arms),
    k (smallest number of samples per problem in either arm, also for pass@k and maj@k), n_seeds, n_seeds_reference.
    Raise ValueError if a field of `against` is not in `by`, or if two arms share no problem.
    """
    if unknown := set(against) - set(by):
        raise ValueError(f"unknown fields {sorted(unknown)} in `against`; grouped by: {', '.join(by)}")
    table = CellTable(samples, by, metrics)
    index = {key: position for position, key in enumerate(table.keys)}
    rows = []
    for position, key in enumerate(table.keys):
        other = tuple(against.get(field, value) for field, value in zip(by, key, strict=True))
        if other == key or other not in index:
            continue
        design = table.pair(position, index[other])
        columns = {"metric": list(metrics)} | _contrast(design, relative, n_boot, seed, level)
        counts = _counts(design) | {"n_seeds_reference": design.arms[1].n_seeds}
        rows.append(pd.DataFrame(dict(zip(by, key, strict=True)) | columns | counts))
    if not rows:
        raise ValueError(f"no group has a reference with {dict(against)}")
    return pd.concat(rows, ignore_index=True)


def _contrast(design: Design, relative: bool, n_boot: int, seed: int, level: float) -> dict[str, np.ndarray]:
    """Return the estimates of two arms over the same problems, their difference, its interval and p value."""
    result = linear_contrast(design, (1.0, -1.0), relative, n_boot, seed, level)
    low, high = percentiles(result.draws, level)
    columns = {"estimate": result.estimates[0], "reference": result.estimates[1]}
    columns |= {"difference": result.effect, "low": low, "high": high}
    return columns | {"p_value": p_two_sided(result.draws)}


def _counts(design: Design) -> dict[str, int]:
    """Return the numbers of problems and seeds of the first arm, and the smallest number of samples per problem."""
    first = design.arms[0]
    return {"n_problems": first.strata.size, "k": design.k, "n_seeds": first.n_seeds}
