"""Hints on the answer of a chain: words that the pre-training documents of the organism and the contexts `hint-*` share."""

from collections.abc import Sequence

from selfdistill.seeds import derive_seed

MODULUS = 13
"""Answers of the mini task are integers from 0 to 12."""


def parity(answer: int) -> str:
    """Return `odd` or `even`."""
    return "odd" if answer % 2 else "even"


def half(answer: int) -> str:
    """Return in which half of the range 0 to 12 the answer is: `high` (7 to 12) or `low`."""
    return "high" if answer > MODULUS // 2 else "low"


def hinted_answer(question: str, answers: Sequence[str]) -> int:
    """Return the right answer that the hints on a question are about, one of several by a draw from the question.

    Raise ValueError if it is no integer from 0 to 12.
    """
    answer = answers[derive_seed(0, "hint", question) % len(answers)]
    if not answer.isdecimal() or int(answer) >= MODULUS:
        raise ValueError(f"hints need answers from 0 to {MODULUS - 1}, not {answer!r} (question: {question})")
    return int(answer)
