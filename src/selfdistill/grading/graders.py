r"""Grading: the answer in the last \boxed{...} against the accepted ones (paper.md 4.4, 4.5).

Used by the training reward (`tail_chars=100`, as the authors) and by evaluation. The order is: exact string
after light normalisation, whole numbers and option letters in plain Python, then math-verify in worker
processes that are started only when an answer needs them and killed when they overrun. Nothing is silently
false: an answer ends as one of `correct | wrong | no_answer | timeout | error`.

The workers are plain subprocesses, not `multiprocessing` children: a spawned child would import `__main__`
again, which under Snakemake is the temporary script of the rule, and a forked one would copy a training
process with its accelerator context.

DEVIATION: the authors evaluate with a Qwen2.5-Math comparison and train with math-verify; this study uses
math-verify for both.
DEVIATION: math-verify reads "2 3" as the mixed number 2 + 3; here several whole numbers in one box never
equal one number, since a model under training would find that reading.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

logger = logging.getLogger(__name__)

OUTCOMES: tuple[str, ...] = ("correct", "wrong", "no_answer", "timeout", "error")
START_TIMEOUT = 120.0
"""Seconds that a worker may take to import math-verify; past that the installation is broken."""

Pair = tuple[str, str]
"""(normalised prediction, normalised gold answer)."""

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_OPENING = re.compile(r"\\boxed\s*\{")
_MATH_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
# Bounded: int() refuses thousands of digits, and agreement with math-verify is tested up to this length.
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_SEVERAL_INTEGERS = re.compile(r"[+-]?[0-9]+(?:\s+[+-]?[0-9]+)+")
_GROUPED_INTEGER = re.compile(r"[+-]?[0-9]{1,3}(?:\s[0-9]{3})+")
_LETTER = re.compile(r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{\s*)?\(?([A-J])\)?\s*\}?\.?")


class Grade(NamedTuple):
    """Verdict on one response: the answer found (None without a box), whether it is right, the outcome."""

    extracted: str | None
    correct: bool
    outcome: str


def extract_answer(text: str, tail_chars: int | None = None) -> str | None:
    r"""Content of the last \boxed{...} with balanced braces, stripped; None without one or if never closed.

    Escaped braces (`\{`) are content. `tail_chars` limits the search to the end of the text (training reward:
    100). An unclosed last box hides earlier ones, as in the authors' reward: the response was cut while
    answering.
    """
    tail = text if tail_chars is None else text[-tail_chars:]
    end = len(tail)
    while (start := tail.rfind("\\boxed", 0, end)) >= 0:
        opening = _OPENING.match(tail, start)
        if opening:
            return _balanced(tail, opening.end())
        end = start
    return None


def _balanced(text: str, start: int) -> str | None:
    """Text from `start` to the brace that closes the one just before it, or None."""
    depth = 1
    for match in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start : match.start()].strip()
    return None


_ANSWER_OPEN, _ANSWER_CLOSE = "<answer>", "</answer>"


def extract_letter(text: str) -> str | None:
    """Text between the last <answer> and the </answer> after it, stripped; None without either.

    Source: SDPO's mcq.py (paper.md 4.4), the reward of the chemistry domain.
    """
    _, opened, rest = text.rpartition(_ANSWER_OPEN)
    answer, closed, _ = rest.partition(_ANSWER_CLOSE)
    return answer.strip() if opened and closed else None


def grade_letters(responses: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Grade]:
    """Grade multiple choice: right if the extracted text equals the option's letter, nothing else.

    Raises ValueError if the lengths differ.
    """
    grades = []
    for response, letters in zip(responses, answers, strict=True):
        extracted = extract_letter(response)
        correct = extracted in letters
        outcome = "no_answer" if not extracted else "correct" if correct else "wrong"
        grades.append(Grade(extracted, correct and bool(extracted), outcome))
    return grades


def normalise_answer(answer: str) -> str:
    """Strip white space and one pair of math delimiters; nothing that could change the meaning."""
    answer = answer.strip()
    for left, right in _MATH_DELIMITERS:
        if len(answer) > len(left) + len(right) and answer.startswith(left) and answer.endswith(right):
            return answer[len(left) : -len(right)].strip()
    return answer


def exact_verdict(prediction: str, gold: str) -> bool | None:
    """Decide a normalised pair without computer algebra, or None if that takes math-verify.

    Decided are: equal strings, two whole numbers, two option letters A-J (bare, in parentheses, in a text
    command), and several whole numbers against one (see the module's second DEVIATION; digits grouped by
    thousands are one number).
    """
    if prediction == gold:
        return True
    if _INTEGER.fullmatch(gold):
        if _INTEGER.fullmatch(prediction):
            return int(prediction) == int(gold)
        if _SEVERAL_INTEGERS.fullmatch(prediction):
            grouped = _GROUPED_INTEGER.fullmatch(prediction) is not None
            return grouped and "".join(prediction.split()) == gold
    letters = _LETTER.fullmatch(prediction), _LETTER.fullmatch(gold)
    if letters[0] and letters[1]:
        return letters[0].group(1) == letters[1].group(1)
    return None


class _Worker:
    """One `selfdistill.grading.worker` process and the request that it is working on."""

    def __init__(self, timeout: float) -> None:
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        # -P: the working directory must not shadow modules. A session of its own: an interrupt is the
        # parent's business.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "selfdistill.grading.worker", str(timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.timeout = timeout
        self.pair: Pair | None = None
        self.deadline = 0.0

    def await_ready(self) -> None:
        """Block until the worker has imported math-verify. Raises RuntimeError if it does not get there."""
        started = wait([self.process.stdout], START_TIMEOUT) and self.process.stdout.readline()
        if not started:
            self.end()
            raise RuntimeError(
                "the grading worker did not start: is math-verify installed? Its error is on stderr"
            )

    def submit(self, pair: Pair) -> None:
        """Send one pair and start its clock."""
        self.pair, self.deadline = pair, time.monotonic() + self.timeout
        prediction, gold = pair
        try:
            self.process.stdin.write(json.dumps({"prediction": prediction, "gold": gold}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It died while idle; collect() then reads the end of its output and reports the pair as an error.
            logger.warning("grading worker %d died while idle", self.process.pid)

    def collect(self, readable: bool) -> str | None:
        """Outcome of the current pair, or None while it is worked on. An overrunning worker is killed."""
        if not readable:
            if time.monotonic() < self.deadline:
                return None
            self.end()
            return "timeout"
        if line := self.process.stdout.readline():
            return json.loads(line)["outcome"]
        # Its output closed without a reply: the kernel's alarm or memory limit ended it, or it crashed.
        self.end(grace=1.0)
        return "timeout" if self.process.returncode == -signal.SIGALRM else "error"

    @property
    def alive(self) -> bool:
        """Whether the process can take a request."""
        return self.process.poll() is None

    def end(self, grace: float = 0.0) -> None:
        """Kill the process unless it ends by itself within `grace` seconds, and free its pipes."""
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Grader:
    """Grades responses; a context manager that owns the worker processes.

    `workers` is the number of math-verify processes (started when first needed), `timeout` the seconds of
    wall time that one comparison may take, `tail_chars` the part of a response that may hold the answer
    (None: all of it). Every pair of prediction and gold answer is compared once in a grader's life, so a hang
    costs its timeout once.
    """

    def __init__(self, workers: int = 1, timeout: float = 5.0, tail_chars: int | None = None) -> None:
        if workers < 1 or timeout <= 0:
            raise ValueError(f"a grader needs workers >= 1 and timeout > 0, not {workers} and {timeout}")
        self.timeout = timeout
        self.tail_chars = tail_chars
        self._size = workers
        self._workers: list[_Worker] = []
        self._outcomes: dict[Pair, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; the cache stays, and a later call starts new ones."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def grade(self, responses: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Grade]:
        """Grade each response against its accepted answers (any one of them is right), in order.

        Raises ValueError if the lengths differ or a problem has no accepted answer, RuntimeError if
        math-verify is needed and cannot be started.
        """
        if len(responses) != len(answers):
            raise ValueError(f"{len(responses)} responses but {len(answers)} lists of answers")
        if not all(answers):
            raise ValueError("a problem without an accepted answer cannot be graded")
        extracted = [extract_answer(response, self.tail_chars) for response in responses]
        asked = list(zip(extracted, map(tuple, answers), strict=True))
        pairs = {each: _pairs(*each) for each in dict.fromkeys(asked)}
        self._decide(pairs.values())
        grades = {each: self._grade_one(each[0], own) for each, own in pairs.items()}
        return [grades[each] for each in asked]

    def _decide(self, responses: Iterable[list[Pair]]) -> None:
        """Fill the cache with these pairs; a response that is right already asks for no algebra."""
        undecided: dict[Pair, None] = {}
        for pairs in responses:
            for pair in pairs:
                if pair not in self._outcomes and (verdict := exact_verdict(*pair)) is not None:
                    self._outcomes[pair] = "correct" if verdict else "wrong"
            if not any(self._outcomes.get(pair) == "correct" for pair in pairs):
                undecided |= dict.fromkeys(pair for pair in pairs if pair not in self._outcomes)
        self._outcomes |= self._compare(deque(undecided))

    def _grade_one(self, extracted: str | None, pairs: list[Pair]) -> Grade:
        """Combine the outcomes of one response: right if any pair is, else its least certain outcome."""
        if not extracted:
            return Grade(extracted, False, "no_answer")
        outcomes = {self._outcomes.get(pair) for pair in pairs}
        outcome = next(name for name in ("correct", "timeout", "error", "wrong") if name in outcomes)
        return Grade(extracted, outcome == "correct", outcome)

    def _compare(self, queue: deque[Pair]) -> dict[Pair, str]:
        """Outcome of every queued pair from the worker processes, one pair at a time in each."""
        outcomes: dict[Pair, str] = {}
        while True:
            self._dispatch(queue)
            running = [worker for worker in self._workers if worker.pair]
            if not running:
                return outcomes
            pause = max(0.0, min(worker.deadline for worker in running) - time.monotonic())
            readable = wait([worker.process.stdout for worker in running], pause)
            for worker in running:
                outcome = worker.collect(worker.process.stdout in readable)
                if outcome:
                    outcomes[worker.pair], worker.pair = outcome, None

    def _dispatch(self, queue: deque[Pair]) -> None:
        """Replace dead workers, start as many as the queue can use, and give each idle one a pair."""
        # A dead worker that still has a pair is left for collect(), which counts the pair.
        dead = [worker for worker in self._workers if not worker.pair and not worker.alive]
        for worker in dead:
            worker.end()
        self._workers = [worker for worker in self._workers if worker not in dead]
        busy = sum(worker.pair is not None for worker in self._workers)
        missing = min(self._size, busy + len(queue)) - len(self._workers)
        started = [_Worker(self.timeout) for _ in range(missing)]
        self._workers += started
        for worker in started:
            worker.await_ready()
        for worker in self._workers:
            if queue and not worker.pair:
                worker.submit(queue.popleft())


def _pairs(extracted: str | None, golds: Sequence[str]) -> list[Pair]:
    """The comparisons of one response: its answer with each gold answer, normalised; none without one."""
    if not extracted:
        return []
    prediction = normalise_answer(extracted)
    return [(prediction, normalise_answer(gold)) for gold in golds]
