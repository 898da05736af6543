"""How much of a run's OOD change its base tells in advance: ridge regression on features, judged on groups that it has not seen.

A predictor is fitted on finished runs and asked about the runs of a group (a model family, a teacher's context, a draw of a base) that was
left out. Beside it stands the constant predictor, the mean change of the others: features that do not beat it tell nothing. The penalty is
chosen within the fitted runs in the same way, and may be infinite, which is the constant. With g groups, an interval is the prediction plus
and minus t(g - 1) times the root mean square of the errors on left-out groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from selfdistill.vocabulary.diagnosis import COUNTS, FEATURES

INFINITE = float("inf")
PENALTIES = (INFINITE, *np.logspace(3, -3, 13).tolist())
"""Penalties of the squared coefficients, per run, of features with variance 1, from the largest."""
GROUPS = {"family": "model family", "context": "context", "base": "draw of a base"}
"""Column of the groups that are left out -> what they are. Runs of another draw have the same plans, those of another context do not."""
FEWEST_GROUPS = 3
"""Fewest groups from which errors on left-out groups are taken."""
CHANGE = "change"
"""Column of the OOD change."""
HELP, HURT, UNKNOWN = "likely to help", "likely to hurt", "cannot tell"


@dataclass(frozen=True)
class Ridge:
    """A linear predictor per penalty. center, scale: (features,); weights: (penalties, features); mean: predicted at the center."""

    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    mean: float

    @classmethod
    def fit(cls, features: np.ndarray, changes: np.ndarray, penalties: Sequence[float] = PENALTIES) -> Ridge:
        """Return the ridge regressions of changes, (runs,), on features, (runs, features); penalties: per run, may be infinite."""
        center, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(
            scale > 1e-9 * (1 + np.abs(center)), scale, np.inf
        )  # a constant feature has no weight
        mean = float(changes.mean())
        left, sizes, right = np.linalg.svd((features - center) / scale, full_matrices=False)
        sizes = np.where(sizes > 1e-9 * sizes.max(initial=0.0), sizes, 0.0)
        added = np.array(penalties)[:, None] * len(features)
        shrunk = np.divide(sizes, sizes**2 + added, out=np.zeros((len(added), len(sizes))), where=sizes > 0)
        return cls(center, scale, (shrunk * (left.T @ (changes - mean))) @ right, mean)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the changes of runs, (penalties, runs)."""
        return self.mean + self.weights @ ((features - self.center) / self.scale).T


def left_out(
    features: np.ndarray, changes: np.ndarray, groups: np.ndarray, penalties: Sequence[float] = PENALTIES
) -> np.ndarray:
    """Return the change of every run as predicted from the runs of the other groups, (penalties, runs); groups: (runs,)."""
    found = np.empty((len(penalties), len(changes)))
    for group in np.unique(groups):
        own = groups == group
        found[:, own] = Ridge.fit(features[~own], changes[~own], penalties).predict(features[own])
    return found


def chosen_penalty(features: np.ndarray, changes: np.ndarray, groups: np.ndarray) -> float:
    """Return the penalty with the smallest error on left-out groups, the largest of equals; infinite for one group."""
    if len(np.unique(groups)) < 2:
        return INFINITE
    errors = [error(changes, own) for own in left_out(features, changes, groups)]
    return PENALTIES[int(np.argmin(errors))]


