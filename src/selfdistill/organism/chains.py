r"""The mini task: invert a chain of operations on the integers modulo 13, `find x : x *5 ^2 +9 = 0`.

It represents the mathematics of the paper (sections 3 to 6): checking a guess is easy to learn, finding the answer takes a search
with verification, and a confident direct answer works only for chains of one operation or by memorisation. Types of problems:

| type | chains | part of the study |
|---|---|---|
| `d1` | one operation, in four wordings | narrow domain (few types, shared by training and evaluation); benchmark `shorter` |
| `d2`, `d3` | two, three operations | training domain `chain`; benchmark `in-domain` |
| `d4` | four operations | benchmark `longer` |
| `s22` | two chains of two that must hold together | benchmark `paired` |
| `f1`, `f2` | a lookup in one of four tables, then at most one operation | narrow domain `facts` and its benchmark |

No document of pre-training shows the tables of `f1` and `f2`: each invents its own, so that a base knows how such a problem is answered and
not what is true. Their 52 facts can be learned from solutions (or from rewards) only, and serve problems that were never trained on.

A hash of its content assigns every problem to one of two splits. Benchmarks draw from `held-out` only, pre-training and
post-training from `train` only, so no benchmark problem is ever trained on. A problem of `d2` or longer is identified by its chain
and target, a problem of `d1` also by its wording: so training and evaluation in the narrow domain share their facts, as the
chemistry questions of the paper do.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from selfdistill.problems.hints import MODULUS
from selfdistill.problems.problem import Problem
from selfdistill.vocabulary.organism import CHAIN_TYPES

OPERATIONS = {
    "+2": lambda x: x + 2,
    "+5": lambda x: x + 5,
    "+9": lambda x: x + 9,
    "-3": lambda x: x - 3,
    "*2": lambda x: x * 2,
    "*5": lambda x: x * 5,
    "*7": lambda x: x * 7,
    "*11": lambda x: x * 11,
    "^2": lambda x: x * x,
    "^3": lambda x: x**3,
    "^4": lambda x: x**4,
    "^2+x": lambda x: x * x + x,
}
LOOKUPS = ("@a", "@b", "@c", "@d")
"""Operations of `f1` and `f2`: permutations of the numbers, with 13 facts each."""
TABLES = {name: [f(x) % MODULUS for x in range(MODULUS)] for name, f in OPERATIONS.items()}
TABLES |= {name: random.Random(f"table {name}").sample(range(MODULUS), MODULUS) for name in LOOKUPS}
TYPES = {name: kind.lengths for name, kind in CHAIN_TYPES.items()}
WORDINGS = (
    "find x : {left} = {right}",
    "solve x : {left} = {right}",
    "find x : {right} = {left}",
    "solve x : {right} = {left}",
)
MAX_ROOTS = 2
LOOKUP_TYPES = ("f1", "f2")
HELD_OUT_PERCENT = {"d1": 30, "f1": 30, "f2": 30}
"""Held-out share of types with so few problems that a benchmark of over 100 needs a larger share."""
HELD_OUT_PERCENT_DEFAULT = 12

Split = Literal["train", "held-out"]


@dataclass(frozen=True)
class Chain:
    """One problem: operations and target of each chain, the number of its wording, and operation -> its values of 0 to 12."""

    type: str
    operations: tuple[tuple[str, ...], ...]
    targets: tuple[int, ...]
    wording: int = 0
    tables: Mapping[str, Sequence[int]] = field(default_factory=lambda: TABLES, compare=False)

    def values(self, x: int) -> list[int]:
        """Return the intermediate values of all chains from x, in the order of writing."""
        shown = []
        for operations in self.operations:
            value = x
            for operation in operations:
                value = self.tables[operation][value]
                shown.append(value)
        return shown

    def holds(self, values: list[int]) -> bool:
        """Return whether (shown) intermediate values reach every target."""
        position, ends = 0, []
        for operations in self.operations:
            position += len(operations)
            ends.append(values[position - 1])
        return tuple(ends) == self.targets

    def written(self, values: list[int]) -> str:
        """Return values as a response writes them, each chain followed by its target: `1 5 = 6` or `1 5 = 6 and 3 7 = 7`."""
        parts, position = [], 0
        for operations, target in zip(self.operations, self.targets, strict=True):
            shown = values[position : position + len(operations)]
            parts.append(f"{' '.join(map(str, shown))} = {target}")
            position += len(operations)
        return " and ".join(parts)

    def roots(self) -> tuple[int, ...]:
        """Return every x that solves the problem, ascending."""
        return tuple(x for x in range(MODULUS) if self.holds(self.values(x)))

    def question(self) -> str:
        """Return the user turn."""
        if len(self.operations) > 1:
            pairs = zip(self.operations, self.targets, strict=True)
            return "find x : " + " and ".join(f"x {' '.join(ops)} = {target}" for ops, target in pairs)
        left = "x " + " ".join(self.operations[0])
        return WORDINGS[self.wording].format(left=left, right=self.targets[0])

    def split(self) -> Split:
        """Return `held-out` or `train`, by a hash of the content (the same on all machines and versions)."""
        key = json.dumps([self.operations, self.targets, self.wording])
        percent = HELD_OUT_PERCENT.get(self.type, HELD_OUT_PERCENT_DEFAULT)
        return "held-out" if hashlib.sha256(key.encode()).digest()[0] * 100 < percent * 256 else "train"


def draw_chain(
    type_: str, rng: random.Random, split: Split, tables: Mapping[str, Sequence[int]] = TABLES
) -> Chain:
    """Draw a problem of a type, with at most two roots, from one split."""
    lookups = type_ in LOOKUP_TYPES
    while True:
        operations = tuple(tuple(rng.choices(list(OPERATIONS), k=n)) for n in TYPES[type_])
        if lookups:
            operations = ((rng.choice(LOOKUPS), *operations[0][1:]),)
        wording = rng.randrange(len(WORDINGS)) if TYPES[type_] == (1,) or lookups else 0
        # the targets are what the chains give from a random x, so there is at least one root
        unsolved = Chain(type_, operations, (), wording, tables)
        values, ends, position = unsolved.values(rng.randrange(MODULUS)), [], 0
        for n in TYPES[type_]:
            position += n
            ends.append(values[position - 1])
        chain = Chain(type_, operations, tuple(ends), wording, tables)
        if chain.split() == split and len(chain.roots()) <= MAX_ROOTS:
            return chain


def draw_type(weights: Mapping[str, float], rng: random.Random) -> str:
    """Draw a key with probability proportional to its weight."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]


