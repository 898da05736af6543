"""Grading: extraction, the way without algebra against the comparisons, and workers that hang, die or work under load."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfdistill.grading import authors_eval, authors_reward, compare, strict
from selfdistill.grading.answers import MAX_ANSWER_CHARS, Grade, extract_answer, integers_equal
from selfdistill.grading.graders import Grader
from selfdistill.grading.notation import RULES, normalise

HANG = "((((((x+1)^{9})^{9})^{9})^{9})^{9})^{9} + 9^{9^{9^{9}}}"
"""Spends its time in C code that holds the interpreter: a Python signal handler would never run."""
CASES = Path(__file__).parents[3] / "shared/grading/cases.jsonl"


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=30.0) as grader:
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
        (r"\boxed{3} and \boxed 4", "4"),
        (r"\boxed{3}, \(\boxed{5}\), or $\boxed{7}$", "3, 5, 7"),
        (r"\boxed{3}, wait, \boxed{5}", "5"),
        (r"\boxed{3} \boxed{5}", "5"),
        (r"\boxed{2}, \boxed{2}", "2"),
        (r"first \fbox{41}, then \bbox[red]{42}", "42"),
        (r"\boxed{\text{answer } \boxed{42}}", "42"),
        (r"\boxed{42}, as asked within \boxed{}", "42"),
        (r"\boxed{4}, as I wrote with \boxed here", "4"),
        (r"\boxed{3} then \boxed{\frac{1}{2}", None),
        (r"\boxed{}", ""),
        ("the answer is 5", None),
        ("", None),
    ],
)
def test_extract_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_the_authors_reward_looks_at_the_last_hundred_characters() -> None:
    text = r"\boxed{5}" + "." * 95
    assert (strict.extract(text), authors_reward.extract(text)) == ("5", None)
    assert authors_reward.extract(text[:-4]) == "5"
    assert authors_reward.extract(r"\boxed{3} then \boxed{\frac{1}{2}") is None


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"<think>\boxed{4}</think> so \boxed{5}", "5"),
        (r"<think>\boxed{4}</think> so five", None),
        (r"<think>\boxed{4}", "4"),
        (r"so \boxed{\frac{1}{2}", r"\frac{1}{2}"),
        (r"so $\boxed 42$ holds", "42"),
    ],
)
def test_the_authors_evaluation_cuts_the_thinking_and_reads_what_is_cut(
    response: str, answer: str | None
) -> None:
    assert authors_eval.extract(response) == answer


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_of_notation_has_a_right_and_a_wrong_neighbour(rule) -> None:
    """Right because of the rule: without it (the others as they are) the answer is not."""
    (right, gold), (wrong, other) = rule.right, rule.wrong
    assert compare.verdict(right, gold)[0] == "correct"
    assert compare.verdict(wrong, other)[0] != "correct"


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        (" $5$ ", "5"),
        (r"\( x \)", "x"),
        ("$$7$$", "7"),
        (r"\(1\), \(-2\)", r"\(1\), \(-2\)"),
        ("5", "5"),
        ("**9.**", "9"),
    ],
)
def test_wrappers_come_off_in_pairs(answer: str, normal: str) -> None:
    assert normalise(answer) == normal


@pytest.mark.parametrize("rules", [strict, authors_reward, authors_eval], ids=lambda rules: rules.__name__)
def test_integers_are_decided_without_algebra_as_the_comparison_decides_them(rules) -> None:
    draw = random.Random(0)
    numbers = [str(draw.randint(-(10**size), 10**size)) for size in range(1, 18, 3) for _ in range(3)]
    numbers += ["0", "-0", "5", "-5", "007", "7", "1000", "999999999999999999"]
    pairs = [(draw.choice(numbers), draw.choice(numbers)) for _ in range(60)]
    pairs += [
        ("007", "7"),
        ("-0", "0"),
        ("5", "-5"),
        ("5", "8"),
        *((str(int(one) - 2), one) for one in numbers),
    ]
    for answer, gold in pairs:
        verdict = rules.decide(answer, gold)
        assert verdict is not None
        close = (
            rules is authors_eval
            and any(abs(int(answer) - int(gold) * scale) < 1e-4 for scale in (0.01, 100))
            or (rules is authors_eval and abs(float(answer) - float(gold)) < 1e-4)
        )
        assert close or rules.compare(answer, gold)[0] == ("correct" if verdict else "wrong"), (answer, gold)


@pytest.mark.parametrize("pair", [("x + 1", "x+1"), ("0.5", "1/2"), ("1" * 19, "2" * 19), ("2 3", "5")])
def test_only_plain_whole_numbers_are_decided_without_algebra(pair: tuple[str, str]) -> None:
    assert integers_equal(*pair) is None


def test_several_integers_would_be_right_for_math_verify() -> None:
    """The reason for the stricter rule: if this fails, math-verify has changed and the DEVIATION can go."""
    from math_verify import parse, verify

    assert verify(parse(r"\boxed{5}"), parse(r"\boxed{2 3}"))
    assert compare.verdict("2 3", "5")[0] == "error"


@pytest.mark.skipif(not CASES.exists(), reason="the hand cases are not on this machine")
def test_every_hand_case_is_right() -> None:
    cases = [case for case in map(json.loads, CASES.read_text().splitlines()) if case["truth"] is not None]
    with Grader(workers=2, seconds=30.0) as grader:
        grades = grader.grade([case["response"] for case in cases], [[case["gold"]] for case in cases])
    assert [
        case["id"] for case, grade in zip(cases, grades, strict=True) if grade.correct != case["truth"]
    ] == []


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
        (r"7 \\ 5", "5", "error"),
        ("9" * (MAX_ANSWER_CHARS + 1), "5", "too_long"),
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


def test_a_hang_is_killed_counted_once_a_call_and_tried_again() -> None:
    with Grader(workers=2, seconds=1.0) as grader:
        responses = [rf"\boxed{{{HANG}}}", r"\boxed{1/2}", rf"\boxed{{{HANG}}}", r"\boxed{x+x}", "none"]
        answers = [["9"], ["0.5"], ["9"], ["2x"], ["1"]]
        expected = ["timeout", "correct", "timeout", "correct", "no_answer"]
        assert [grade.outcome for grade in grader.grade(responses, answers)] == expected
        assert (HANG, "9") not in grader._verdicts
        assert grader._verdicts[("x+x", "2x")].outcome == "correct"
        assert grader.grade([r"\boxed{2/4}"], [["1/2"]])[0].outcome == "correct"
        before = [worker.process.pid for worker in grader._pool.workers]
        assert before
    assert all(not _alive(pid) for pid in before)


def test_outcomes_do_not_depend_on_what_else_the_machine_does() -> None:
    """A comparison of about half its limit, alone and beside four busy processes: processor time is counted."""
    responses, answers = [rf"\boxed{{{HANG}}}", r"\boxed{(x+1)^{3}}"], [["9"], ["x^3+3x^2+3x+1"]]
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        with Grader(workers=2, seconds=2.0) as grader:
            assert [grade.outcome for grade in grader.grade(responses, answers)] == ["timeout", "correct"]
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_dead_worker_is_replaced_and_a_crash_is_an_error() -> None:
    with Grader(seconds=20.0) as grader:
        assert grader.grade([r"\boxed{1/2}"], [["0.5"]])[0].correct
        workers = grader._pool.workers
        os.kill(workers[0].process.pid, signal.SIGKILL)
        workers[0].process.wait()
        assert grader.grade([r"\boxed{1/4}"], [["0.25"]])[0].correct
        worker = grader._pool.workers[0]
        os.kill(worker.process.pid, signal.SIGSTOP)
        worker.submit(("1/8", "0.125"))
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        assert worker.collect(readable=True) == ("error", "worker ended with -9")


def test_the_wall_clock_ends_a_worker_that_spends_no_processor_time(monkeypatch) -> None:
    monkeypatch.setattr("selfdistill.grading.pool.WALL_FACTOR", 0.2)
    with Grader(seconds=5.0) as grader:
        assert grader.grade([r"\boxed{1/2}"], [["0.5"]])[0].correct
        worker = grader._pool.workers[0]
        os.kill(worker.process.pid, signal.SIGSTOP)
        assert grader.grade([r"\boxed{1/8}"], [["0.125"]])[0][2:] == ("timeout", "wall clock")


def test_a_worker_ends_itself_when_nobody_kills_it() -> None:
    """A worker left by a killed parent must not compute for ever: the kernel's timer ends it."""
    command = [sys.executable, "-P", "-m", "selfdistill.grading.worker", "selfdistill.grading.strict", "0.5"]
    request = json.dumps({"answer": HANG, "gold": "9"}) + "\n"
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGPROF
    assert done.stdout == '{"ready": true}\n'


def test_the_reason_of_an_error_is_kept() -> None:
    with Grader(seconds=20.0) as grader:
        (grade,) = grader.grade([r"\boxed{7 \\ 9}"], [["9"]])
    assert grade[2:] == ("error", "unreadable: unknown token '\\\\'")


def test_importing_and_exact_grading_load_no_algebra_and_start_no_process() -> None:
    program = (
        "import sys; from selfdistill.grading.graders import Grader\n"
        "grader = Grader(); grades = grader.grade(['\\\\boxed{5}', '\\\\boxed{8}'], [['5'], ['5']])\n"
        "assert [g.outcome for g in grades] == ['correct', 'wrong'], grades\n"
        "assert not grader._pool.workers\n"
        "assert not {'sympy', 'math_verify', 'torch', 'pandas'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_workers_do_not_import_main_again(tmp_path: Path) -> None:
    """As under Snakemake's `script:`, where `__main__` is a temporary script without a main guard."""
    script = tmp_path / "job.py"
    script.write_text(
        "print('main', flush=True)\nfrom selfdistill.grading.graders import Grader\n"
        "print(Grader(seconds=30).grade([r'\\boxed{1/2}'], [['0.5']])[0].outcome)\n"
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
