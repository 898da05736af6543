"""Screening: all runs of a model compared at equal steps and at equal sampled tokens.

By a checkpoint a run has spent its steps, and the tokens of the responses that it has sampled for them (mean over draws). All
runs of a model are compared where they have spent as much as the one that spends least by its end. There a run is between two of its
checkpoints, the base being checkpoint 0, and its numbers are interpolated linearly. That is a weighted sum of two estimates, so that a
change is a linear contrast, a share a ratio of two, and `comparison.compare` gives the interval, paired by problem and by draw.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from selfdistill.statistics.comparison import Arm, Comparison, compare
from selfdistill.statistics.groups import BASE_GROUP
from selfdistill.vocabulary.runs import BASE, DEFAULT, RUN_KEY

STEPS, TOKENS = "steps", "tokens"
INSIDE, OUTSIDE = "inside", "outside"
GRPO_GROUP = {"method": "grpo", "context": "none", "teacher": "none", "variant": DEFAULT}
"""Fields of GRPO with the study's own settings; its model, data and coverage are those of the run that is compared with it."""

Key = tuple[str, ...]
"""A run by the values of RUN_KEY."""
Checkpoint = tuple[Key, int]
"""A run and a step; a base and 0."""
Weights = dict[Checkpoint, float]
"""What a number is interpolated from: checkpoint -> weight; the weights add up to 1."""


class Quantity(NamedTuple):
    """A number of the screening: metric of the samples, `inside` or `outside`, against the base or GRPO, as a difference or as a share."""

    metric: str
    benchmarks: str
    against: str = "base"
    share: bool = False


QUANTITIES = {
    "change_inside": Quantity("accuracy", INSIDE),
    "change_outside": Quantity("accuracy", OUTSIDE),
    "above_grpo": Quantity("accuracy", OUTSIDE, "grpo"),
    "length_kept": Quantity("response_tokens", OUTSIDE, share=True),
    "words_kept": Quantity("epistemic_substring", OUTSIDE, share=True),
}


def screened(
    samples: pd.DataFrame, training: pd.DataFrame, benchmarks: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return every quantity of every run at equal steps and at equal sampled tokens of its model.

    samples: of the runs at all checkpoints and of their bases (records.schemas.samples_schema; texts are not read). training: records of the
    runs. benchmarks: INSIDE and OUTSIDE -> benchmarks, of equal weight.
    Columns: RUN_KEY, spent (STEPS or TOKENS), step (between checkpoints, a fraction), metric (of QUANTITIES), estimate, low, high and counts, as
    `statistics.estimates`. A number is left out if a checkpoint that it needs was not evaluated on all its benchmarks, or if it is
    against GRPO and there is none beside the run.
    """
    rows = {(key[:-1], int(key[-1])): own for key, own in samples.groupby([*RUN_KEY, "step"], observed=True)}
    found = []
    for spent in (STEPS, TOKENS):
        places = places_of(amounts_by_run(rows, training, spent))
        for key, own in places.items():
            for name, quantity in QUANTITIES.items():
                other = {"base": {(base_of(key), 0): 1.0}, "grpo": places.get(grpo_of(key), {})}
                one = contrast_of(rows, own, other[quantity.against], quantity, benchmarks)
                if one is not None:
                    found.append(record(key, spent, own, name, one))
    return pd.DataFrame(found)


def sampled_tokens(training: pd.DataFrame) -> pd.Series:
    """Return the tokens that a run has sampled by each checkpoint, mean over draws; index: RUN_KEY and the step of the checkpoint."""
    tokens = training.assign(
        step=training["step"] + 1
    )  # a row holds a step's rollouts, which come before its checkpoint
    return tokens.groupby([*RUN_KEY, "step"], observed=True)["tokens"].mean()


def amounts_by_run(
    checkpoints: Mapping[Checkpoint, pd.DataFrame], training: pd.DataFrame, spent: str
) -> dict[Key, dict[int, float]]:
    """Return for every trained run what it has spent by each of its checkpoints: step -> steps or tokens."""
    tokens = sampled_tokens(training)
    amounts: dict[Key, dict[int, float]] = {}
    for key, step in checkpoints:
        if key[RUN_KEY.index("method")] != BASE:
            amounts.setdefault(key, {})[step] = float(step if spent == STEPS else tokens[(*key, step)])
    return amounts


def places_of(amounts: Mapping[Key, Mapping[int, float]]) -> dict[Key, Weights]:
    """Return where every run stands when it has spent as much as the run of its model that spends least."""
    least: dict[str, float] = {}
    for (model, *_), own in amounts.items():
        least[model] = min(least.get(model, np.inf), max(own.values()))
    return {key: weights_at(key, own, least[key[0]]) for key, own in amounts.items()}


def weights_at(key: Key, amounts: Mapping[int, float], spent: float) -> Weights:
    """Return the checkpoints around an amount with the weights of a linear interpolation; amounts: see `amounts_by_run`."""
    known = {(base_of(key), 0): 0.0} | {(key, step): amounts[step] for step in sorted(amounts)}
    place = float(np.interp(spent, list(known.values()), range(len(known))))
    before, part = int(place), place % 1
    pairs = list(known)[before : before + 2]
    return {point: weight for point, weight in zip(pairs, (1 - part, part), strict=False) if weight}


def base_of(key: Key) -> Key:
    """Return the base of a run's model."""
    return replaced(key, BASE_GROUP)


def grpo_of(key: Key) -> Key | None:
    """Return GRPO beside a run, None for that run itself."""
    found = replaced(key, GRPO_GROUP)
    return found if found != key else None


def replaced(key: Key, fields: Mapping[str, str | int]) -> Key:
    """Return a run with other fields."""
    return tuple(str(fields.get(name, value)) for name, value in zip(RUN_KEY, key, strict=True))


def contrast_of(
    rows: Mapping[Checkpoint, pd.DataFrame],
    own: Weights,
    other: Weights,
    quantity: Quantity,
    benchmarks: Mapping[str, Sequence[str]],
) -> Comparison | None:
    """Return a quantity at one place against another, None if one of its checkpoints lacks a benchmark or there is nothing to compare with."""
    names = list(benchmarks[quantity.benchmarks])
    points = list(dict.fromkeys([*own, *other]))
    kept = {point: rows[point][rows[point]["benchmark"].isin(names)] for point in points}
    if not names or not other or any(set(one["benchmark"]) != set(names) for one in kept.values()):
        return None
    arms = []
    for point, one in kept.items():
        mine, theirs = own.get(point, 0.0), other.get(point, 0.0)
        arms.append(Arm(one, mine, over=theirs) if quantity.share else Arm(one, mine - theirs))
    return compare(arms, quantity.metric)


def record(key: Key, spent: str, own: Weights, name: str, found: Comparison) -> dict[str, object]:
    """Return one number as a row of `screened`."""
    step = sum(weight * step for (_, step), weight in own.items())
    row = dict(zip(RUN_KEY, key, strict=True)) | {"spent": spent, "step": step, "metric": name}
    row |= {"estimate": found.effect, "low": found.low, "high": found.high}
    return row | {name: getattr(found, name) for name in ("n_problems", "k", "n_replicates", "n_seeds")}