def held_out(features: np.ndarray, changes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the change of every run, (runs,), as predicted from the other groups, which choose the penalty among themselves."""
    found = np.empty(len(changes))
    for group in np.unique(groups):
        own = groups == group
        rest = features[~own], changes[~own]
        penalty = chosen_penalty(*rest, groups[~own])
        found[own] = Ridge.fit(*rest, [penalty]).predict(features[own])[0]
    return found


def error(changes: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root mean square error."""
    return float(np.sqrt(np.mean((changes - predicted) ** 2)))


def matrix(runs: pd.DataFrame) -> np.ndarray:
    """Return the features of runs, (runs, features), those of COUNTS as logarithms to base 2."""
    values = runs[list(FEATURES)].astype(float)
    values[list(COUNTS)] = np.log2(values[list(COUNTS)])
    return values.to_numpy()


@dataclass(frozen=True)
class Judged:
    """A predictor on left-out groups of a kind (GROUPS): errors of the ridge and of the constant, root mean squares of changes.

    predicted: change of every run; intervals: half the width of a prediction's 95 % interval, of (ridge, constant).
    """

    kind: str
    groups: int
    ridge: float
    constant: float
    predicted: np.ndarray
    intervals: tuple[float, float]


def judge(runs: pd.DataFrame, kind: str) -> Judged | None:
    """Return the errors on left-out groups of a kind; None for fewer than FEWEST_GROUPS groups.

    runs: FEATURES, GROUPS and CHANGE, one row per run, without NaN.
    """
    groups, changes = runs[kind].astype(str).to_numpy(), runs[CHANGE].to_numpy(dtype=float)
    count = len(np.unique(groups))
    if count < FEWEST_GROUPS:
        return None
    from scipy.stats import t

    predicted = held_out(matrix(runs), changes, groups)
    errors = (
        error(changes, predicted),
        error(changes, left_out(matrix(runs), changes, groups, [INFINITE])[0]),
    )
    width = float(t.ppf(0.975, count - 1))
    return Judged(kind, count, *errors, predicted, (width * errors[0], width * errors[1]))


@dataclass(frozen=True)
class Prediction:
    """The OOD change of a planned run: verdict (HELP, HURT or UNKNOWN) and why; NaN where nothing is predicted."""

    verdict: str
    why: str
    change: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    judged: tuple[Judged, ...] = ()


def predict(runs: pd.DataFrame, planned: Mapping[str, float], context: str) -> Prediction:
    """Return the prediction for a planned run, with this context, from finished ones.

    runs: see `judge`, rows with NaN are left out; planned: FEATURES. The ridge predicts if its error is below the constant's on every kind
    of group, else the constant; contexts are left out only if no run has the planned one. The interval is the widest one of the kinds, and
    the penalty is chosen by leaving out groups of that kind. The verdict is UNKNOWN if the interval holds 0, if a feature lies outside of
    the finished runs, or if there are too few groups.
    """
    runs = runs.dropna(subset=[*FEATURES, CHANGE])
    if (count := runs["base"].nunique()) < FEWEST_GROUPS:
        return Prediction(UNKNOWN, f"{too_few(count)} to learn from, {FEWEST_GROUPS} are needed")
    kinds = [kind for kind in GROUPS if kind != "context" or context not in set(runs["context"])]
    judged = tuple(filter(None, (judge(runs, kind) for kind in kinds)))
    features, changes = matrix(runs), runs[CHANGE].to_numpy(dtype=float)
    better = all(own.ridge < own.constant for own in judged)
    widest = max(judged, key=lambda kind: kind.intervals[0 if better else 1])
    penalty = (
        chosen_penalty(features, changes, runs[widest.kind].astype(str).to_numpy()) if better else INFINITE
    )
    own = matrix(pd.DataFrame([dict(planned)]))
    change = float(Ridge.fit(features, changes, [penalty]).predict(own)[0, 0])
    half = widest.intervals[0 if better else 1]
    outside = outside_of(runs, planned)
    found = (change, change - half, change + half, judged)
    if outside:
        return Prediction(UNKNOWN, f"outside of the finished runs: {'; '.join(outside)}", *found)
    if change - half <= 0 <= change + half:
        return Prediction(UNKNOWN, "the interval holds 0", *found)
    why = "the interval excludes 0" + (
        "" if better else ", by the mean of the runs: the features add nothing"
    )
    return Prediction(HELP if change > 0 else HURT, why, *found)


def too_few(count: int) -> str:
    """Return how many draws of bases there are."""
    return f"finished runs of {count or 'no'} draw{'' if count == 1 else 's'} of a base"


def outside_of(runs: pd.DataFrame, planned: Mapping[str, float]) -> list[str]:
    """Return the features of a planned run that are unknown or outside of the range of the finished runs, with that range."""
    found = []
    for name in FEATURES:
        low, high = float(runs[name].min()), float(runs[name].max())
        if not low <= planned[name] <= high:
            found.append(f"{name} {planned[name]:.4g} (runs: {low:.4g} to {high:.4g})")
    return found
