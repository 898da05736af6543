"""Problem records: one schema for the mini study's chains and for the paper's data sets, and the coverage
subsets.

Paper: training sets and benchmarks of sections 3 to 6, task coverage |D| of section 6.2. Written by the rules
of rules/problems.smk, read by every rule that generates, trains or evaluates.
"""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfdistill.records.files import read_table, write_table
from selfdistill.records.schemas import problems_schema
from selfdistill.seeds import derive_seed


@dataclass(frozen=True)
class Problem:
    """One problem.

    problem_id is unique in its file; dataset is the training set's or the benchmark's name; type is its
    family (such as `d3` or a subject); question is the whole user turn; any of answers is right; metadata is
    a JSON object as text.
    """

    problem_id: str
    dataset: str
    type: str
    question: str
    answers: tuple[str, ...]
    metadata: str = "{}"

    @property
    def grading(self) -> str:
        """How a response is graded: `boxed` (the last box), or `mcq` (the letter between the answer tags)."""
        return json.loads(self.metadata).get("grading", "boxed")


class ProblemError(ValueError):
    """A problem set that breaks a rule: empty, a repeated id or question, a subset larger than the set."""


def write_problems(path: str | Path, problems: Sequence[Problem]) -> None:
    """Write `problems` as parquet (schema: artifacts.problems_schema), in order.

    Raises ProblemError on repeats.
    """
    import pandas as pd

    check_distinct(problems)
    schema = problems_schema()
    columns = {name: [getattr(problem, name) for problem in problems] for name in schema.names}
    write_table(path, pd.DataFrame(columns), schema)


def read_problems(path: str | Path) -> list[Problem]:
    """The problems of a parquet file, in the file's order."""
    table = read_table(path, problems_schema())
    return [
        Problem(row.problem_id, row.dataset, row.type, row.question, tuple(row.answers), row.metadata)
        for row in table.itertuples(index=False)
    ]


def check_distinct(problems: Sequence[Problem]) -> None:
    """Raise ProblemError if the set is empty, or an id or a question occurs twice."""
    if not problems:
        raise ProblemError("a problem set must hold at least one problem")
    for name in ("problem_id", "question"):
        repeated = first_repeated(getattr(problem, name) for problem in problems)
        if repeated is not None:
            raise ProblemError(f"{name} occurs twice in {problems[0].dataset}: {repeated!r}")


def first_repeated(values: Iterable[str]) -> str | None:
    """The first value that was seen before, or None."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def coverage_subset(problems: Sequence[Problem], count: int, seed: int) -> list[Problem]:
    """`count` of `problems`; for one seed the subsets are nested, a smaller one is the beginning of every
    larger one.

    Source: section 6.2, |D|; the authors' seen_*.parquet are nested too (paper.md 9). Raises ProblemError if
    count exceeds the set.
    """
    if not 1 <= count <= len(problems):
        raise ProblemError(
            f"coverage {count} asked of a set of {len(problems)} problems; allowed: 1 to {len(problems)}"
        )
    order = list(problems)
    random.Random(derive_seed(seed, "coverage", problems[0].dataset)).shuffle(order)
    return order[:count]
