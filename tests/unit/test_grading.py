"""Grading: extraction, the exact path against math-verify, and workers that hang or die."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfdistill.grading.graders import Grade, Grader, exact_verdict, extract_answer, normalise_answer
from selfdistill.grading.worker import compare

HANG = "9^{9^{9}}"
"""Evaluated in C code that holds the interpreter: a Python signal handler would never run."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(timeout=30.0) as grader:
        yield grader


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{1} no, \boxed{ 2 }.", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}} done", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed { 7 }", "7"),
        (r"\boxed{3} and \boxed 4", "3"),
        (r"\boxed{3} then \boxed{\frac{1}{2}", None),
        (r"\boxed{}", ""),
        ("the answer is 5", None),
        ("", None),
    ],
)
def test_extract_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_tail_chars_limits_the_search_to_the_end() -> None:
    text = r"\boxed{5}" + "." * 95
    assert extract_answer(text) == "5"
    assert extract_answer(text, tail_chars=100) is None
    assert extract_answer(text, tail_chars=104) == "5"
    grades = Grader(tail_chars=100).grade([text, text + r"\boxed{6}"], [["5"], ["6"]])
    assert grades == [Grade(None, False, "no_answer"), Grade("6", True, "correct")]


@pytest.mark.parametrize(
    ("answer", "normal"), [(" $5$ ", "5"), (r"\( x \)", "x"), ("$$7$$", "7"), ("$", "$"), ("5", "5")]
)
def test_normalise_answer(answer: str, normal: str) -> None:
    assert normalise_answer(answer) == normal


def test_integers_are_decided_without_algebra_as_math_verify_decides_them() -> None:
    draw = random.Random(0)
    numbers = [str(draw.randint(-(10**size), 10**size)) for size in range(1, 18) for _ in range(3)]
    numbers += ["0", "-0", "+5", "5", "-5", "007", "7", "1000", "100", "999999999999999999"]
    pairs = [(draw.choice(numbers), draw.choice(numbers)) for _ in range(300)]
    pairs += [(one, one.lstrip("+")) for one in numbers] + [
        ("007", "7"),
        ("-0", "0"),
        ("5", "-5"),
        ("5", "8"),
    ]
    pairs += [(str(int(one) - 1), one) for one in numbers]
    for prediction, gold in pairs:
        verdict = exact_verdict(prediction, gold)
        assert verdict is not None
        assert compare(prediction, gold) == ("correct" if verdict else "wrong"), (prediction, gold)


def test_letters_are_decided_without_algebra_as_math_verify_decides_them() -> None:
    forms = [form for letter in "ABD" for form in (letter, f"({letter})", rf"\text{{{letter}}}")]
    for prediction in forms:
        for gold in "ABD":
            verdict = exact_verdict(prediction, gold)
            assert verdict is not None
            assert compare(prediction, gold) == ("correct" if verdict else "wrong"), (prediction, gold)


@pytest.mark.parametrize(
    ("prediction", "gold", "verdict"),
    [
        ("2 3", "5", False),
        ("5 5", "5", False),
        ("1 000", "1000", True),
        ("(C)", "C", True),
        (r"\text{(C)}", "C", True),
        ("C.", "D", False),
        ("x + 1", "x+1", None),
        ("0.5", "1/2", None),
        ("5", "x=5", None),
        ("1" * 19, "2" * 19, None),
    ],
)
def test_exact_verdict(prediction: str, gold: str, verdict: bool | None) -> None:
    assert exact_verdict(prediction, gold) is verdict


def test_several_integers_would_be_right_for_math_verify() -> None:
    """The reason for the stricter rule: if this fails, math-verify has changed and the DEVIATION can go."""
    assert compare("2 3", "5") == "correct"


@pytest.mark.parametrize(
    ("prediction", "gold", "outcome"),
    [
        (r"\frac{1}{2}", "1/2", "correct"),
        ("0.5", r"\frac{1}{2}", "correct"),
        ("1/2", "0.5", "correct"),
        (r"\{2, 1\}", r"x \in \{1,2\}", "correct"),
        (r"x \in \{1, 2\}", r"\{1,2\}", "correct"),
        (r"\{1, 3\}", r"x \in \{1,2\}", "wrong"),
        ("x=5", "5", "correct"),
        (r"\sqrt{25}", "5", "correct"),
        ("1,000", "1000", "correct"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)", "correct"),
        (r"12^\circ", "12", "correct"),
        ("wait", "5", "wrong"),
        (r"\frac{", "5", "no_answer"),
        ("5 ^", "5", "error"),
        (r"\frac{}{}", "5", "error"),
    ],
)
def test_equivalent_forms(grader: Grader, prediction: str, gold: str, outcome: str) -> None:
    (grade,) = grader.grade([rf"thus \boxed{{{prediction}}}"], [[gold]])
    assert (grade.outcome, grade.correct) == (outcome, outcome == "correct")


