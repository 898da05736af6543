"""The ratio of word shifts as a contrast of samples: equal to the mean absolute shifts of Fig. 12."""

import numpy as np
import pandas as pd
import pytest

from selfdistill.claims.judge import Frames, judge_parts
from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import plan_claims
from selfdistill.grading.epistemic import frequency_shift
from selfdistill.report import word_shifts as module
from selfdistill.report.word_shifts import with_columns, word_shifts
from selfdistill.study.load import load_study


def responses_of(run: dict[str, str], wait: float, so: float, also: float) -> pd.DataFrame:
    """Responses of three draws, 30 problems and 2 samples, with these mean counts of three words."""
    generator = np.random.default_rng(int(100 * wait + 10 * so + also))
    grid = (
        pd.MultiIndex.from_product(
            [range(3), [f"p{n}" for n in range(30)], range(2)], names=["seed", "problem_id", "sample_index"]
        )
        .to_frame(index=False)
        .assign(replicate=0)
    )

    def text() -> str:
        counts = generator.poisson([wait, so, also])
        return " ".join(
            word for word, count in zip(("Wait,", "so", "also."), counts, strict=True) for _ in range(count)
        )

    return grid.assign(
        **run,
        replicate=0,
        step=0,
        benchmark="paired",
        response=[text() for _ in range(len(grid))],
        correct=True,
        response_tokens=9,
    )


def test_the_claim_tests_the_ratio_of_mean_absolute_shifts(monkeypatch):
    mini = load_study("config/mini.yaml", seeds=[0, 1, 2])
    parts = [
        one
        for one in plan_claims(load_ledger("config/claims.yaml"), mini)
        if one.claim == "C8" and one.clause == "c"
    ]
    (part,) = [one for one in parts if one.counts]
    trained, base = part.arms[0].run, part.arms[1].run
    texts = {"base": responses_of(base, 12, 4, 3), "sdpo": responses_of(trained, 2, 5, 1)}
    paths = [f"results/mini/runs/{'/'.join(run.values())}/seed-0/samples.parquet" for run in (trained, base)]
    monkeypatch.setattr(
        module, "responses_of", lambda own, benchmark: texts["base" if "/base/" in own[0] else "sdpo"]
    )
    samples = pd.concat(texts.values(), ignore_index=True).drop(columns="response")
    frame = with_columns(samples, word_shifts(parts, paths))
    assert len(frame) == len(samples)
    (found,) = judge_parts([part], Frames(frame, pd.DataFrame(), pd.DataFrame()), 0.05)
    shift = frequency_shift(texts["base"], texts["sdpo"])
    size = shift["shift"].abs().groupby(shift["is_epistemic"]).mean()
    assert found.effect == pytest.approx(size[True] / size[False])
    assert found.low < found.effect < found.high
    assert found.estimates[0] < 0, "SDPO writes fewer"


def test_samples_stay_as_they_are_if_no_claim_asks():
    frame = pd.DataFrame({"x": [1]})
    assert with_columns(frame, word_shifts([], [])) is frame
