"""The training reward: 1 for a right final answer, else 0 (authors' rule, paper.md 4.4)."""

from collections.abc import Callable, Sequence

from selfdistill.grading import Grader

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
