"""The rule of the claims ledger: from p values to the verdicts of parts, of clauses and of claims."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from claim_cases import claims_of, judged, part_of

from selfdistill.claims.judge import without_interval
from selfdistill.claims.selection import PlannedPart
from selfdistill.claims.verdicts import (
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    ClauseResult,
    PartResult,
    claim_result,
    decided,
    joined,
    judge_claims,
    p_values,
    verdict_of,
)


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


def test_a_part_without_an_interval_decides_nothing_and_counts_in_holms_correction(ledger):
    """Data decide whether a divisor may be 0; to leave its clause out would make the others look better."""
    one = PlannedPart("C8", "x", "deepseek", "shift", "ood", above=1.0, clause="c")
    vague, others = (
        without_interval(one, SimpleNamespace(effect=0.7, n_draws=1)),
        [part_of("C7", 0.01, clause=name) for name in "abc"],
    )
    found = claims_of(ledger, vague, *others)
    assert found["C7"].clauses[0].p_for == pytest.approx(0.04)
    assert found["C8"].clauses[2].verdict == INCONCLUSIVE
    assert found["C8"].clauses[2].reason == "0 of 1 parts hold, 1 without an interval"
    single = without_interval(replace(one, drawn=True), SimpleNamespace(effect=0.7, n_draws=1))
    assert (single.verdict, math.isnan(single.p_for)) == (NO_VERDICT, True)


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


def test_two_sided_bounds_double_the_evidence_against():
    class Found:
        def p_above(self, bound):
            return 0.9

        def p_below(self, bound):
            return 0.01

    assert p_values(Found(), None, 0.0) == (0.01, 0.9)
    assert p_values(Found(), -0.1, 0.1) == (0.9, 0.02)


def test_a_result_without_parts_is_not_run():
    assert decided([]) == []
