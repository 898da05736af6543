"""The process that may hang: the comparison of one grader on one answer and one gold answer, JSON lines over pipes.

Started by `pool` as `python -P -m selfdistill.grading.worker MODULE SECONDS`; never imported by it, because math-verify and sympy
are loaded here only. Protocol: the worker writes `{"ready": true}` once its imports are done, then answers each line `{"answer":
…, "gold": …}` with `{"outcome": …, "detail": …}`. It ends when its input closes. A timer of *processor* time without a Python
handler ends it from the kernel even inside C code, so the outcome does not depend on what else the machine does, and a worker
whose parent was killed does not stay behind.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import signal
import sys
import warnings
from types import ModuleType

MEMORY_LIMIT = 2 * 1024**3
"""Bytes of address space; a huge power would otherwise take the machine's memory before its time is up."""


def reply(rules: ModuleType, request: dict[str, str], seconds: float) -> dict[str, str]:
    """Return the answer to one request under the timer; what a comparison raises is an `error` with its kind."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        outcome, detail = rules.compare(request["answer"], request["gold"])
        return {"outcome": outcome, "detail": detail}
    except Exception as error:  # noqa: BLE001 (a counted outcome, with its kind)
        return {"outcome": "error", "detail": type(error).__name__}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    """Serve requests from standard input until it closes, with what libraries print kept off the replies."""
    rules, seconds = importlib.import_module(sys.argv[1]), float(sys.argv[2])
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    # loads and warms the parsers, so that no answer pays for it with its time
    rules.compare(r"x^{2}-\frac{1}{2}", r"-0.5+x^2")
    replies.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        replies.write(json.dumps(reply(rules, json.loads(line), seconds)) + "\n")


if __name__ == "__main__":
    main()
