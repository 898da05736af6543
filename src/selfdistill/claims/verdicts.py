"""Verdicts of parts, clauses and claims: the rule at the head of config/claims.yaml, computed.

A clause joins its parts, Holm corrects the clauses of a family, and a claim reports its clauses.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from selfdistill.claims.elsewhere import Elsewhere
from selfdistill.claims.ledger import ClaimSpec, Ledger
from selfdistill.claims.selection import PlannedPart
from selfdistill.statistics import Comparison, holm

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly reproduced", "not reproduced"
INCONCLUSIVE, NO_VERDICT, NOT_RUN = "inconclusive", "no verdict", "not run"
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, INCONCLUSIVE, NO_VERDICT, NOT_RUN)
SINGLE = "one draw: no verdict"
"""Reason where there is one draw of what a part measures."""
_NAN = math.nan


@dataclass(frozen=True)
class PartResult:
    """One effect with its interval, p values and verdict; NaN and 0 if it was not run.

    p_for, p_against: one-sided, for an effect within and outside the claimed bounds; replicates, seeds, n_problems, k:
    smallest over the arms; freedom: of Student's distribution.
    """

    part: PlannedPart
    verdict: str = NOT_RUN
    reason: str = ""
    effect: float = _NAN
    low: float = _NAN
    high: float = _NAN
    p_for: float = _NAN
    p_against: float = _NAN
    freedom: float = _NAN
    estimates: tuple[float, ...] = ()
    n_problems: int = 0
    k: int = 0
    replicates: int = 0
    seeds: int = 0


@dataclass(frozen=True)
class ClauseResult:
    """The verdict on one clause of a claim with the corrected p values behind it; name: empty if the claim has no clauses."""

    name: str
    statement: str
    verdict: str
    reason: str
    p_for: float = _NAN
    p_against: float = _NAN


@dataclass(frozen=True)
class ClaimResult:
    """A claim's verdict, which its clauses give, and its parts."""

    name: str
    verdict: str
    reason: str
    clauses: tuple[ClauseResult, ...] = ()
    parts: tuple[PartResult, ...] = field(default=())


def p_values(
    found: Comparison, above: float | None, below: float | None, margin: float = 0.0
) -> tuple[float, float]:
    """Return one-sided p values for an effect within the bounds (the larger) and outside (the smaller, Bonferroni).

    Outside is also an effect that is shown to stay short of a bound plus `margin`, the smallest effect of interest.
    """
    inside, outside = [], []
    if above is not None:
        inside.append(found.p_above(above))
        outside.append(found.p_below(above + margin))
    if below is not None:
        inside.append(found.p_below(below))
        outside.append(found.p_above(below - margin))
    return max(inside), min(1.0, len(outside) * min(outside))


def verdict_of(p_for: float, p_against: float, alpha: float) -> str:
    """Return the verdict of two one-sided p values, each tested at level alpha / 2.

    An effect in the claimed direction that is shown to be smaller than any of interest is not a reproduction.
    """
    if p_against <= alpha / 2:
        return NOT_REPRODUCED
    return REPRODUCED if p_for <= alpha / 2 else INCONCLUSIVE


def joined(results: Sequence[PartResult]) -> tuple[float, float]:
    """Return the p values of a clause: for it, all parts must hold; against it, one failing part is enough (Bonferroni)."""
    if not results:
        return _NAN, _NAN
    return (
        max(result.p_for for result in results),
        min(1.0, len(results) * min(result.p_against for result in results)),
    )


def decided(results: Sequence[PartResult]) -> list[PartResult]:
    """Return the parts that count and have a verdict."""
    return [one for one in results if one.part.counts and not math.isnan(one.p_for)]


