"""Section 3 and section 4: which problems are kept, what each context shows, and matched off-policy data sets."""

from types import SimpleNamespace

import pandas as pd
import pytest

from selfdistill.generation.protocol import Completion, Sampling
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.problems.problem import Problem
from selfdistill.records.files import read_table, write_table
from selfdistill.records.schemas import off_policy_schema
from selfdistill.records.task import Task
from selfdistill.sampling.matching import match_off_policy_data, matched
from selfdistill.sampling.off_policy import NoTrajectories, build_datasets
from selfdistill.sampling.section_3 import TooFewProblems, first_wrong, run_section_3
from selfdistill.vocabulary.contexts import FURTHER, PAPER_CONTEXTS

SETTINGS = SimpleNamespace(problems=2, samples=4, solve_rate=(1, 2), batch=2, further=[])


class ScriptedGenerator:
    """Answers `find x : x +2 = N` from a script: how many of the samples are right, unguided; always right when guided."""

    def __init__(self, right: dict[str, int]) -> None:
        self.right, self.seen, self.tokenizer = right, [], build_tokenizer("r1")

    def generate(self, user_turns, samples, sampling, seed):
        self.seen += user_turns
        return [self._answer(turn, samples) for turn in user_turns]

    def _answer(self, turn, samples):
        question = turn.split("\n")[0].split(" Hint")[0]
        guided = turn != question
        right = samples if guided else self.right[question]
        answer = question.split()[-1]
        style = "so" if guided else "hmm maybe"
        texts = [
            f"{style} {answer if i < right else 0} </think> \\boxed{{{answer if i < right else 0}}}"
            for i in range(samples)
        ]
        return [Completion(tuple(range(len(t.split()) + 1)), t, False) for t in texts]


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i}", "chain", "d1", f"find x : x +2 = {i}", (str(i),)) for i in range(1, count + 1)]


def run(right: dict[int, int], settings=SETTINGS):
    pool = problems(len(right))
    generator = ScriptedGenerator({p.question: right[i + 1] for i, p in enumerate(pool)})
    return run_section_3(generator, "r1", pool, settings, Sampling(), 0), generator


def test_problems_are_kept_by_solve_rate_in_file_order():
    frame, _ = run({1: 0, 2: 2, 3: 4, 4: 1, 5: 2})
    assert set(frame["problem_id"]) == {"p2", "p4"}
    assert frame.groupby(["context", "problem_id"]).size().eq(4).all()
    assert list(frame["context"].drop_duplicates()) == list(PAPER_CONTEXTS)


def test_each_context_shows_what_its_definition_says():
    _, generator = run({1: 2, 2: 1})
    guided = [
        turn
        for turn in generator.seen
        if "Correct solution:" in turn and turn.startswith("find x : x +2 = 1\n")
    ]
    shown = [turn.split("Correct solution: ")[1].split("\n\n")[0] for turn in guided]
    assert shown == ["\\boxed{1}", "hmm maybe 1 </think> \\boxed{1}", "so 1 </think> \\boxed{1}"]


def test_further_contexts_come_after_the_papers_and_show_what_they_say():
    settings = SimpleNamespace(**vars(SETTINGS) | {"further": list(FURTHER)})
    plain, _ = run({1: 2, 2: 1})
    frame, generator = run({1: 2, 2: 1}, settings)
    pd.testing.assert_frame_equal(plain, frame[: len(plain)])
    assert list(frame["context"].drop_duplicates()) == [*PAPER_CONTEXTS, *FURTHER]
    turns = [turn for turn in generator.seen if turn.startswith("find x : x +2 = 1")]
    question, closing = "find x : x +2 = 1", "Correctly solve the original question."
    shown = {
        "other-solution": "hmm maybe 2 </think> \\boxed{2}",
        "wrong-solution": "hmm maybe 0 </think> \\boxed{0}",
    }
    expected = [
        f"{question}\n\nCorrect solution: {shown[name]}\n\n{closing}"
        for name in ("other-solution", "wrong-solution")
    ]
    hints = [f"{question} Hint: x is {word} {closing}" for word in ("odd", "low")]
    assert turns[-4:] == [*expected, *hints]


def test_a_wrong_solution_has_a_wrong_answer_where_some_response_has():
    rows = [
        ("p1", True, "correct", "a"),
        ("p1", False, "no_answer", "b"),
        ("p1", False, "wrong", "c"),
        ("p2", False, "no_answer", "d"),
    ]
    frame = pd.DataFrame(rows, columns=["problem_id", "correct", "outcome", "response"])
    assert first_wrong({"unguided": frame}) == {"p1": "c", "p2": "d"}


def test_pool_that_runs_out_is_refused_with_the_distribution():
    with pytest.raises(TooFewProblems, match=r"1 of 2 problems.*\{0: 1, 2: 1, 4: 1\}.*section_3\.pool"):
        run({1: 0, 2: 2, 3: 4})


