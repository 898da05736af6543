"""Grading stored samples again, and the shares of outcomes that captions and `make status` show."""

import pandas
import pytest

from selfdistill.grading.graders import Grader
from selfdistill.problems.problem import Problem
from selfdistill.records.outcomes import BOUNDS, outcome_sentence, outcome_shares, outcome_warnings
from selfdistill.records.schemas import FAILED_OUTCOMES, OUTCOMES
from selfdistill.sampling.regrading import numbers_of, problems_by_id, regrade
from selfdistill.vocabulary.runs import Run

RUN = Run("m", "grpo", "none", "none", "chain", "full", "default", 0, 0).fields()
STORED = [
    ("boxes", "a", r"so \boxed{5}", True, "correct"),
    ("boxes", "b", r"\boxed{7} " + "and so on " * 12, True, "correct"),
    ("boxes", "b", r"\boxed{6}", True, "correct"),
    ("letters", "c", "<answer>B</answer>", False, "wrong"),
]


def samples():
    """Four stored samples, of which three are graded otherwise by `authors-reward`."""
    names = ["benchmark", "problem_id", "response", "correct", "outcome"]
    frame = pandas.DataFrame(STORED, columns=names).assign(**RUN, step=3)
    return frame.assign(sample_index=range(len(frame)))


def problems():
    """Their problems, by benchmark."""
    boxed = [Problem(name, "boxes", "t", f"{name}?", (answer,)) for name, answer in (("a", "5"), ("b", "7"))]
    letter = Problem("c", "letters", "t", "c?", ("B",), '{"grading": "mcq"}')
    return {"boxes": problems_by_id(boxed), "letters": problems_by_id([letter])}


def test_samples_are_graded_again_by_another_grader_and_each_benchmark_by_its_kind():
    with Grader("authors-reward") as grader:
        graded = regrade(samples(), problems(), grader)
    assert graded["new_correct"].tolist() == [True, False, False, True]
    assert graded["new_outcome"].tolist() == ["correct", "no_answer", "wrong", "correct"]
    numbers = numbers_of(graded).set_index("benchmark")
    assert numbers.loc["boxes", ["responses", "accuracy", "new_accuracy", "changed"]].tolist() == [
        3,
        1.0,
        1 / 3,
        2,
    ]
    assert numbers["difference"].tolist() == pytest.approx([-2 / 3, 1.0])


def test_a_sample_of_an_unknown_problem_is_an_error():
    with Grader() as grader, pytest.raises(KeyError, match="a"):
        regrade(samples(), {"boxes": {}, "letters": {}}, grader)


def test_shares_are_of_all_outcomes_and_are_said_in_a_sentence():
    shares = outcome_shares(
        pandas.Series(["correct", "wrong", "timeout", "correct"]), pandas.Series([True, False, False, False])
    )
    assert shares == dict.fromkeys(OUTCOMES, 0.0) | {
        "correct": 0.5,
        "wrong": 0.25,
        "timeout": 0.25,
        "truncated": 0.25,
    }
    assert outcome_sentence(shares) == (
        "Of all responses 25.0 % timed out in grading, 25.0 % truncated; none of the other outcomes of grading."
    )


def test_a_share_above_its_bound_is_a_warning(tmp_path):
    file = tmp_path / "samples.parquet"
    pandas.DataFrame({"outcome": ["correct"] * 50 + ["timeout"]}).to_parquet(file)
    assert outcome_warnings([str(file), str(tmp_path / "missing.parquet")]) == [
        f"{file}: 2.0 % timeout (bound 1 %)"
    ]
    pandas.DataFrame({"outcome": ["correct"] * 500 + ["timeout"]}).to_parquet(file)
    assert outcome_warnings([str(file)]) == []
    assert set(BOUNDS) == set(FAILED_OUTCOMES)
