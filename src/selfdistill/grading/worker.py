"""The process that may hang: math-verify on one prediction and one gold answer, JSON lines over pipes.

Started by `selfdistill.grading.graders` as `python -P -m selfdistill.grading.worker TIMEOUT`; never imported by it,
because this module is the only one that loads math-verify and sympy. Protocol: the worker writes `{"ready":
true}` once its imports are done, then answers each line `{"prediction": ..., "gold": ...}` with `{"outcome":
"correct" | "wrong" | "error"}`. It ends when its input closes. A signal alarm *without* a Python handler ends
it from the kernel even inside C code, so a worker whose parent was killed does not stay behind.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import warnings
from typing import Any

MEMORY_LIMIT = 2 * 1024**3
"""Bytes of address space; a huge power would otherwise take the machine's memory before its time is up."""
ALARM_GRACE = 1.0
"""Seconds past the timeout at which the kernel ends a worker that its parent has not ended."""


def parse_answer(text: str) -> list[Any]:
    """Parse one answer, without time limit, into math-verify's list: expressions, then the bare string."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    boxed = "\\boxed{" + text + "}"
    return parse(boxed, extraction_config=targets, parsing_timeout=None, raise_on_error=True)


def compare(prediction: str, gold: str) -> str:
    """Outcome of one comparison: `correct`, `wrong`, or `error` if the prediction cannot be read or compared.

    A prediction that stays a bare string is an error only where the gold answer is an expression; two strings
    compare.
    """
    from math_verify import verify

    expected, given = parse_answer(gold), parse_answer(prediction)
    try:
        correct = verify(expected, given, timeout_seconds=None, raise_on_error=True)
    except Exception:  # noqa: BLE001 (whatever sympy raises)
        # One reading of the answers could not be compared; another one may still agree.
        correct = verify(expected, given, timeout_seconds=None)
        return "correct" if correct else "error"
    if correct:
        return "correct"
    unreadable = all(isinstance(item, str) for item in given)
    return "error" if unreadable and not all(isinstance(item, str) for item in expected) else "wrong"


def answer(request: dict[str, str], timeout: float) -> dict[str, str]:
    """Answer one request under the alarm; anything that sympy raises is the outcome `error` with its kind."""
    signal.setitimer(signal.ITIMER_REAL, timeout + ALARM_GRACE)
    try:
        return {"outcome": compare(request["prediction"], request["gold"])}
    except Exception as error:  # noqa: BLE001 (a counted outcome, with its kind)
        return {"outcome": "error", "detail": type(error).__name__}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Serve requests from standard input until it closes, with what libraries print kept off the replies."""
    timeout = float(sys.argv[1])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    compare(
        "\\frac{1}{2}", "0.5"
    )  # loads and warms the parsers, so that no answer pays for it with its timeout
    replies.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        replies.write(json.dumps(answer(json.loads(line), timeout)) + "\n")


if __name__ == "__main__":
    main()
