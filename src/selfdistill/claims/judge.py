"""Effects, intervals and verdicts of a plan: the rule at the head of config/claims.yaml, computed.

`judge_part` computes a part's effect with its interval and two one-sided p values, for and against the claim.
`judge_claims` joins the parts of each claim, corrects within its family, and gives the verdict.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd

from selfdistill.claims.ledger import Ledger
from selfdistill.claims.selection import PlannedArm, PlannedPart, step_at
from selfdistill.statistics import Arm, Comparison, compare, holm, sign_flip
from selfdistill.vocabulary.runs import RUN_FIELDS, RUN_KEY

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN = "reproduced", "not reproduced", "inconclusive", "not run"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN)
TRAINING_WINDOW = 5
"""Number of last steps of a run whose rollouts form the benchmark `training`."""
ROLLOUT_COLUMNS = ("step", "problem_id", "score", "response_tokens")
"""What `rollouts_as_samples` needs of the rollouts."""
_NAN = math.nan


@dataclass(frozen=True)
class PartResult:
    """One effect with its interval, p values and verdict; NaN and 0 if it was not run.

    p_for, p_against: one-sided, for an effect within and outside the claimed bounds; p_flip: two-sided sign-flip
    test of the effect against 0, NaN if the arms are not paired; seeds, n_problems, k: smallest over the arms.
    """

    part: PlannedPart
    verdict: str = NOT_RUN
    reason: str = ""
    effect: float = _NAN
    low: float = _NAN
    high: float = _NAN
    p_for: float = _NAN
    p_against: float = _NAN
    p_flip: float = _NAN
    estimates: tuple[float, ...] = ()
    n_problems: int = 0
    k: int = 0
    seeds: int = 0


@dataclass(frozen=True)
class ClaimResult:
    """A claim's verdict with the corrected p values behind it, and its parts."""

    name: str
    verdict: str
    reason: str
    p_for: float = _NAN
    p_against: float = _NAN
    parts: tuple[PartResult, ...] = field(default=())

    @property
    def tested(self) -> list[PartResult]:
        """Return the parts that count for the verdict and were run."""
        return [result for result in self.parts if result.part.counts and result.verdict != NOT_RUN]


