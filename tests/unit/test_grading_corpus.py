"""The grader `strict` on answers that are generated from the gold answers of the data files (tests/unit/grading_corpus.py).

Every kind of answer is there whole but the whole numbers, of which every 40th is; benchmarks/grading.py grades all of them.
"""

import json
from collections import Counter
from pathlib import Path

import pandas
import pytest
from grading_corpus import EXOTIC, KINDS, corpus, kind_of

from selfdistill.grading.answers import extract_answer
from selfdistill.grading.graders import Grader

DATA = Path(__file__).parents[3] / "shared/data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the data files are not on this machine")
EVERY = 40


def plain(cell):
    """A cell of a data file, where some are JSON."""
    return json.loads(cell) if isinstance(cell, str) else cell


@pytest.fixture(scope="module")
def golds():
    """Every gold answer of the data files, once."""
    tables = [pandas.read_parquet(file) for file in sorted(DATA.glob("*.parquet"))]
    return list(
        dict.fromkeys(str(plain(cell)["ground_truth"]) for table in tables for cell in table["reward_model"])
    )


@pytest.fixture(scope="module")
def cases(golds):
    """The corpus."""
    numbers = [gold for gold in golds if kind_of(gold) == "integer"]
    return list(corpus(numbers[::EVERY] + [gold for gold in golds if kind_of(gold) != "integer"]))


@pytest.fixture(scope="module")
def verdicts(cases):
    """Whether the grader calls each case right."""
    with Grader(workers=2, seconds=20.0) as grader:
        grades = grader.grade(
            [rf"so \boxed{{{case.answer}}}" for case in cases], [[case.gold] for case in cases]
        )
    return [grade.correct for grade in grades]


def test_every_gold_has_three_rewrites_and_three_neighbours(golds, cases):
    assert {kind_of(gold) for gold in golds} <= {*KINDS, "expression"}
    counts = Counter((case.gold, case.truth) for case in cases)
    assert min(counts.values()) >= 3 and len(counts) == 2 * len({case.gold for case in cases})
    assert {case.rule for case in cases} >= EXOTIC - {"e notation"}


def test_few_right_answers_are_refused_and_few_wrong_ones_accepted(cases, verdicts):
    refused = [case for case, right in zip(cases, verdicts, strict=True) if case.truth and not right]
    accepted = [case for case, right in zip(cases, verdicts, strict=True) if not case.truth and right]
    assert len(refused) <= 0.005 * sum(case.truth for case in cases), refused
    assert len(accepted) <= 0.002 * sum(not case.truth for case in cases), accepted
    assert not [case for case in accepted if case.rule.startswith(("sum", "picked"))]


def test_every_gold_equals_itself_and_the_box_of_its_solution(golds):
    math = pandas.read_parquet(DATA / "math500.parquet")
    rows = zip(math["extra_info"].map(plain), math["reward_model"].map(plain), strict=True)
    pairs = [(extract_answer(info["solution"]), found["ground_truth"]) for info, found in rows]
    pairs = [*((gold, gold) for gold in golds), *pairs]
    with Grader(workers=2, seconds=20.0) as grader:
        grades = grader.grade([rf"\boxed{{{answer}}}" for answer, _ in pairs], [[gold] for _, gold in pairs])
    assert [pair for pair, grade in zip(pairs, grades, strict=True) if not grade.correct] == []
