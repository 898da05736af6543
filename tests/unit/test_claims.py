"""The claims ledger: its file, the runs that it finds in a grid, and the verdicts that its rule gives."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from selfdistill.claims.elsewhere import Elsewhere, load_elsewhere
from selfdistill.claims.judge import Frames, judge_parts, rollouts_as_samples
from selfdistill.claims.ledger import ROLLOUTS, Ledger, load_ledger
from selfdistill.claims.selection import (
    PlannedArm,
    PlannedPart,
    as_params,
    from_params,
    needed_files,
    plan_claims,
    step_at,
)
from selfdistill.claims.verdicts import (
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    VERDICTS,
    ClauseResult,
    PartResult,
    as_record,
    claim_result,
    decided,
    joined,
    judge_claims,
    p_values,
    verdict_of,
)
from selfdistill.records.paths import Paths
from selfdistill.report.claims_page import (
    counts_of,
    effect_text,
    expected_text,
    summary_sentences,
    to_html,
    to_markdown,
)
from selfdistill.study.load import load_study
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.runs import LAST, RUN_KEY

CONFIG = Path(__file__).parents[2] / "config"
BASE = dict(zip(RUN_KEY, ("m", "base", "none", "none", "none", "none", "default"), strict=True))
SDPO = dict(zip(RUN_KEY, ("m", "sdpo", "solution", "fixed", "chain", "full", "default"), strict=True))


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return load_ledger(CONFIG / "claims.yaml")


@pytest.fixture(scope="module")
def mini():
    return load_study(CONFIG / "mini.yaml")


def samples(
    run: dict[str, str], chance: float, seeds: int = 8, steps=(0,), problems: int = 200
) -> pd.DataFrame:
    """Samples of a run that is right with `chance`, and twice as long where it is wrong."""
    generator = np.random.default_rng([int(1000 * chance), seeds])
    grid = (
        pd.MultiIndex.from_product(
            [range(seeds), steps, [f"p{n}" for n in range(problems)], range(4)],
            names=["seed", "step", "problem_id", "sample_index"],
        )
        .to_frame(index=False)
        .assign(replicate=0)
    )
    correct = generator.random(len(grid)) < chance
    return grid.assign(
        **run, replicate=0, benchmark="ood", correct=correct, response_tokens=np.where(correct, 10, 20)
    )


def three_seeds(name: str = "mini"):
    """A study with three seeds, so that it decides."""
    return load_study(CONFIG / f"{name}.yaml", seeds=[0, 1, 2])


def part(metric: str = "accuracy", **bounds) -> PlannedPart:
    """SDPO minus base on the benchmark `ood`."""
    arms = (PlannedArm(SDPO, ("ood",), 1.0, 1.0), PlannedArm(BASE, ("ood",), 1.0, -1.0))
    return PlannedPart("C5", "a part", "deepseek", metric, "ood", arms, **bounds)


def judged(chance: float, base: float = 0.5, **bounds) -> PartResult:
    frame = pd.concat([samples(SDPO, chance, steps=(10, 20)), samples(BASE, base)])
    return judge_one(part(**bounds), frame)


def judge_one(one: PlannedPart, frame: pd.DataFrame) -> PartResult:
    """The result of a part that is alone in its ledger."""
    return judge_parts([one], Frames(frame, pd.DataFrame(), pd.DataFrame()), 0.05)[0]


# ---- the file


def test_the_ledger_holds_the_papers_nineteen_claims(ledger):
    papers = [name for name in ledger.claims if name.startswith("C")]
    assert papers == [f"C{number}" for number in range(1, 20)]
    assert all(claim.place and claim.statement for claim in ledger.claims.values())
    assert {claim.family for claim in ledger.claims.values()} == set(ledger.families)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "nowhere"}, "claims.C3.family: unknown family 'nowhere'; allowed: "),
        ({"not_run": "and yet it has parts"}, "either `parts` or `not_run` (the reason) must be given"),
        ({"verdict": "reproduced"}, "unknown key"),
        ({"models": [], "also": []}, "`models` must be given unless every arm has a `model`"),
        ({"models": ["gpt"]}, "deepseek"),
    ],
)
def test_a_wrong_claim_is_refused_with_its_key(tmp_path, change, message):
    content = yaml.safe_load((CONFIG / "claims.yaml").read_text(encoding="utf-8"))
    content["claims"]["C3"] |= change
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(StudyError, match=r"claims\.yaml: claims\.C3") as error:
        load_ledger(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"below": None}, "`above`, `below` or both must be given"),
        ({"above": 0.0, "below": -0.1}, "must be smaller"),
        ({"relative": True, "minus": []}, "must have one `plus` and one `minus` arm"),
        ({"minus": {"method": "grpo"}}, "`experiment` must be given for a trained arm"),
    ],
)
def test_a_wrong_part_is_refused(tmp_path, change, message):
    content = yaml.safe_load((CONFIG / "claims.yaml").read_text(encoding="utf-8"))
    content["claims"]["C3"]["parts"][0] |= change
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(StudyError) as error:
        load_ledger(path)
    assert message in str(error.value)
    assert "claims.C3.parts.0" in str(error.value)


def test_every_direction_that_counts_has_a_smallest_effect_of_interest(ledger):
    """Else a null effect could not be decided; bounds other than 0 are margins themselves."""
    directed = [
        part
        for claim in ledger.claims.values()
        for part in claim.parts
        if part.counts and 0 in (part.above, part.below)
    ]
    assert len(directed) > 20
    assert not [part.name for part in directed if not part.margin]
    assert {part.margin for part in directed} <= {*ledger.margins.values(), 0.01}


def test_no_effect_is_counted_twice_in_a_clause(ledger, mini):
    """Substring and whole-word counts are the same number in the model organism."""
    parts = [one for one in plan_claims(ledger, mini) if one.counts]
    keys = [
        (one.claim, one.clause, str(one.arms), one.metric.replace("_word", "_substring")) for one in parts
    ]
    assert len(keys) == len(set(keys))


# ---- the plan


def test_the_mini_study_can_test_all_claims_but_the_judges(ledger, mini):
    parts = plan_claims(ledger, mini)
    assert not [(one.claim, one.name, one.missing) for one in parts if one.missing]
    assert {one.claim for one in parts} == set(ledger.claims) - {"C19"}


def test_a_part_without_its_runs_says_which_is_missing(ledger):
    parts = plan_claims(ledger, load_study(CONFIG / "test.yaml"))
    reasons = {name: {one.missing for one in parts if one.claim == name} for name in ("C5", "C9", "C18")}
    assert "the study has no model for the role olmo3" in reasons["C5"]
    assert "the study has no benchmark for aime24" in reasons["C18"]
    assert any("no such run of on-policy: sdpo" in reason for reason in reasons["C9"])


def test_the_judge_reads_each_seed_of_the_runs_that_the_plan_names(ledger, mini):
    parts = [one for one in plan_claims(ledger, mini) if one.claim in ("C12", "C14")]
    files = needed_files(parts, mini, Paths("mini"))
    assert len(files["rollouts"]) == 6
    assert all("/coverage/" in path for path in files["rollouts"])
    assert not files["section_3"]
    assert any("/base/" in path for path in files["samples"])
    assert len(files["samples"]) == len(set(files["samples"])) == 5


def test_a_plan_survives_the_params_of_a_rule(ledger, mini):
    parts = plan_claims(ledger, mini)
    assert from_params(json.loads(json.dumps(as_params(parts)))) == parts


# ---- the rule


@pytest.mark.parametrize(
    ("p_for", "p_against", "verdict"),
    [
        (0.025, 0.9, REPRODUCED),
        (0.026, 0.9, INCONCLUSIVE),
        (0.9, 0.025, NOT_REPRODUCED),
        (0.5, 0.5, INCONCLUSIVE),
    ],
)
def test_verdicts_follow_from_two_p_values(p_for, p_against, verdict):
    assert verdict_of(p_for, p_against, 0.05) == verdict


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


def test_a_claim_holds_only_if_all_its_parts_do(ledger):
    def result(p_for: float, p_against: float, counts: bool = True) -> PartResult:
        one = PlannedPart("C3", "x", "deepseek", "accuracy", "ood", below=0.0, counts=counts)
        return PartResult(one, verdict_of(p_for, p_against, 0.05), p_for=p_for, p_against=p_against)

    def verdict(*parts: PartResult) -> str:
        return next(one.verdict for one in judge_claims(ledger, parts) if one.name == "C3")

    assert joined([result(0.001, 1.0), result(0.3, 0.02)]) == (0.3, 0.04)
    assert verdict(result(0.001, 1.0), result(0.002, 1.0)) == REPRODUCED
    assert verdict(result(0.001, 1.0), result(0.3, 0.7)) == INCONCLUSIVE
    assert verdict(result(0.001, 1.0), result(1.0, 0.001)) == NOT_REPRODUCED
    assert verdict(result(0.001, 1.0), result(1.0, 0.001, counts=False)) == REPRODUCED


def test_a_claim_with_a_part_that_was_not_run_is_at_best_inconclusive(ledger):
    one = PlannedPart("C3", "x", "deepseek", "accuracy", "ood", below=0.0)
    held, lacking = (
        PartResult(one, REPRODUCED, p_for=0.001, p_against=1.0),
        PartResult(one, reason="no such run"),
    )
    found = next(claim for claim in judge_claims(ledger, [held, lacking]) if claim.name == "C3")
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "1 of 1 parts hold, 1 not run")


def part_of(name: str, p_for: float, p_against: float = 1.0, clause: str = "") -> PartResult:
    """A part of a claim with these p values."""
    one = PlannedPart(name, "x", "m", "accuracy", "ood", below=0.0, clause=clause)
    return PartResult(one, verdict_of(p_for, p_against, 0.05), p_for=p_for, p_against=p_against)


def claims_of(ledger: Ledger, *parts: PartResult) -> dict:
    """The results of the claims by name."""
    return {claim.name: claim for claim in judge_claims(ledger, parts)}


def test_holm_corrects_within_a_family_only(ledger):
    results = claims_of(ledger, part_of("C3", 0.02), part_of("C4", 0.02), part_of("C16", 0.02))
    assert results["C3"].clauses[0].p_for == pytest.approx(0.04)
    assert results["C3"].verdict == INCONCLUSIVE
    assert results["C16"].clauses[0].p_for == pytest.approx(0.02)
    assert results["C16"].verdict == REPRODUCED


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ([(0.001, 1.0), (0.001, 1.0)], REPRODUCED),
        ([(0.001, 1.0), (1.0, 0.001)], PARTLY),
        ([(1.0, 0.001), (0.5, 0.5)], INCONCLUSIVE),
    ],
)
def test_one_clause_does_not_decide_the_others(ledger, others, verdict):
    values = dict(zip("abc", [(0.001, 1.0), *others], strict=True))
    found = claims_of(ledger, *(part_of("C7", *pair, clause=name) for name, pair in values.items()))["C7"]
    assert [clause.verdict for clause in found.clauses] == [
        verdict_of(*pair, 0.05) for pair in values.values()
    ]
    assert found.verdict == verdict
    assert "b: " + found.clauses[1].verdict in found.reason


def test_holm_counts_clauses_and_not_claims(ledger):
    clauses = [part_of("C7", 0.01, clause=name) for name in "abc"]
    assert claims_of(ledger, *clauses)["C7"].clauses[0].p_for == pytest.approx(0.03)


def test_an_effect_too_small_to_be_of_interest_decides_against_the_claim():
    """Without a margin no number of samples would: the effect is null."""
    assert judged(0.5, below=0.0).verdict == INCONCLUSIVE
    assert judged(0.5, below=0.0, margin=0.15).verdict == NOT_REPRODUCED
    assert judged(0.3, below=0.0, margin=0.15).verdict == REPRODUCED
    small = judged(0.42, below=0.0, margin=0.3)
    assert small.p_for < 0.025 and small.verdict == NOT_REPRODUCED, "in the claimed direction, and negligible"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((REPRODUCED, NOT_REPRODUCED), PARTLY),
        ((NO_VERDICT, NOT_RUN), NO_VERDICT),
        ((NOT_RUN, NOT_RUN), NOT_RUN),
        ((REPRODUCED, NOT_RUN), INCONCLUSIVE),
        ((REPRODUCED, INCONCLUSIVE), INCONCLUSIVE),
    ],
)
def test_a_claim_of_unlike_clauses(verdicts, expected):
    clauses = tuple(ClauseResult(name, "", one, "") for name, one in zip("ab", verdicts, strict=True))
    assert claim_result("C7", clauses, ()).verdict == expected


def test_one_draw_gives_an_effect_and_no_verdict(ledger):
    frame = pd.concat([samples(SDPO, 0.3, seeds=1, steps=(10, 20)), samples(BASE, 0.5, seeds=1)])
    found = judge_one(part(below=0.0), frame)
    assert (found.verdict, found.reason) == (NO_VERDICT, "one replicate: no verdict")
    assert found.high < 0 and math.isnan(found.p_for)
    result = next(one for one in judge_claims(ledger, [found]) if one.name == "C5")
    assert (result.verdict, result.reason) == (NO_VERDICT, "one replicate: no verdict")


def test_a_study_of_one_draw_plans_no_verdicts_of_what_it_draws(ledger):
    one, three = (
        plan_claims(ledger, load_study(CONFIG / "mini.yaml", replicates=draws)) for draws in ([0], [0, 1, 2])
    )
    assert all(part.single for part in one) and not any(part.single for part in three)
    paper = plan_claims(ledger, load_study(CONFIG / "paper.yaml"))
    single = {part.claim: part.single for part in paper if not part.missing}
    assert single["C5"] and not single["C1"], "the paper's weights are given; its trainings are drawn"


def test_models_are_averaged_where_the_paper_speaks_of_models_in_general(ledger, mini):
    parts = [one for one in plan_claims(ledger, mini) if one.claim == "C5" and one.benchmark == "ood"]
    assert [(one.model, one.counts) for one in parts] == [
        ("mean of deepseek, qwen3-think, olmo3", True),
        *((model, False) for model in ("deepseek", "qwen3-think", "olmo3")),
    ]
    assert [(arm.group, arm.weight) for arm in parts[0].arms] == [
        (n, sign) for n in range(3) for sign in (1, -1)
    ]
    assert [one.base for one in parts] == ["", "r1-mini", "qwen3-mini", "olmo3-mini"]
    paper = [one for one in plan_claims(ledger, load_study(CONFIG / "paper.yaml")) if one.claim == "C1"]
    assert paper[0].model == "mean of deepseek", "the models that the study has"


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


def test_two_sided_bounds_double_the_evidence_against():
    class Found:
        def p_above(self, bound):
            return 0.9

        def p_below(self, bound):
            return 0.01

    assert p_values(Found(), None, 0.0) == (0.01, 0.9)
    assert p_values(Found(), -0.1, 0.1) == (0.9, 0.02)


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


# ---- the page


@pytest.fixture(scope="module")
def record(ledger) -> dict:
    frame = pd.concat([samples(SDPO, 0.3), samples(BASE, 0.5)])
    frames = Frames(frame, pd.DataFrame(), pd.DataFrame())
    parts = judge_parts([part(below=0.0)], frames, 0.05)
    return as_record(
        ledger, "test", judge_claims(ledger, parts), load_elsewhere(CONFIG / "elsewhere.yaml", ledger)
    )


def test_the_record_is_plain_json_without_nan(record):
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text)["claims"][4]["verdict"] == REPRODUCED
    assert counts_of(record) == dict.fromkeys(VERDICTS, 0) | {REPRODUCED: 1, NOT_RUN: 18}


def test_the_summary_is_three_sentences_from_the_ledger(record):
    sentences = summary_sentences(record)
    assert len(sentences) == 3
    assert "19 claims this study tests 1, and 1 (C5) are reproduced" in sentences[0]
    assert "18 (C1, C2" in sentences[2]


def test_the_summary_of_a_study_with_claims_of_its_own_counts_these(record):
    own = record | {"claims": [claim | {"name": f"X{claim['name']}"} for claim in record["claims"]]}
    assert "Of the study's own 22 claims this study tests 1, and 1 (XC5)" in summary_sentences(own)[0]


def test_pages_show_every_claim_in_order_with_its_reason(record, ledger):
    page, text = to_html(record), to_markdown(record)
    for shown in (page, text):
        places = [shown.index(f"{name}. ") for name in ledger.claims]
        assert all(first < second for first, second in pairwise(places))
        assert "it needs an LLM as judge" in shown
        assert "✔ reproduced" in shown
    assert 'href="#figure9"' in page
    assert "s\\think" in page


def test_effects_are_shown_in_their_units():
    shown = {
        "arms": [{"over": 0.0}] * 2,
        "relative": False,
        "metric": "accuracy",
        "effect": -0.123,
        "low": -0.2,
        "high": -0.05,
    }
    assert effect_text(shown) == "−12.3 [−20.0, −5.0] points"
    assert effect_text(shown | {"relative": True, "metric": "response_tokens"}) == "−12.3 [−20.0, −5.0] %"
    assert (
        effect_text(shown | {"arms": [{"over": 0.0}], "effect": 0.9, "low": 0.85, "high": 0.95})
        == "90.0 [85.0, 95.0] %"
    )
    assert effect_text(shown | {"metric": "response_tokens", "effect": 3.25}).startswith("+3.25")
    assert expected_text(shown | {"above": None, "below": -0.05, "margin": 0.0}) == "< −5"
    assert expected_text(shown | {"above": -0.05, "below": 0.05, "margin": 0.0}) == "> −5 and < 5"
    assert expected_text(shown | {"above": None, "below": 0, "margin": 0.03}) == "< 0, by 3"
    ratio = shown | {"arms": [{"over": 1.0}], "effect": 0.3, "low": 0.1, "high": 0.5}
    assert effect_text(ratio) == "0.30 [0.10, 0.50]"
    assert expected_text(ratio | {"above": 0.7, "below": None, "margin": 0.0}) == "> 0.70"


def test_a_page_says_over_what_its_intervals_are(record, ledger):
    assert "problems and 8 seeds of the same bases" in to_markdown(record)
    frame = pd.concat([samples(SDPO, 0.3, seeds=3), samples(BASE, 0.5, seeds=3)])
    frame = frame.assign(replicate=frame["seed"], seed=0)
    found = judge_parts([part(below=0.0)], Frames(frame, pd.DataFrame(), pd.DataFrame()), 0.05)
    page = to_markdown(as_record(ledger, "test", judge_claims(ledger, found), Elsewhere(entries=[])))
    assert "problems and 3 replicates" in page
    assert "200 / 4 / 3 / 1" in page


def test_a_result_without_parts_is_not_run():
    assert decided([]) == []
