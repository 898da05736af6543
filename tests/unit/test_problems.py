"""Problem sets: the record and nested coverage subsets."""

import pytest

from selfdistill.problems.problem import (
    Problem,
    ProblemError,
    check_distinct,
    coverage_subset,
    read_problems,
    write_problems,
)
from selfdistill.seeds import derive_seed

PROBLEMS = [
    Problem(f"id-{n}", "chain", "d2", f"question {n}", (str(n), f"{n}.0"), '{"n": 1}') for n in range(600)
]


def test_problems_come_back_as_written(tmp_path):
    write_problems(tmp_path / "set.parquet", PROBLEMS)
    assert read_problems(tmp_path / "set.parquet") == PROBLEMS


@pytest.mark.parametrize("seed", [0, 1])
def test_coverage_subsets_are_nested_and_distinct(seed):
    sizes = (1, 8, 64, 512, 600)
    subsets = [coverage_subset(PROBLEMS, size, seed) for size in sizes]
    for size, subset in zip(sizes, subsets, strict=True):
        assert len({problem.problem_id for problem in subset}) == size
    for smaller, larger in zip(subsets, subsets[1:], strict=False):
        assert larger[: len(smaller)] == smaller


def test_coverage_subset_depends_on_the_seed_alone():
    assert coverage_subset(PROBLEMS, 64, 0) == coverage_subset(PROBLEMS, 64, 0)
    assert coverage_subset(PROBLEMS, 64, 0) != coverage_subset(PROBLEMS, 64, 1)
    assert coverage_subset(PROBLEMS, 64, 0) != PROBLEMS[:64]


@pytest.mark.parametrize("count", [0, 601])
def test_a_coverage_that_the_set_does_not_hold_is_refused(count):
    with pytest.raises(ProblemError, match=f"coverage {count} .*600 problems; allowed: 1 to 600"):
        coverage_subset(PROBLEMS, count, 0)


def test_repeated_problems_and_empty_sets_are_refused(tmp_path):
    same_question = Problem("other", "chain", "d2", "question 0", ("1",))
    with pytest.raises(ProblemError, match="question occurs twice in chain: 'question 0'"):
        write_problems(tmp_path / "set.parquet", [*PROBLEMS, same_question])
    with pytest.raises(ProblemError, match="problem_id occurs twice"):
        check_distinct([PROBLEMS[0], Problem("id-0", "chain", "d2", "new", ("1",))])
    with pytest.raises(ProblemError, match="at least one"):
        check_distinct([])


def test_seeds_are_named_streams():
    names = [(), ("a",), ("a", 1), ("a", "1"), ("a1",), (1, "a")]
    seeds = {derive_seed(seed, *name) for seed in (0, 1) for name in names}
    assert len(seeds) == 2 * len(names)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(0, "data") == 415779737  # a change here changes every result