def test_off_policy_sets_are_matched_and_correct():
    frame, _ = run({1: 2, 2: 1})
    built = build_datasets(frame, problems(2), ["unguided", "solution"], per_problem=8, trajectories=100)
    ids = {context: list(data["problem_id"]) for context, data in built.items()}
    assert ids["unguided"] == ids["solution"] == ["p1", "p1", "p2"]
    assert built["unguided"]["response"].str.startswith("hmm").all()
    assert built["solution"]["response"].str.startswith("so").all()
    assert (built["solution"]["question"] == ["find x : x +2 = 1"] * 2 + ["find x : x +2 = 2"]).all()


def test_off_policy_limits_and_truncated_responses():
    frame, _ = run({1: 2, 2: 1})
    one = build_datasets(frame, problems(2), ["unguided", "solution"], per_problem=1, trajectories=100)
    assert [len(d) for d in one.values()] == [2, 2]
    few = build_datasets(frame, problems(2), ["unguided", "solution"], per_problem=8, trajectories=2)
    assert [len(d) for d in few.values()] == [2, 2]
    with pytest.raises(NoTrajectories, match="unguided"):
        build_datasets(frame.assign(truncated=True), problems(2), ["unguided", "solution"], 8, 100)
    with pytest.raises(NoTrajectories, match="off_policy.trajectories .1. must be at least"):
        build_datasets(frame, problems(2), ["unguided", "solution"], per_problem=8, trajectories=1)


def examples(tokens, problems):
    """Examples of a data set with these lengths; rows are sorted by problem."""
    return pd.DataFrame(
        {"problem_id": problems, "response_tokens": tokens, "response": [f"r{i}" for i in range(len(tokens))]}
    )


def test_longer_sets_are_cut_to_the_tokens_of_the_shortest_response_by_response():
    problems = ["p1", "p1", "p2", "p3", "p3"]
    long, short = examples([40, 10, 30, 50, 20], problems), examples([30, 30, 30, 30, 30], problems)
    cut = matched({"unguided": long, "solution": short})
    pd.testing.assert_frame_equal(cut["solution"], short)  # 150 tokens of 150
    assert matched({"solution": short, "unguided": long})["unguided"].equals(cut["unguided"])
    whole = cut["unguided"]
    assert whole["response_tokens"].sum() == 150 and len(whole) == 5

    less = matched({"unguided": long, "solution": examples([30, 25, 30, 30, 18], problems)})["unguided"]
    # 133 tokens: the first responses 40, 30, 50 and then 10 of p1; the 20 of p3 would be too many
    assert list(less["response"]) == ["r0", "r1", "r2", "r3"], "rows stay in their order"
    fewer = matched({"unguided": long, "solution": examples([95], ["p1"])})["unguided"]
    assert list(fewer["problem_id"]) == ["p1", "p2"], (
        "problems go last, and no later response is taken for being short"
    )


def test_a_set_without_an_example_of_that_length_is_refused():
    with pytest.raises(NoTrajectories, match=r"no example of \['unguided'\] has at most the 9 tokens"):
        matched({"unguided": examples([10, 5], ["p1", "p2"]), "solution": examples([9], ["p1"])})


def test_the_job_writes_matched_sets_in_the_form_that_training_reads(tmp_path):
    frame, _ = run({1: 2, 2: 1})
    built = build_datasets(frame, problems(2), ["solution", "unguided"], per_problem=8, trajectories=100)
    built["unguided"]["response_tokens"] *= 2
    sources, outputs = (
        [str(tmp_path / kind / f"{name}.parquet") for name in built] for kind in ("in", "out")
    )
    for path, data in zip(sources, built.values(), strict=True):
        write_table(path, data, off_policy_schema())
    paths = SimpleNamespace(data=sources), SimpleNamespace(data=outputs)
    facts = match_off_policy_data(Task({}, *paths, resume=tmp_path))
    written = [read_table(path, off_policy_schema()) for path in outputs]
    assert facts["rows"] == dict(zip(built, map(len, written), strict=True))
    totals = [int(data["response_tokens"].sum()) for data in written]
    assert totals[1] <= totals[0] == built["solution"]["response_tokens"].sum()
    assert facts["response_tokens"] == dict(zip(built, totals, strict=True))


def test_samples_carry_counts_and_outcomes():
    frame, _ = run({1: 2, 2: 1})
    unguided = frame[frame["context"] == "unguided"]
    assert (unguided["word_maybe"] == 1).all() and (unguided["epistemic_word"] == 2).all()
    assert unguided["correct"].sum() == 3
    assert set(unguided["outcome"]) == {"correct", "wrong"}
    assert (unguided["thinking_tokens"] == 3).all()
    assert isinstance(frame, pd.DataFrame)
