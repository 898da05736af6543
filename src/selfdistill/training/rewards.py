"""The training reward: 1 for a right final answer, else 0 (authors' rule, paper.md 4.4)."""

from collections.abc import Callable, Sequence

from selfdistill.grading.graders import Grader, grade_letters
from selfdistill.problems.problem import Problem

TAIL_CHARS = 100
"""The authors look for the boxed answer in the last 100 characters of the response only."""

Reward = Callable[[Sequence[str], Sequence[Sequence[str]]], list[float]]


class BoxedAnswerReward:
    """Grades responses with a `Grader`; no format penalty, a timeout or an unreadable answer scores 0."""

    def __init__(self, grader: Grader) -> None:
        self.grader = grader

    def __call__(self, responses: Sequence[str], answers: Sequence[Sequence[str]]) -> list[float]:
        """Score of each response, given its right answers."""
        return [float(grade.correct) for grade in self.grader.grade(responses, answers)]


def letter_reward(responses: Sequence[str], answers: Sequence[Sequence[str]]) -> list[float]:
    """Multiple choice (the chemistry domain): 1 if the text between the answer tags is the right letter."""
    return [float(grade.correct) for grade in grade_letters(responses, answers)]


def reward_for(problems: Sequence[Problem], grader: Grader) -> Reward:
    """The reward that a training set asks for; raises ValueError where it mixes kinds of grading."""
    kinds = {problem.grading for problem in problems}
    if len(kinds) != 1:
        raise ValueError(f"a training set has one kind of grading, not {', '.join(sorted(kinds))}")
    return letter_reward if kinds == {"mcq"} else BoxedAnswerReward(grader)
