"""The named graders, and `Grader`, which grades responses by one of them.

A grader is a module with three functions: `extract(response)` gives the answer or None, `decide(answer, gold)` whether it is
right where that takes no algebra (else None), and `compare(answer, gold)` outcome and detail, in a worker process that is killed
when it overruns. Their names are in `selfdistill.vocabulary.graders`.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from types import ModuleType, TracebackType
from typing import Self

from selfdistill.grading.answers import MAX_ANSWER_CHARS, Grade
from selfdistill.grading.pool import Pair, Pool, Verdict
from selfdistill.vocabulary.graders import grader_module

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds of processor time for one comparison."""


class Grader:
    """Grades responses by one of the named graders; a context manager that owns the worker processes.

    workers: processes at most; the cores of the job if not given. seconds: processor time that one comparison may take. Every
    pair of answer and gold answer is compared once in a grader's life, but one that timed out is tried again when it comes again.
    """

    def __init__(self, name: str = "strict", workers: int | None = None, seconds: float = TIMEOUT) -> None:
        workers = job_cores() if workers is None else workers
        if workers < 1 or seconds <= 0:
            raise ValueError(f"a grader needs workers >= 1 and seconds > 0, not {workers} and {seconds}")
        module = f"selfdistill.{grader_module(name)}"
        self.name = name
        self._rules: ModuleType = importlib.import_module(module)
        self._pool = Pool(module, workers, seconds)
        self._verdicts: dict[Pair, Verdict] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; what is known stays, and a later call starts new ones."""
        self._pool.close()

    def grade(self, responses: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Grade]:
        """Return the grade of each response against its accepted answers (any one of them is right), in order.

        Raises ValueError if the lengths differ or a problem has no accepted answer, RuntimeError if a worker cannot start.
        """
        if len(responses) != len(answers):
            raise ValueError(f"{len(responses)} responses but {len(answers)} lists of answers")
        if not all(answers):
            raise ValueError("a problem without an accepted answer cannot be graded")
        extracted = [self._rules.extract(response) for response in responses]
        asked = list(zip(extracted, map(tuple, answers), strict=True))
        pairs = {
            each: [(each[0], gold) for gold in each[1]] if each[0] else [] for each in dict.fromkeys(asked)
        }
        self._decide(pairs.values())
        grades = {each: self._combined(each[0], own) for each, own in pairs.items()}
        for pair in [pair for pair, found in self._verdicts.items() if found.outcome == "timeout"]:
            del self._verdicts[pair]
        found = [grades[each] for each in asked]
        log_failures(self.name, found)
        return found

    def _decide(self, responses: Iterable[list[Pair]]) -> None:
        """Find the verdicts on these pairs; a response that is right already asks for no algebra."""
        undecided: dict[Pair, None] = {}
        for pairs in responses:
            for pair in pairs:
                if pair not in self._verdicts and (known := self._without_algebra(pair)):
                    self._verdicts[pair] = known
            if not any(self._verdicts.get(pair) == ("correct", "") for pair in pairs):
                undecided |= dict.fromkeys(pair for pair in pairs if pair not in self._verdicts)
        self._verdicts |= self._pool.compare(undecided)

    def _without_algebra(self, pair: Pair) -> Verdict | None:
        """Return the verdict that takes no worker, or None."""
        decided = self._rules.decide(*pair)
        if decided is not None:
            return Verdict("correct" if decided else "wrong")
        return Verdict("too_long") if len(pair[0]) > MAX_ANSWER_CHARS else None

    def _combined(self, extracted: str | None, pairs: list[Pair]) -> Grade:
        """Combine the verdicts on one response: right if any pair is, else its least certain one."""
        if not extracted:
            return Grade(extracted, False, "no_answer")
        found = {verdict.outcome: verdict for pair in pairs if (verdict := self._verdicts.get(pair))}
        verdict = next(
            found[name] for name in ("correct", "timeout", "error", "too_long", "wrong") if name in found
        )
        return Grade(extracted, verdict.outcome == "correct", *verdict)


def grader_for(kinds: Iterable[str], chosen: Grader) -> Grader:
    """Return the grader of problems of one kind (`Problem.grading`): `mcq` for multiple choice, else the one that was chosen.

    Raises ValueError where kinds are mixed.
    """
    found = set(kinds)
    if len(found) != 1:
        raise ValueError(
            f"problems must have one kind of grading (boxed or mcq), not {', '.join(sorted(found))}"
        )
    return Grader("mcq") if found == {"mcq"} else chosen


def job_cores() -> int:
    """Return the cores of this job: the threads that numerical libraries may use (OMP_NUM_THREADS), one if that is not set."""
    return int(os.environ.get("OMP_NUM_THREADS", 1))


def log_failures(name: str, grades: Sequence[Grade]) -> None:
    """Log how many grades are no verdict on the answer's value, with the reasons."""
    failed = Counter(
        (grade.outcome, grade.detail) for grade in grades if grade.outcome not in ("correct", "wrong")
    )
    if failed:
        reasons = ", ".join(
            f"{count} {outcome}{f' ({why})' if why else ''}"
            for (outcome, why), count in failed.most_common(5)
        )
        logger.info("grader %s: of %d responses %s", name, len(grades), reasons)
