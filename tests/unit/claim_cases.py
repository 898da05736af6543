"""Samples, parts and results of claims, for the tests of the ledger's rule and of its pages."""

import numpy as np
import pandas as pd

from selfdistill.claims.judge import Frames, judge_parts
from selfdistill.claims.ledger import Ledger
from selfdistill.claims.selection import PlannedArm, PlannedPart
from selfdistill.claims.verdicts import PartResult, judge_claims, verdict_of
from selfdistill.vocabulary.runs import RUN_KEY

BASE = dict(zip(RUN_KEY, ("m", "base", "none", "none", "none", "none", "default"), strict=True))
SDPO = dict(zip(RUN_KEY, ("m", "sdpo", "solution", "fixed", "chain", "full", "default"), strict=True))


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


def part(metric: str = "accuracy", **bounds) -> PlannedPart:
    """SDPO minus base on the benchmark `ood`."""
    arms = (PlannedArm(SDPO, ("ood",), 1.0, 1.0), PlannedArm(BASE, ("ood",), 1.0, -1.0))
    return PlannedPart("C5", "a part", "deepseek", metric, "ood", arms, drawn=True, **bounds)


def judged(chance: float, base: float = 0.5, **bounds) -> PartResult:
    frame = pd.concat([samples(SDPO, chance, steps=(10, 20)), samples(BASE, base)])
    return judge_one(part(**bounds), frame)


def judge_one(one: PlannedPart, frame: pd.DataFrame) -> PartResult:
    """The result of a part that is alone in its ledger."""
    return judge_parts([one], Frames(frame, pd.DataFrame(), pd.DataFrame()), 0.05)[0]


def part_of(name: str, p_for: float, p_against: float = 1.0, clause: str = "") -> PartResult:
    """A part of a claim with these p values."""
    one = PlannedPart(name, "x", "m", "accuracy", "ood", below=0.0, clause=clause)
    return PartResult(one, verdict_of(p_for, p_against, 0.05), p_for=p_for, p_against=p_against)


def claims_of(ledger: Ledger, *parts: PartResult) -> dict:
    """The results of the claims by name."""
    return {claim.name: claim for claim in judge_claims(ledger, parts)}
