r"""Grader `authors-reward`: the authors' training reward (paper.md 4.4).

The last \boxed{…} within the last 100 characters; equal as a string, or equal for math-verify with its defaults, which reads the
*bare* text and takes what it finds in it: `x > 4` and `4\sqrt{2}` are 4, `\dfrac{9}{7}` is nothing.

DEVIATION: math-verify 0.9.0 for the authors' 0.8.0, and a limit of processor time for their alarm.
"""

from __future__ import annotations

from selfdistill.grading.answers import balanced, integers_equal

TAIL_CHARS = 100
_BOX = "\\boxed{"

decide = integers_equal


def extract(response: str) -> str | None:
    """Return the content of the last box that is whole within the tail, None without one."""
    tail = response[-TAIL_CHARS:]
    start = tail.rfind(_BOX)
    return balanced(tail, start + len(_BOX)) if start >= 0 else None


def compare(answer: str, gold: str) -> tuple[str, str]:
    """Return outcome and detail of math-verify's comparison of the bare texts."""
    from math_verify import parse, verify

    given, expected = parse(answer, parsing_timeout=None), parse(gold, parsing_timeout=None)
    if verify(expected, given, timeout_seconds=None):
        return "correct", ""
    return ("wrong", "") if given else ("error", "nothing found by math-verify")
