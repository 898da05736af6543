"""The training reward: the grade of every response, of which the score is 1 for a right final answer and else 0 (paper.md 4.4)."""

from collections.abc import Callable, Sequence

from selfdistill.grading.answers import Grade
from selfdistill.grading.graders import Grader, grader_for
from selfdistill.problems.problem import Problem

Reward = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[Grade]]


def reward_for(problems: Sequence[Problem], grader: Grader) -> Reward:
    """Return the reward that a training set asks for; raises ValueError where it mixes kinds of grading."""
    return grader_for((problem.grading for problem in problems), grader).grade
