r"""What a grader says of a response, and where the answer stands in it: the last \boxed{…}.

Every grading ends in one of `OUTCOMES`; nothing is silently false.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from selfdistill.records.schemas import OUTCOMES

__all__ = ["MAX_ANSWER_CHARS", "OUTCOMES", "Grade", "balanced", "extract_answer", "integers_equal"]

MAX_ANSWER_CHARS = 1000
"""An answer that is longer is `too_long` and is not compared; the longest gold answer known has 65 characters."""

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOX = re.compile(
    r"\\(?:boxed|fbox|bbox)\s*(?:\[[^\]]*\]\s*)?\{|\\boxed\s*(?P<bare>[+-]?\d+(?:\.\d+)?)(?=\D|$)"
)
_DELIMITERS = re.compile(r"\s|\$|\\[()\[\]]|\\text|[{}]")
_JOINS = re.compile(r"[,;](?:and|or)?")


class Grade(NamedTuple):
    """Verdict on one response: the answer found (None without a box), whether it is right, the outcome and its reason."""

    extracted: str | None
    correct: bool
    outcome: str
    detail: str = ""

    @property
    def score(self) -> float:
        """Return the training reward of this verdict."""
        return float(self.correct)


def extract_answer(text: str) -> str | None:
    r"""Return what the last box of `text` holds, stripped; None without a box, or if the last one is never closed.

    A box is `\boxed`, `\fbox` or `\bbox` with balanced braces (`\{` is content), or `\boxed` before a bare number. An
    empty box (an echo of the prompt) counts only where there is no other. Boxes that follow each other with nothing but a
    comma (and "and" or "or" after it) between them are one answer, a list. An unclosed last box hides earlier ones: the response was cut
    while it answered.
    """
    boxes = list(_BOX.finditer(text))
    found, begin = None, len(text)
    for box in reversed(boxes):
        content = box["bare"] or balanced(text, box.end())
        if content is None and found is None:
            return None
        end = box.end() + (0 if box["bare"] else len(content or "") + 1)
        content = (content or "").strip()
        if found and (end > begin or not _JOINS.fullmatch(_DELIMITERS.sub("", text[end:begin]))):
            break
        found = _joined(content, found)
        begin = box.start() if content else begin
    return found


def _joined(content: str, found: str | None) -> str:
    """Return a box before the answer that is known so far, and that answer; equal ones once."""
    return content if not found or content == found else f"{content}, {found}" if content else found


def balanced(text: str, start: int) -> str | None:
    """Return the text from `start` to the brace that closes the one just before it, or None."""
    depth = 1
    for match in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start : match.start()]
    return None


# bounded: int() refuses thousands of digits, and agreement with the comparisons of every grader is tested up to this length
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def integers_equal(answer: str, gold: str) -> bool | None:
    """Return whether two plain whole numbers are equal, None where one of the texts is not one."""
    if answer == gold:
        return True
    if _INTEGER.fullmatch(answer) and _INTEGER.fullmatch(gold):
        return int(answer) == int(gold)
    return None
