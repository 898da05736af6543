r"""Grader `strict`, this project's own: the last box, read whole, compared by its meaning (docs/grading.md)."""

from __future__ import annotations

from selfdistill.grading.answers import extract_answer, integers_equal

extract = extract_answer
decide = integers_equal


def compare(answer: str, gold: str) -> tuple[str, str]:
    """Return outcome and detail of a comparison that takes algebra."""
    from selfdistill.grading.compare import verdict

    return verdict(answer, gold)