class Frames:
    """The samples, section 3 samples and rollouts (as samples) of a study, selected by arm."""

    def __init__(self, samples: pd.DataFrame, section_3: pd.DataFrame, rollouts: pd.DataFrame) -> None:
        self._of = {"section-3": self._grouped(section_3), "training": self._grouped(rollouts)}
        self._samples = self._grouped(samples)

    @staticmethod
    def _grouped(frame: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
        """Return run fields (without seed) -> rows."""
        if frame.empty:
            return {}
        return {tuple(map(str, key)): rows for key, rows in frame.groupby(list(RUN_KEY), observed=True)}

    def rows(self, arm: PlannedArm) -> pd.DataFrame:
        """Return the rows of an arm at its step; raise LookupError if there are none."""
        groups = self._of.get(arm.benchmarks[0], self._samples)
        rows = groups.get(tuple(arm.run[name] for name in RUN_KEY))
        if rows is None:
            raise LookupError(f"no samples of {'/'.join(arm.run.values())}")
        if arm.benchmarks[0] in self._of:
            return rows
        rows = rows[rows["step"] == step_at(rows["step"].unique(), arm.step)]
        return rows[rows["benchmark"].isin(arm.benchmarks)]


def rollouts_as_samples(
    rollouts: pd.DataFrame, run: Mapping[str, object], threshold: float = 0.5
) -> pd.DataFrame:
    """Return the rollouts of a run's last TRAINING_WINDOW steps, in the columns that an estimate reads.

    rollouts: ROLLOUT_COLUMNS of one run's record; run: its fields; threshold: smallest score that
    counts as correct.
    """
    last = rollouts[rollouts["step"] > rollouts["step"].max() - TRAINING_WINDOW]
    return pd.DataFrame(
        {
            **{name: run[name] for name in RUN_FIELDS},
            "step": int(last["step"].max()),
            "benchmark": "training",
            "problem_id": last["problem_id"].to_numpy(),
            "sample_index": last.groupby("problem_id").cumcount().to_numpy(),
            "correct": (last["score"] >= threshold).to_numpy(),
            "response_tokens": last["response_tokens"].to_numpy(),
        }
    )


def judge_part(part: PlannedPart, frames: Frames, alpha: float) -> PartResult:
    """Return the effect of one part and its verdict on the claim."""
    if part.missing:
        return PartResult(part, reason=part.missing)
    try:
        arms = [Arm(frames.rows(arm), arm.weight) for arm in part.arms]
        found = compare(arms, part.metric, relative=part.relative)
    except (LookupError, ValueError) as error:
        return PartResult(part, reason=str(error))
    if math.isnan(found.low):
        return PartResult(
            part, reason="no interval: a single problem, or a reference of 0", effect=found.effect
        )
    p_for, p_against = p_values(found, part.above, part.below)
    return PartResult(
        part,
        verdict=verdict_of(p_for, p_against, alpha),
        effect=found.effect,
        low=found.low,
        high=found.high,
        p_for=p_for,
        p_against=p_against,
        p_flip=sign_flip(arms, part.metric) if len(arms) == 2 and not part.relative else _NAN,
        estimates=found.estimates,
        n_problems=found.n_problems,
        k=found.k,
        seeds=found.n_seeds,
    )


def p_values(found: Comparison, above: float | None, below: float | None) -> tuple[float, float]:
    """Return one-sided p values for an effect within the bounds (the larger) and outside (the smaller, Bonferroni)."""
    inside, outside = [], []
    if above is not None:
        inside.append(found.p_above(above))
        outside.append(found.p_below(above))
    if below is not None:
        inside.append(found.p_below(below))
        outside.append(found.p_above(below))
    return max(inside), min(1.0, len(outside) * min(outside))


def verdict_of(p_for: float, p_against: float, alpha: float) -> str:
    """Return the verdict of two one-sided p values, each tested at level alpha / 2."""
    if p_for <= alpha / 2:
        return REPRODUCED
    return NOT_REPRODUCED if p_against <= alpha / 2 else INCONCLUSIVE


def joined(results: Sequence[PartResult]) -> tuple[float, float]:
    """Return the p values of a claim: for it, all parts must hold; against it, one failing part is enough (Bonferroni)."""
    if not results:
        return _NAN, _NAN
    return (
        max(result.p_for for result in results),
        min(1.0, len(results) * min(result.p_against for result in results)),
    )


def judge_claims(ledger: Ledger, parts: Sequence[PartResult]) -> list[ClaimResult]:
    """Return the verdict on every claim, in the ledger's order, with Holm's correction within each family."""
    own = {name: tuple(result for result in parts if result.part.claim == name) for name in ledger.claims}
    raw = {name: joined(ClaimResult(name, "", "", parts=results).tested) for name, results in own.items()}
    corrected: dict[str, tuple[float, float]] = {}
    for family in ledger.families:
        names = [name for name, claim in ledger.claims.items() if claim.family == family]
        sides = [holm([raw[name][side] for name in names]) for side in (0, 1)]
        corrected |= dict(zip(names, zip(*sides, strict=True), strict=True))
    return [claim_result(ledger, name, own[name], corrected[name]) for name in ledger.claims]


def claim_result(
    ledger: Ledger, name: str, parts: tuple[PartResult, ...], corrected: tuple[float, float]
) -> ClaimResult:
    """Return the verdict on one claim and its reason."""
    p_for, p_against = (float(value) for value in corrected)
    result = ClaimResult(name, NOT_RUN, "", p_for, p_against, parts)
    if not result.tested:
        reasons = dict.fromkeys(one.reason for one in parts if one.part.counts and one.reason)
        reason = ledger.claims[name].not_run or "; ".join(reasons)
        return ClaimResult(name, NOT_RUN, reason, parts=parts)
    counted = [one for one in parts if one.part.counts]
    held = sum(one.verdict == REPRODUCED for one in result.tested)
    reason = f"{held} of {len(result.tested)} parts hold"
    verdict = verdict_of(p_for, p_against, ledger.alpha)
    if left_out := len(counted) - len(result.tested):
        reason += f", {left_out} not run"
        verdict = INCONCLUSIVE if verdict == REPRODUCED else verdict
    return ClaimResult(name, verdict, reason, p_for, p_against, parts)


def as_record(ledger: Ledger, study: str, results: Sequence[ClaimResult]) -> dict:
    """Return the ledger of a study as the plain values of claims.json (NaN as null)."""

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
        verdict = {
            name: getattr(result, name) for name in ("name", "verdict", "reason", "p_for", "p_against")
        }
        parts = [part_record(one) for one in result.parts]
        claims.append(plain({**verdict, **facts, "parts": parts}))
    return {"study": study, "alpha": ledger.alpha, "families": ledger.families, "claims": claims}


def part_record(result: PartResult) -> dict:
    """Return one part as plain values: the fields of its plan and of its result."""
    values = asdict(result)
    return values.pop("part") | values
