"""Stored samples graded again, by another grader and without a model."""

from collections.abc import Mapping, Sequence

import pandas as pd

from selfdistill.grading.answers import Grade
from selfdistill.grading.graders import Grader, grader_for
from selfdistill.problems.problem import Problem
from selfdistill.vocabulary.runs import RUN_FIELDS

NUMBER = [*RUN_FIELDS, "step", "benchmark"]
"""What a number (the accuracy of a run at a step on a benchmark) is named by."""


def problems_by_id(problems: Sequence[Problem]) -> dict[str, Problem]:
    """Return problems by their id."""
    return {problem.problem_id: problem for problem in problems}


def regrade(
    samples: pd.DataFrame, problems: Mapping[str, Mapping[str, Problem]], grader: Grader
) -> pd.DataFrame:
    """Return the run fields, step and benchmark of samples with `correct` and `outcome`, as stored and (`new_`) graded again.

    problems: benchmark -> problem id -> problem. Raises KeyError where the problem of a sample is not known.
    """
    columns = [*NUMBER, "problem_id", "sample_index", "correct", "outcome"]
    frame = samples[columns].assign(new_correct=False, new_outcome="")
    for name, rows in samples.groupby("benchmark", observed=True):
        asked = [problems[name][problem] for problem in rows["problem_id"]]
        grades = _graded(rows["response"].tolist(), asked, grader)
        frame.loc[rows.index, "new_correct"] = [grade.correct for grade in grades]
        frame.loc[rows.index, "new_outcome"] = [grade.outcome for grade in grades]
    return frame


def _graded(responses: Sequence[str], problems: Sequence[Problem], grader: Grader) -> list[Grade]:
    chosen = grader_for((problem.grading for problem in problems), grader)
    return chosen.grade(responses, [problem.answers for problem in problems])


def numbers_of(graded: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of every run, step and benchmark, stored and new, with the number of responses that changed."""
    changed = graded.assign(changed=graded["correct"] != graded["new_correct"])
    groups = changed.groupby(NUMBER, sort=False, observed=True)
    found = groups.agg(
        responses=("correct", "size"),
        accuracy=("correct", "mean"),
        new_accuracy=("new_correct", "mean"),
        changed=("changed", "sum"),
    )
    return found.assign(difference=found["new_accuracy"] - found["accuracy"]).reset_index()