def judge_claims(ledger: Ledger, parts: Sequence[PartResult]) -> list[ClaimResult]:
    """Return the verdict on every claim, in the ledger's order, with Holm's correction of the clauses of each family."""
    own: dict[tuple[str, str], list[PartResult]] = {
        (name, clause): [one for one in parts if (one.part.claim, one.part.clause) == (name, clause)]
        for name, claim in ledger.claims.items()
        for clause in claim.clauses or ("",)
    }
    raw = {key: joined(decided(results)) for key, results in own.items()}
    corrected: dict[tuple[str, str], tuple[float, float]] = {}
    for family in ledger.families:
        keys = [key for key in own if ledger.claims[key[0]].family == family]
        sides = [holm([raw[key][side] for key in keys]) for side in (0, 1)]
        corrected |= dict(zip(keys, zip(*sides, strict=True), strict=True))
    clauses = {
        key: clause_result(ledger.claims[key[0]], key[1], results, corrected[key], ledger.alpha)
        for key, results in own.items()
    }
    return [
        claim_result(
            name,
            tuple(clause for key, clause in clauses.items() if key[0] == name),
            tuple(one for one in parts if one.part.claim == name),
        )
        for name in ledger.claims
    ]


def clause_result(
    claim: ClaimSpec,
    name: str,
    parts: Sequence[PartResult],
    corrected: tuple[float, float],
    alpha: float,
) -> ClauseResult:
    """Return the verdict on one clause and its reason."""
    statement = claim.clauses.get(name, claim.statement)
    counted, judged = [one for one in parts if one.part.counts], decided(parts)
    if not judged:
        reasons = dict.fromkeys(one.reason for one in counted if one.reason)
        verdict = NO_VERDICT if any(one.verdict == NO_VERDICT for one in counted) else NOT_RUN
        return ClauseResult(name, statement, verdict, claim.not_run or "; ".join(reasons))
    p_for, p_against = map(float, corrected)
    held = sum(one.verdict == REPRODUCED for one in judged)
    reason, verdict = f"{held} of {len(judged)} parts hold", verdict_of(p_for, p_against, alpha)
    if vague := sum(bool(one.reason) for one in judged):
        reason += f", {vague} without an interval"
    if left_out := len(counted) - len(judged):
        reason += f", {left_out} not run"
        verdict = INCONCLUSIVE if verdict == REPRODUCED else verdict
    return ClauseResult(name, statement, verdict, reason, p_for, p_against)


def claim_result(name: str, clauses: tuple[ClauseResult, ...], parts: tuple[PartResult, ...]) -> ClaimResult:
    """Return the verdict on one claim: that of its clauses if they agree; partly reproduced if all are decided, no verdict if none can be.

    Inconclusive for any other mixture.
    """
    found = {clause.verdict for clause in clauses}
    mixed = {frozenset((REPRODUCED, NOT_REPRODUCED)): PARTLY, frozenset((NO_VERDICT, NOT_RUN)): NO_VERDICT}
    verdict = clauses[0].verdict if len(found) == 1 else mixed.get(frozenset(found), INCONCLUSIVE)
    if found <= {NO_VERDICT, NOT_RUN} or len(clauses) == 1:
        reason = "; ".join(dict.fromkeys(clause.reason for clause in clauses))
    else:
        reason = "; ".join(f"{clause.name}: {clause.verdict}, {clause.reason}" for clause in clauses)
    return ClaimResult(name, verdict, reason, clauses, parts)


def as_record(ledger: Ledger, study: str, results: Sequence[ClaimResult], elsewhere: Elsewhere) -> dict:
    """Return the ledger of a study as the plain values of claims.json (NaN as null), with what others measured."""

    def plain(value: object) -> object:
        """Return a value with tuples as lists and NaN as None."""
        if isinstance(value, float):
            return None if math.isnan(value) else value
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    claims = []
    for result in results:
        spec = ledger.claims[result.name]
        facts = {name: getattr(spec, name) for name in ("statement", "place", "reported", "family", "figure")}
        verdict = {name: getattr(result, name) for name in ("name", "verdict", "reason")}
        clauses = [asdict(one) for one in result.clauses]
        parts = [part_record(one) for one in result.parts]
        others = elsewhere.of_claim(result.name)
        claims.append(plain({**verdict, **facts, "elsewhere": others, "clauses": clauses, "parts": parts}))
    return {"study": study, "alpha": ledger.alpha, "families": ledger.families, "claims": claims}


def part_record(result: PartResult) -> dict:
    """Return one part as plain values: the fields of its plan and of its result."""
    values = asdict(result)
    return values.pop("part") | values
