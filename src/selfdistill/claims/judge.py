"""Effects and intervals of a plan, from the samples; `verdicts` makes verdicts of them.

`judge_parts` compares the arms of every part, lets parts of like metric learn the variance of draws from each other, and tests
each against its bounds.
"""

import math
from collections.abc import Hashable, Mapping, Sequence

import pandas as pd

from selfdistill.claims.ledger import ROLLOUTS, TRAINING
from selfdistill.claims.linked import linked_runs
from selfdistill.claims.selection import Missing, PlannedArm, PlannedPart, step_at
from selfdistill.claims.verdicts import INCONCLUSIVE, NO_VERDICT, SINGLE, PartResult, p_values, verdict_of
from selfdistill.statistics import Arm, Comparison, NoContrast, compare, pooled
from selfdistill.vocabulary.interventions import NONE
from selfdistill.vocabulary.runs import RUN_FIELDS, RUN_KEY, SECTION_3

TRAINING_WINDOW = 5
"""Number of last steps of a run whose rollouts form the benchmark TRAINING."""
SUCCESS = 0.5
"""Smallest score of a rollout that counts as correct."""
ROLLOUT_COLUMNS = ("step", "problem_id", "score", "response_tokens")
"""What `rollouts_as_samples` needs of the rollouts."""


