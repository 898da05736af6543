"""The effects and verdicts of single parts of claims, from samples and from rollouts."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from claim_cases import BASE, SDPO, judge_one, judged, part, samples

from selfdistill.claims.judge import Frames, judge_parts, rollouts_as_samples, units_of
from selfdistill.claims.ledger import ROLLOUTS
from selfdistill.claims.selection import PlannedArm, plan_claims, step_at
from selfdistill.claims.verdicts import (
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    judge_claims,
)
from selfdistill.vocabulary.runs import LAST, RUN_KEY


def test_a_clear_effect_is_reproduced_and_its_opposite_is_not():
    assert judged(0.3, below=0.0).verdict == REPRODUCED
    assert judged(0.3, above=0.0).verdict == NOT_REPRODUCED
    assert judged(0.5, base=0.5, below=0.0).verdict == INCONCLUSIVE


def test_a_margin_moves_the_verdict_and_not_the_effect():
    small, large = judged(0.4, below=-0.02), judged(0.4, below=-0.3)
    assert small.effect == large.effect == pytest.approx(-0.1, abs=0.05)
    assert (small.verdict, large.verdict) == (REPRODUCED, NOT_REPRODUCED)


def test_an_equivalence_needs_both_bounds():
    assert judged(0.5, above=-0.08, below=0.08).verdict == REPRODUCED
    assert judged(0.5, above=-0.005, below=0.005).verdict == INCONCLUSIVE
    assert judged(0.8, above=-0.05, below=0.05).verdict == NOT_REPRODUCED


def test_the_interval_and_the_verdict_agree():
    for chance in (0.42, 0.45, 0.47, 0.5):
        found = judged(chance, below=0.0)
        assert (found.high < 0) == (found.verdict == REPRODUCED)


def test_relative_effects():
    arms = tuple(replace(arm, over=float(arm.weight < 0)) for arm in part(below=0).arms)
    frame = pd.concat([samples(SDPO, 0.9, steps=(10, 20)), samples(BASE, 0.5)])
    found = judge_one(replace(part("response_tokens", relative=True, below=-0.2), arms=arms), frame)
    assert found.verdict == REPRODUCED
    assert found.effect == pytest.approx(11 / 15 - 1, abs=0.03)


def test_the_last_step_is_judged_and_a_share_names_an_earlier_one():
    assert step_at([0], 1.0) == 0
    assert step_at([0, 10, 20, 30, 40], 1.0) == 40
    assert step_at([10, 20, 30, 40], 0.25) == 10
    assert step_at([20, 40], 0.25) == 20
    assert step_at([LAST], 0.25) == LAST


def test_an_arm_without_samples_is_not_run_and_says_so():
    found = judge_one(part(below=0.0), samples(BASE, 0.5))
    assert found.verdict == NOT_RUN
    assert "no samples of m/sdpo/solution" in found.reason


def test_one_draw_gives_an_effect_and_no_verdict(ledger):
    frame = pd.concat([samples(SDPO, 0.3, seeds=1, steps=(10, 20)), samples(BASE, 0.5, seeds=1)])
    found = judge_one(part(below=0.0), frame)
    assert (found.verdict, found.reason) == (NO_VERDICT, "one draw: no verdict")
    assert found.high < 0 and math.isnan(found.p_for)
    result = next(one for one in judge_claims(ledger, [found]) if one.name == "C5")
    assert (result.verdict, result.reason) == (NO_VERDICT, "one draw: no verdict")


@pytest.mark.parametrize(("drawn", "verdict"), [(True, NO_VERDICT), (False, REPRODUCED)])
def test_section_3_has_one_draw_per_replicate_whatever_the_seeds(drawn, verdict):
    """A base that the study draws once has no verdict there, even in a study of several seeds; released weights have one."""
    contexts = [BASE | {"context": name, "dataset": "chain"} for name in ("solution", "answer-only")]
    arms = tuple(
        PlannedArm(run, ("section-3",), 1.0, weight)
        for run, weight in zip(contexts, (1.0, -1.0), strict=True)
    )
    one = replace(part(below=0.0), benchmark="section-3", arms=arms, drawn=drawn)
    rows = [samples(run, chance, seeds=1) for run, chance in zip(contexts, (0.3, 0.6), strict=True)]
    (found,) = judge_parts([one], Frames(pd.DataFrame(), pd.concat(rows), pd.DataFrame()), 0.05)
    assert found.verdict == verdict and found.high < 0


def test_a_share_and_a_gap_between_metrics_by_hand(ledger, mini):
    """X1: what of the fall stays; C11: how much more pass@k falls than accuracy."""
    parts = {
        one.claim: one
        for one in plan_claims(ledger, mini)
        if one.name in ("share of the fall in accuracy", "SDPO loses more in pass@k")
    }
    chances = iter((0.35, 0.6, 0.3, 0.6))
    keys = {tuple(arm.run.values()): arm for arm in parts["X1"].arms}
    frame = pd.concat(
        [samples(arm.run, next(chances)).assign(benchmark="in-domain") for arm in keys.values()]
    )
    rate = {tuple(key): rows["correct"].mean() for key, rows in frame.groupby(list(RUN_KEY))}
    other, base, sdpo, _ = (rate[tuple(arm.run.values())] for arm in parts["X1"].arms)
    found = judge_one(parts["X1"], frame)
    assert found.effect == pytest.approx((other - base) / (sdpo - base))
    arms = parts["C11"].arms
    assert [(arm.run["method"], arm.weight, arm.metric) for arm in arms] == [
        ("sdpo", 1, ""),
        ("base", 1, "accuracy"),
        ("base", -1, ""),
        ("sdpo", -1, "accuracy"),
    ]


def test_rollouts_become_samples_of_the_last_steps():
    rows = [
        (step, f"p{n}", float(n == step % 2), 5 + n)
        for step in range(1, 11)
        for n in range(2)
        for _ in range(3)
    ]
    rollouts = pd.DataFrame(rows, columns=["step", "problem_id", "score", "response_tokens"])
    frame = rollouts_as_samples(rollouts, SDPO | {"replicate": 0, "seed": 1})
    assert len(frame) == 5 * 6
    assert frame["correct"].sum() == 15
    assert (frame["benchmark"] == "training").all()
    assert not frame.duplicated(["problem_id", "sample_index"]).any()


def test_a_whole_training_has_the_rollouts_of_every_step_and_its_last_steps_stay_apart():
    rows = [(step, f"p{step}", 1.0, step) for step in range(1, 11)]
    rollouts = pd.DataFrame(rows, columns=["step", "problem_id", "score", "response_tokens"])
    both = [rollouts_as_samples(rollouts, SDPO | {"replicate": 0, "seed": 0}, kind) for kind in ROLLOUTS]
    frames = Frames(pd.DataFrame(), pd.DataFrame(), pd.concat(both))
    last, whole = (frames.rows(PlannedArm(SDPO, (kind,), 1.0, 1.0)) for kind in ROLLOUTS)
    assert last["response_tokens"].tolist() == [6, 7, 8, 9, 10]
    assert whole["response_tokens"].tolist() == list(range(1, 11))
    assert {*whole["step"], *last["step"]} == {10}


@pytest.mark.parametrize(("share", "step"), [(0.25, 20), (0.5, 40), (1.0, 100)])
def test_rows_of_an_arm_are_the_same_if_only_the_steps_that_claims_name_are_kept(share, step):
    steps = (10, 20, 40, 70, 100)
    frame = samples(SDPO, 0.3, seeds=2, steps=steps)
    assert step_at(steps, share) == step
    kept = frame[frame["step"].isin([step, 100])]
    arm = PlannedArm(SDPO, ("ood",), share, 1.0)
    whole, few = (Frames(rows, pd.DataFrame(), pd.DataFrame()).rows(arm) for rows in (frame, kept))
    pd.testing.assert_frame_equal(few, whole)


def test_runs_that_parts_compare_count_once_with_seeds():
    """SDPO's draws are in two of the parts, so these lend each other nothing; another run's are its own."""
    other = SDPO | {"context": "answer-only"}
    grpo = SDPO | {"method": "grpo", "context": "none", "teacher": "none"}
    runs = [(SDPO, BASE), (other, SDPO), (grpo, BASE)]
    parts = [
        replace(
            part(),
            base="b",
            arms=tuple(replace(arm, run=run) for arm, run in zip(part().arms, own, strict=True)),
        )
        for own in runs
    ]
    seeds, replicates = (
        units_of(parts, [SimpleNamespace(drawn=drawn)] * 3) for drawn in ("seed", "replicate")
    )
    assert seeds[0] == seeds[1] != seeds[2]
    assert replicates == ["b"] * 3
    over_two_bases = (*parts[0].arms, *parts[2].arms)
    mean = replace(parts[0], base="", arms=over_two_bases)  # it links nothing
    assert units_of([*parts, mean], [SimpleNamespace(drawn="seed")] * 4) == [*seeds, None]
