"""Multiple choice, the reward of the narrow domain (paper.md 4.4): the letter between the last answer tags."""

import pytest

from selfdistill.grading.graders import Grader
from selfdistill.grading.mcq import extract
from selfdistill.problems.problem import Problem
from selfdistill.sampling.evaluation import grade_by_kind
from selfdistill.training.rewards import reward_for

CASES = {
    "plain": ("<reasoning>\n…\n</reasoning>\n<answer>\nB\n</answer>", "B", "correct"),
    "other letter": ("<answer>A</answer>", "A", "wrong"),
    "the last one counts": ("<answer>B</answer> no, <answer>C</answer>", "C", "wrong"),
    "an earlier wrong one does not": ("<answer>A</answer> wait <answer>B</answer>", "B", "correct"),
    "more than the letter": ("<answer>B: 18</answer>", "B: 18", "wrong"),
    "lower case": ("<answer>b</answer>", "b", "wrong"),
    "never closed": ("<answer>B", "B", "correct"),
    "last never closed": ("<answer>A</answer> or <answer>B", "B", "correct"),
    "never opened": ("B</answer>", "B", "correct"),
    "bare": (" B\n", "B", "correct"),
    "no tags": ("The answer is B.", None, "no_answer"),
    "a box is no answer here": ("\\boxed{B}", None, "no_answer"),
    "empty": ("<answer> </answer>", "", "no_answer"),
}


@pytest.mark.parametrize(("response", "extracted", "outcome"), CASES.values(), ids=CASES)
def test_letter_between_the_last_answer_tags(response, extracted, outcome):
    (grade,) = Grader("mcq").grade([response], [("B",)])
    assert extract(response) == extracted
    assert grade == (extracted, outcome == "correct", outcome, "")
    assert grade.score == float(outcome == "correct")


def problem(grading: str) -> Problem:
    metadata = "{}" if grading == "boxed" else f'{{"grading": "{grading}"}}'
    return Problem(grading, "set", "set", "Which?", ("B",), metadata)


def test_problems_say_how_they_are_graded():
    texts = ["<answer>B</answer> \\boxed{C}"]
    with Grader() as grader:
        assert grade_by_kind(grader, texts, [problem("mcq")])[0].correct
        assert not grade_by_kind(grader, texts, [problem("boxed")])[0].correct
        assert reward_for([problem("mcq")] * 2, grader)(texts, [("B",)])[0].score == 1.0
        assert reward_for([problem("boxed")], grader) == grader.grade
        with pytest.raises(ValueError, match="one kind of grading.*boxed, mcq"):
            reward_for([problem("mcq"), problem("boxed")], grader)
        with pytest.raises(ValueError, match=r"one kind of grading \(boxed or mcq\), not boxed, mcq"):
            grade_by_kind(grader, texts * 2, [problem("mcq"), problem("boxed")])