def test_any_accepted_answer_is_right(grader: Grader) -> None:
    grades = grader.grade([r"\boxed{9/3}", r"\boxed{4}", r"\boxed{7}"], [["4", "3"], ["4", "3"], ["4", "3"]])
    assert [grade.outcome for grade in grades] == ["correct", "correct", "wrong"]


def test_no_box_and_empty_box_are_no_answer() -> None:
    grades = Grader().grade(["the answer is 5", r"\boxed{}", ""], [["5"]] * 3)
    assert grades == [
        Grade(None, False, "no_answer"),
        Grade("", False, "no_answer"),
        Grade(None, False, "no_answer"),
    ]


def test_a_hang_is_killed_counted_and_costs_its_timeout_once() -> None:
    with Grader(workers=2, timeout=1.5) as grader:
        responses = [rf"\boxed{{{HANG}}}", r"\boxed{1/2}", rf"\boxed{{{HANG}}}", r"\boxed{x+x}", "none"]
        answers = [["9"], ["0.5"], ["9"], ["2x"], ["1"]]
        expected = ["timeout", "correct", "timeout", "correct", "no_answer"]
        assert [grade.outcome for grade in grader.grade(responses, answers)] == expected
        before = [worker.process.pid for worker in grader._workers]
        start = time.monotonic()
        assert [grade.outcome for grade in grader.grade(responses, answers)] == expected
        assert time.monotonic() - start < 0.5
        assert grader.grade([r"\boxed{2/4}"], [["1/2"]])[0].outcome == "correct"
        assert before
    assert all(not _alive(pid) for pid in before)


def test_one_worker_grades_on_after_a_hang() -> None:
    with Grader(workers=1, timeout=1.0) as grader:
        grades = grader.grade([rf"\boxed{{{HANG}}}", r"\boxed{2/4}"], [["9"], ["1/2"]])
    assert [grade.outcome for grade in grades] == ["timeout", "correct"]


def test_a_dead_worker_is_replaced_and_a_crash_is_an_error() -> None:
    with Grader(timeout=20.0) as grader:
        assert grader.grade([r"\boxed{1/2}"], [["0.5"]])[0].correct
        os.kill(grader._workers[0].process.pid, signal.SIGKILL)
        grader._workers[0].process.wait()
        assert grader.grade([r"\boxed{1/4}"], [["0.25"]])[0].correct
        worker = grader._workers[0]
        os.kill(worker.process.pid, signal.SIGSTOP)
        worker.submit(("1/8", "0.125"))
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        assert worker.collect(readable=True) == "error"


def test_a_worker_ends_itself_when_nobody_kills_it() -> None:
    """A worker left by a killed parent must not compute for ever: the kernel's alarm ends it."""
    command = [sys.executable, "-P", "-m", "selfdistill.grading.worker", "0.2"]
    request = '{"prediction": "9^{9^{9}}", "gold": "9"}\n'
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGALRM
    assert done.stdout == '{"ready": true}\n'


def test_importing_and_exact_grading_load_no_algebra_and_start_no_process() -> None:
    program = (
        "import sys; from selfdistill.grading.graders import Grader\n"
        "grader = Grader(); grades = grader.grade(['\\\\boxed{5}', '\\\\boxed{8}'], [['5'], ['5']])\n"
        "assert [g.outcome for g in grades] == ['correct', 'wrong'], grades\n"
        "assert not grader._workers\n"
        "assert not {'sympy', 'math_verify', 'torch', 'pandas'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_workers_do_not_import_main_again(tmp_path: Path) -> None:
    """As under Snakemake's `script:`, where `__main__` is a temporary script without a main guard."""
    script = tmp_path / "job.py"
    script.write_text(
        "print('main', flush=True)\nfrom selfdistill.grading.graders import Grader\n"
        "print(Grader(timeout=30).grade([r'\\boxed{1/2}'], [['0.5']])[0].outcome)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "main\ncorrect\n"), done.stderr


def test_twenty_thousand_integer_answers_take_under_a_second_of_cpu() -> None:
    draw = random.Random(0)
    responses = [rf"hmm maybe {i} : no </think> \boxed{{{draw.randrange(13)}}}" for i in range(20_000)]
    answers = [[str(draw.randrange(13)), str(draw.randrange(13))] for _ in responses]
    start = time.process_time()
    grades = Grader().grade(responses, answers)
    assert time.process_time() - start < 1.0
    assert [grade.correct for grade in grades] == [
        grade.extracted in golds for grade, golds in zip(grades, answers, strict=True)
    ]


def test_bad_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="2 responses but 1"):
        Grader().grade(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="accepted answer"):
        Grader().grade(["a"], [[]])
    with pytest.raises(ValueError, match="workers"):
        Grader(workers=0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
