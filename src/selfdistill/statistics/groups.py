"""Estimates of all groups of a samples frame, and their contrasts with a reference group, as tidy frames."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from selfdistill.statistics.cells import CellTable, Design
from selfdistill.statistics.metrics import METRICS
from selfdistill.statistics.student import Student, linear_contrast, priors, student
from selfdistill.vocabulary.runs import DRAW, RUN_KEY, base_key

GROUP_COLUMNS = (*RUN_KEY, "step", "benchmark")
"""Columns of the default grouping: all but those that number draws."""
BASE_GROUP: dict[str, str | int] = {
    name: value for name, value in base_key("").items() if name != "model"
} | {"step": 0}
"""Fields of a base model: `contrasts(…, against=BASE_GROUP)` compares every group with its base on the same benchmark."""


def last_step(samples: pd.DataFrame, by: Sequence[str] = RUN_KEY) -> pd.DataFrame:
    """Return the rows of each run (`by` and seed) at its last evaluated step."""
    return samples[samples["step"] == samples.groupby([*by, *DRAW])["step"].transform("max")]


def with_common_end(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples with one step for all draws of a run that each have one step only: the largest.

    Its data decide how many steps SFT has, so draws of one run end at different ones; as groups of a step they would be compared with nothing.
    """
    if samples.empty:
        return samples
    by = list(RUN_KEY)
    steps = samples.groupby([*by, *DRAW], observed=True)["step"].transform("nunique")
    runs = samples[[*by, "step"]].assign(steps=steps).groupby(by, observed=True)
    return samples.assign(
        step=samples["step"].where(runs["steps"].transform("max") > 1, runs["step"].transform("max"))
    )


def estimates(
    samples: pd.DataFrame,
    by: Sequence[str] = GROUP_COLUMNS,
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Return every metric of every group, with its interval.

    Columns: `by`..., metric, estimate, low, high, n_problems, k (smallest number of samples per problem), n_replicates, n_seeds.
    Metrics are `accuracy`, `pass@j` and `maj@j` (`@k`: j = k), `epistemic_per_1000_tokens` and any numeric column
    of the samples. Raise ValueError for a metric whose columns the samples lack.
    """
    table = CellTable(samples, by, metrics)
    designs = [table.single(position) for position in range(len(table.keys))]
    rows = []
    for key, design, found in zip(
        table.keys, designs, _students(table, by, table.keys, designs, (1.0,)), strict=True
    ):
        low, high = found.interval()
        low = np.where(table.is_signed, low, np.maximum(low, 0.0))
        high = np.where(table.is_proportion, np.minimum(high, 1.0), high)
        columns = {"metric": list(metrics), "estimate": found.effect, "low": low, "high": high}
        rows.append(pd.DataFrame(dict(zip(by, key, strict=True)) | columns | _counts(design)))
    return pd.concat(rows, ignore_index=True)


def contrasts(
    samples: pd.DataFrame,
    against: Mapping[str, str | int],
    by: Sequence[str] = GROUP_COLUMNS,
    metrics: Sequence[str] = METRICS,
    *,
    relative: bool = False,
) -> pd.DataFrame:
    """Return the difference of every group from a reference group, paired by problem.

    The reference of a group has the same key with the fields in `against` replaced: `BASE_GROUP` for the base
    model, or `{"method": "grpo", "context": "none", "teacher": "none"}` for GRPO at the same step. Groups
    without a reference, and the references themselves, are left out. With `relative`, the result is
    group / reference - 1.

    Columns: `by`..., metric, estimate, reference, difference, low, high, p_value, n_problems (those in both arms),
    k (smallest number of samples per problem in either arm, also for pass@k and maj@k), n_replicates, n_seeds (both the
    smallest over the arms).
    Raise ValueError if a field of `against` is not in `by`, or if two arms share no problem.
    """
    if unknown := set(against) - set(by):
        raise ValueError(f"unknown fields {sorted(unknown)} in `against`; grouped by: {', '.join(by)}")
    table = CellTable(samples, by, metrics)
    index = {key: position for position, key in enumerate(table.keys)}
    pairs = {
        key: (position, index[other])
        for position, key in enumerate(table.keys)
        if (other := tuple(against.get(field, value) for field, value in zip(by, key, strict=True))) != key
        and other in index
    }
    if not pairs:
        raise ValueError(f"no group has a reference with {dict(against)}")
    designs = [table.pair(*pair) for pair in pairs.values()]
    over = (0.0, 1.0) if relative else ()
    rows = []
    for key, design, found in zip(
        pairs, designs, _students(table, by, list(pairs), designs, (1.0, -1.0), over), strict=True
    ):
        low, high = found.interval()
        estimate, reference = (arm.estimate() for arm in design.arms)
        columns = {"metric": list(metrics), "estimate": estimate, "reference": reference}
        columns |= {"difference": found.effect, "low": low, "high": high, "p_value": found.p_two_sided()}
        rows.append(pd.DataFrame(dict(zip(by, key, strict=True)) | columns | _counts(design)))
    return pd.concat(rows, ignore_index=True)


def _students(
    table: CellTable,
    by: Sequence[str],
    keys: Sequence[tuple],
    designs: Sequence[Design],
    weights: Sequence[float],
    over: Sequence[float] = (),
) -> list[Student]:
    """Return the distribution of each design's contrast, its draws pooled over the groups that do not share them.

    Replicates are shared by all runs of a model, seeds by one run at its steps, on its benchmarks and under its interventions.
    """
    shared = (
        ("model",)
        if table.drawn == "replicate"
        else [name for name in by if name not in ("step", "benchmark", "intervention")]
    )
    units = [tuple(value for name, value in zip(by, key, strict=True) if name in shared) for key in keys]
    found = [linear_contrast(design, weights, over) for design in designs]
    ratio, freedom = (np.array([getattr(one, name) for one in found]) for name in ("ratio", "draw_freedom"))
    lent = zip(*priors(ratio, freedom, units), strict=True)
    return [student(one, *prior) for one, prior in zip(found, lent, strict=True)]


def _counts(design: Design) -> dict[str, int]:
    """Return the numbers of problems, samples per problem, replicates and seeds."""
    counts = {"n_problems": design.arms[0].strata.size, "k": design.k}
    return counts | {"n_replicates": design.n_replicates, "n_seeds": design.n_seeds}