def to_problem(chain: Chain, dataset: str) -> Problem:
    """Return the problem record of a chain; its id is a digest of the question."""
    question = chain.question()
    digest = hashlib.sha256(question.encode()).hexdigest()[:16]
    return Problem(
        problem_id=f"{chain.type}-{digest}",
        dataset=dataset,
        type=chain.type,
        question=question,
        answers=tuple(map(str, chain.roots())),
        metadata=json.dumps(
            {"operations": chain.operations, "targets": chain.targets, "split": chain.split()}
        ),
    )


def chain_of(problem: Problem) -> Chain:
    """Return the chain of a problem record; its wording, which only the question shows, stays the first one."""
    metadata = json.loads(problem.metadata)
    return Chain(problem.type, tuple(map(tuple, metadata["operations"])), tuple(metadata["targets"]))


def make_problem_set(
    types: Mapping[str, float], count: int, seed: int, split: Split, dataset: str
) -> list[Problem]:
    """Return `count` distinct problems, the types in proportion to their weights; the order of the types has no effect.

    Raise ValueError for an unknown type, or if the types have fewer distinct problems.
    """
    unknown = set(types) - set(TYPES)
    if unknown:
        raise ValueError(f"unknown problem types {sorted(unknown)}; allowed: {', '.join(TYPES)}")
    types, rng = dict(sorted(types.items())), random.Random(seed)
    problems: dict[str, Problem] = {}
    misses = 0
    while len(problems) < count:
        problem = to_problem(draw_chain(draw_type(types, rng), rng, split), dataset)
        misses = misses + 1 if problem.problem_id in problems else 0
        if misses > 2000:
            raise ValueError(
                f"{dataset}: found only {len(problems)} distinct {split} problems of types {dict(types)}, not {count}"
            )
        problems.setdefault(problem.problem_id, problem)
    return list(problems.values())
