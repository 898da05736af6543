"""Grader `mcq`, multiple choice: the text between the answer tags is the option's letter (SDPO's mcq.py, paper.md 4.4).

The authors split at the last `<answer>` and then at `</answer>`; what is left where a tag is missing counts, so `<answer>B`,
`B</answer>` and a bare `B` are right.
"""

from __future__ import annotations

_OPEN, _CLOSE = "<answer>", "</answer>"


def extract(response: str) -> str | None:
    """Return the text between the last answer tags, stripped; without an opening tag only a single letter is an answer."""
    answer = response.split(_OPEN)[-1].split(_CLOSE)[0].strip()
    return answer if _OPEN in response or len(answer) == 1 else None


def decide(answer: str, gold: str) -> bool:
    """Return whether the answer is the letter."""
    return answer == gold


def compare(answer: str, gold: str) -> tuple[str, str]:
    """Return the outcome; never needed, since `decide` always knows it."""
    return ("correct" if decide(answer, gold) else "wrong"), ""
