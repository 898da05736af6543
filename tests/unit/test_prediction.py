"""The predictor of OOD changes: it recovers a linear law, does not beat the constant on noise, and knows when it cannot tell."""

import numpy as np
import pandas as pd
import pytest

from selfdistill.statistics.prediction import (
    HELP,
    HURT,
    PENALTIES,
    UNKNOWN,
    Ridge,
    chosen_penalty,
    judge,
    matrix,
    predict,
)
from selfdistill.vocabulary.diagnosis import COUNTS, FEATURES

NAMES = list(FEATURES)
LAW = np.array([0.02, 0, -0.01, 0, 0, -0.04, 0.03, 0, 0, 0])
"""Weights of the features, those of COUNTS as logarithms."""


def finished(
    rng, bases: int = 12, each: int = 4, law=LAW, shared: float = 0.0, noise: float = 0.002
) -> pd.DataFrame:
    """Runs of `bases` draws of four families, each with other contexts; shared: standard deviation of what the runs of a base have in common."""
    rows = bases * each
    table = pd.DataFrame(rng.normal(size=(rows, len(NAMES))), columns=NAMES)
    table[list(COUNTS)] = 2.0 ** table[list(COUNTS)]
    base = np.repeat(np.arange(bases), each)
    change = matrix(table) @ law + shared * rng.normal(size=bases)[base] + rng.normal(size=rows) * noise
    names = {"family": [f"f{i % 4}" for i in base], "base": [f"b{i}" for i in base]}
    return table.assign(**names, context=[f"c{i % each}" for i in range(rows)], change=change - 0.01)


def typical(**values: float) -> dict[str, float]:
    return dict.fromkeys(NAMES, 0.0) | dict.fromkeys(COUNTS, 1.0) | values


def test_a_ridge_without_penalty_is_least_squares_and_an_infinite_one_the_mean():
    rng = np.random.default_rng(0)
    features, changes = rng.normal(size=(20, 3)) * [1, 10, 100] + 5, rng.normal(size=20)
    exact = np.linalg.lstsq(np.column_stack([np.ones(20), features]), changes, rcond=None)[0]
    free = Ridge.fit(features, changes, [1e-12]).predict(features)[0]
    assert free == pytest.approx(np.column_stack([np.ones(20), features]) @ exact, abs=1e-6)
    assert Ridge.fit(features, changes, [float("inf")]).predict(features)[0] == pytest.approx(
        [changes.mean()] * 20
    )


def test_a_penalty_shrinks_by_hand():
    """One feature with variance 1: the weight is the covariance over 1 + penalty."""
    found = Ridge.fit(np.array([[1.0], [-1.0]]), np.array([3.0, 1.0]), [1.0, 3.0])
    assert found.predict(np.array([[1.0]])) == pytest.approx(np.array([[2 + 1 / 2], [2 + 1 / 4]]))


def test_a_constant_feature_says_nothing():
    features = np.column_stack([np.full(6, 7.0), np.arange(6.0)])
    found = Ridge.fit(features, np.arange(6.0), [1e-9])
    assert found.predict(np.array([[99.0, 2.0]]))[0] == pytest.approx([2.0])


def test_a_known_law_is_recovered_on_left_out_families_and_bases():
    runs = finished(np.random.default_rng(0))
    for kind, groups in (("family", 4), ("context", 4), ("base", 12)):
        found = judge(runs, kind)
        assert found.groups == groups
        assert found.ridge < 0.004 < 0.04 < found.constant
        assert found.predicted == pytest.approx(runs["change"].to_numpy(), abs=0.015)
    hurt = predict(runs, typical(problems=0.5, divergence=1.0), "new")
    assert hurt.verdict == HURT and hurt.low < hurt.change < hurt.high < 0
    assert hurt.change == pytest.approx(-0.01 - 0.02 - 0.04, abs=0.005)
    assert predict(runs, typical(divergence=-1.0, epistemic_change=1.0), "c0").verdict == HELP


def test_noise_is_not_predicted_better_than_by_the_mean():
    lost = 0
    for seed in range(20):
        found = judge(finished(np.random.default_rng(seed), law=0 * LAW, noise=0.03), "base")
        assert found.ridge < 1.25 * found.constant, "the penalty may be infinite"
        lost += found.ridge >= found.constant
    assert lost >= 15


def test_a_change_that_all_runs_share_is_said_to_be_their_mean():
    runs = finished(np.random.default_rng(1), law=0 * LAW, noise=0.01)
    found = predict(runs.assign(change=runs["change"] - 0.2), typical(), "c0")
    assert found.verdict == HURT and "the features add nothing" in found.why
    assert predict(runs, typical(), "c0").verdict == UNKNOWN


def test_intervals_hold_the_changes_of_new_bases():
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        whole = finished(rng, bases=13, shared=0.03, noise=0.01)
        new = whole["base"] == "b12"
        found = predict(whole[~new], whole[new].iloc[0][NAMES].to_dict(), "c0")
        held.append(found.low <= whole.loc[new, "change"].iloc[0] <= found.high)
    assert 0.9 <= np.mean(held) <= 1.0


def test_what_lies_outside_of_the_runs_cannot_be_told():
    runs = finished(np.random.default_rng(0))
    found = predict(runs, typical(divergence=9.0), "c0")
    assert found.verdict == UNKNOWN and "divergence 9 (runs: -" in found.why and "; " not in found.why
    assert found.high < 0, "the number is shown all the same"
    unknown = predict(runs, typical(nats_per_token=float("nan")), "c0")
    assert unknown.verdict == UNKNOWN and "nats_per_token nan" in unknown.why


def test_few_groups_cannot_tell():
    runs = finished(np.random.default_rng(0), bases=2)
    assert (
        "finished runs of 2 draws of a base to learn from, 3 are needed"
        in predict(runs, typical(), "new").why
    )
    assert "no draws" in predict(runs[:0], typical(), "c0").why
    runs.loc[runs["base"] == "b1", "divergence"] = np.nan
    assert "1 draw of a base" in predict(runs, typical(), "c0").why


def test_features_that_only_tell_known_contexts_apart_do_not_predict_a_new_one():
    """Each context has a change of its own, and a feature that is 1 for it alone: a left-out draw has known contexts only."""
    runs = finished(np.random.default_rng(0), law=0 * LAW)
    own = zip(("accuracy", "fork_share", "divergence"), ("c0", "c1", "c2"), strict=True)
    runs = runs.assign(**{name: (runs["context"] == context).astype(float) for name, context in own})
    runs["change"] += runs["context"].map({"c0": -0.3, "c1": 0.1, "c2": -0.3, "c3": 0.1})
    assert judge(runs, "base").ridge < judge(runs, "base").constant
    assert judge(runs, "context").ridge >= judge(runs, "context").constant
    planned = runs.iloc[0][NAMES].to_dict()
    known, new = (predict(runs, planned, context) for context in ("c0", "new"))
    assert [own.kind for own in known.judged] == ["family", "base"]
    assert [own.kind for own in new.judged] == ["family", "context", "base"]
    assert known.verdict == HURT and "add nothing" not in known.why
    assert new.verdict == UNKNOWN and new.change == pytest.approx(runs["change"].mean())


def test_one_group_chooses_the_mean_and_equals_the_largest_penalty():
    rng = np.random.default_rng(0)
    features, changes = rng.normal(size=(8, 2)), np.zeros(8)
    assert chosen_penalty(features, changes, np.array(["a"] * 8)) == float("inf")
    assert chosen_penalty(features, changes, np.array(["a", "b"] * 4)) == PENALTIES[0]