class Frames:
    """The samples, section 3 samples, rollouts (as samples) and samples under each intervention of a study, selected by arm."""

    def __init__(
        self,
        samples: pd.DataFrame,
        section_3: pd.DataFrame,
        rollouts: pd.DataFrame,
        interventions: Mapping[str, pd.DataFrame] | None = None,
    ) -> None:
        self._of = {
            SECTION_3: self._grouped(nested(section_3)),
            **dict.fromkeys(ROLLOUTS, self._grouped(nested(rollouts))),
        }
        self._samples = {
            name: self._grouped(rows) for name, rows in {NONE: samples, **(interventions or {})}.items()
        }

    @staticmethod
    def _grouped(frame: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
        """Return run fields (without seed) -> rows."""
        if frame.empty:
            return {}
        return {tuple(map(str, key)): rows for key, rows in frame.groupby(list(RUN_KEY), observed=True)}

    def rows(self, arm: PlannedArm) -> pd.DataFrame:
        """Return the rows of an arm at its step; raise Missing if there are none."""
        kind = arm.benchmarks[0]
        groups = self._of.get(kind, self._samples.get(arm.intervention, {}))
        rows = groups.get(tuple(arm.run[name] for name in RUN_KEY))
        if rows is None:
            under = "" if arm.intervention == NONE else f" under {arm.intervention}"
            raise Missing(f"no samples of {'/'.join(arm.run.values())}{under}")
        if kind in self._of:
            return rows[rows["benchmark"] == kind] if kind in ROLLOUTS else rows
        rows = rows[rows["step"] == step_at(rows["step"].unique(), arm.step)]
        return rows[rows["benchmark"].isin(arm.benchmarks)]


def nested(frame: pd.DataFrame) -> pd.DataFrame:
    """Return samples of training problems, which each replicate draws anew, with ids that tell its problems from others'."""
    if frame.empty:
        return frame
    return frame.assign(problem_id=frame["replicate"].astype(str) + "/" + frame["problem_id"].astype(str))


def rollouts_as_samples(
    rollouts: pd.DataFrame,
    run: Mapping[str, object],
    benchmark: str = TRAINING,
) -> pd.DataFrame:
    """Return the rollouts of a run, in the columns that an estimate reads.

    rollouts: ROLLOUT_COLUMNS of one run's record; run: its fields; benchmark: TRAINING for those of the last TRAINING_WINDOW
    steps, WHOLE_TRAINING for all. A score of at least SUCCESS counts as correct.
    """
    last = rollouts["step"].max()
    kept = rollouts[rollouts["step"] > last - TRAINING_WINDOW] if benchmark == TRAINING else rollouts
    return pd.DataFrame(
        {
            **{name: run[name] for name in RUN_FIELDS},
            "step": int(last),
            "benchmark": benchmark,
            "problem_id": kept["problem_id"].to_numpy(),
            "sample_index": kept.groupby("problem_id").cumcount().to_numpy(),
            "correct": (kept["score"] >= SUCCESS).to_numpy(),
            "response_tokens": kept["response_tokens"].to_numpy(),
        }
    )


def judge_parts(parts: Sequence[PlannedPart], frames: Frames, alpha: float) -> list[PartResult]:
    """Return the effect of every part and its verdict on the claim."""
    results = {place: effect_of(part, frames) for place, part in enumerate(parts)}
    found = {place: one for place, one in results.items() if isinstance(one, Comparison)}
    like: dict[tuple[str, bool], list[int]] = {}
    for place in found:
        like.setdefault(pool_of(parts[place]), []).append(place)
    for places in like.values():
        own = [found[place] for place in places]
        units = units_of([parts[place] for place in places], own)
        found |= dict(zip(places, pooled(own, units), strict=True))
    return [
        judged(part, found[place], alpha) if place in found else results[place]
        for place, part in enumerate(parts)
    ]


def effect_of(part: PlannedPart, frames: Frames) -> Comparison | PartResult:
    """Return the effect of one part by its own draws; a result with a reason if it has none."""
    if part.missing:
        return PartResult(part, reason=part.missing)
    try:
        arms = [Arm(frames.rows(arm), arm.weight, arm.over, arm.group, arm.metric) for arm in part.arms]
        found = compare(arms, part.metric)
    except (Missing, NoContrast) as error:
        return PartResult(part, reason=str(error))
    if math.isnan(found.low):
        return without_interval(part, found)
    return found


def drawn_once(part: PlannedPart, found: Comparison) -> bool:
    """Return whether the study drew what a part measures, and did so once. Section 3 has one draw per replicate, whatever the seeds."""
    return part.drawn and found.n_draws == 1


def without_interval(part: PlannedPart, found: Comparison) -> PartResult:
    """Return the result of a part that was run and has no interval: it speaks neither for nor against, and counts in Holm's correction."""
    reason = "no interval: a single problem, or a divisor that may be 0"
    if drawn_once(part, found):
        return PartResult(part, verdict=NO_VERDICT, reason=reason, effect=found.effect)
    return PartResult(
        part, verdict=INCONCLUSIVE, reason=reason, effect=found.effect, p_for=1.0, p_against=1.0
    )


def pool_of(part: PlannedPart) -> tuple[str, bool]:
    """Return what parts must have in common to learn from each other: kind of metric, and whether it is of section 3."""
    kind = "accuracy" if part.metric.startswith(("accuracy", "pass@")) else part.metric
    return "words" if kind.startswith(("epistemic", "substring")) else kind, part.benchmark == SECTION_3


def units_of(parts: Sequence[PlannedPart], found: Sequence[Comparison]) -> list[Hashable | None]:
    """Return what each part's draws belong to: with replicates the base, with seeds the linked runs; None for several bases."""
    by_seed = linked_runs(parts)
    return [
        (part.base or None) if one.drawn == "replicate" else runs
        for part, one, runs in zip(parts, found, by_seed, strict=True)
    ]


def judged(part: PlannedPart, found: Comparison, alpha: float) -> PartResult:
    """Return one part's result; without a verdict if what it measures was drawn once."""
    low, high = (float(end) for end in found.student.interval()[:, 0])
    values = {
        "effect": found.effect,
        "low": low,
        "high": high,
        "freedom": float(found.student.freedom[0]),
        "estimates": found.estimates,
        "n_problems": found.n_problems,
        "k": found.k,
        "replicates": found.n_replicates,
        "seeds": found.n_seeds,
    }
    if drawn_once(part, found):
        return PartResult(part, verdict=NO_VERDICT, reason=SINGLE, **values)
    p_for, p_against = p_values(found, part.above, part.below, part.margin)
    verdict = verdict_of(p_for, p_against, alpha)
    return PartResult(part, verdict=verdict, p_for=p_for, p_against=p_against, **values)
