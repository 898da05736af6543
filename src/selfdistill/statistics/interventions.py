"""Interventions on the epistemic words: what they change, and the share of a run's loss of accuracy that returns."""

from collections.abc import Sequence

import pandas as pd

from selfdistill.statistics.comparison import Arm, compare, pooled
from selfdistill.statistics.groups import BASE_GROUP, contrasts, estimates
from selfdistill.vocabulary.interventions import NONE
from selfdistill.vocabulary.runs import BASE, RUN_KEY

INTERVENTION_GROUP = (*RUN_KEY, "benchmark", "intervention")
INTERVENTION_METRICS = ("accuracy", "response_tokens", "epistemic_substring")
CHANGE, RETURNED = "change", "returned"
_BASE = BASE_GROUP | {"intervention": NONE}


def intervention_estimates(samples: pd.DataFrame, by: Sequence[str] = INTERVENTION_GROUP) -> pd.DataFrame:
    """Return what runs do under interventions, with intervals over draws and problems.

    samples: of runs and their bases at the last step, with the column `intervention` (NONE: without one). by: INTERVENTION_GROUP, or that
    without `benchmark` for the mean over benchmarks. Columns: `by`, metric, estimate, low, high and counts, as `estimates`. Metrics:
    INTERVENTION_METRICS; `change`, the accuracy less that of the same run without the intervention; `returned` (see `returned`).
    """
    found = estimates(samples, by, INTERVENTION_METRICS)
    changes = contrasts(samples, {"intervention": NONE}, by, ("accuracy",))
    changes = changes.assign(metric=CHANGE, estimate=changes["difference"])[found.columns]
    shares = returned(samples, by)
    return pd.concat([found, changes, *([shares] if len(shares) else [])], ignore_index=True)


def returned(samples: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the share of a run's loss that returns: (accuracy under the intervention - accuracy) / (base - accuracy), the last two without one.

    Only of groups that have lost accuracy, that is whose base is above them with its whole 95 % interval; else there is nothing to return.
    """
    groups = dict(tuple(samples.groupby(list(by), observed=True)))

    def at(key: tuple, fields: dict[str, str | int]) -> pd.DataFrame:
        return groups[tuple(fields.get(name, value) for name, value in zip(by, key, strict=True))]

    found = {}
    for key, rows in groups.items():
        if key[by.index("intervention")] == NONE or key[by.index("method")] == BASE:
            continue
        own, base = at(key, {"intervention": NONE}), at(key, _BASE)
        if compare([Arm(base, 1), Arm(own, -1)], "accuracy").low > 0:
            arms = [Arm(rows, 1), Arm(own, -1, over=-1), Arm(base, 0, over=1)]
            found[key] = compare(arms, "accuracy")
    units = [
        key[: 1 if one.drawn == "replicate" else len(RUN_KEY)] for key, one in found.items()
    ]  # what shares no draws: models, or runs
    shares = zip(found, pooled(list(found.values()), units), strict=True) if found else ()
    columns = ("n_problems", "k", "n_replicates", "n_seeds")
    return pd.DataFrame(
        dict(zip(by, key, strict=True))
        | {"metric": RETURNED, "estimate": one.effect, "low": one.low, "high": one.high}
        | {name: getattr(one, name) for name in columns}
        for key, one in shares
    )
