"""Whether an answer is right, by the rules of the grader `strict` (docs/grading.md): `verdict`.

Kinds are compared with their own kind: a tuple with a tuple, an interval with an interval or the inequality that it is. Runs in
worker processes, since algebra may never end.
"""

from __future__ import annotations

from collections.abc import Sequence

from selfdistill.grading import algebra
from selfdistill.grading.expression import Unreadable, explicit
from selfdistill.grading.kinds import Answer, Choice, Grid, Many, Named, Ordered, Relation, Value, Words
from selfdistill.grading.notation import normalise
from selfdistill.grading.reading import read

MAX_ITEMS = 64
"""Things in a list beyond which it is not compared."""


def verdict(answer: str, gold: str) -> tuple[str, str]:
    """Return the outcome of a comparison (`correct`, `wrong`, `error`) and, of an error, the reason."""
    given, expected = normalise(answer), normalise(gold)
    if given == expected:
        return "correct", ""
    try:
        wanted = read(expected)
    except Unreadable as error:
        return "error", f"gold answer unreadable: {error}"
    try:
        return ("correct" if same(wanted, read(given)) else "wrong"), ""
    except Unreadable as error:
        return "error", f"unreadable: {error}"
    except Exception as error:  # noqa: BLE001 (whatever sympy raises)
        return "error", type(error).__name__


def same(gold: Answer, answer: Answer) -> bool:
    """Whether two readings are equal."""
    if isinstance(gold, Named) or isinstance(answer, Named):
        return _same_named(gold, answer)
    if isinstance(answer, Relation):
        return _same_relation(gold, answer)
    if isinstance(gold, Words) or isinstance(answer, Words):
        return _words(gold) == _words(answer) != ""
    if isinstance(gold, Many) or isinstance(answer, Many):
        return _same_items(gold, answer)
    if type(gold) is not type(answer):
        return False
    comparisons = {Choice: _same_choice, Ordered: _same_ordered, Grid: _same_grid, Value: _same_value}
    return type(gold) in comparisons and comparisons[type(gold)](gold, answer)


def _same_choice(gold: Choice, answer: Choice) -> bool:
    return gold.letter == answer.letter and (not gold.text or gold.text == answer.text)


def _same_ordered(gold: Ordered, answer: Ordered) -> bool:
    return gold.brackets == answer.brackets and _each(gold.items, answer.items)


def _same_grid(gold: Grid, answer: Grid) -> bool:
    rows = zip(gold.rows, answer.rows, strict=False)
    return (
        gold.bars == answer.bars
        and len(gold.rows) == len(answer.rows)
        and all(_each(own, other) for own, other in rows)
    )


def _each(gold: Sequence[Answer], answer: Sequence[Answer]) -> bool:
    """Whether two sequences are equal thing by thing."""
    return len(gold) == len(answer) and all(same(own, other) for own, other in zip(gold, answer, strict=True))


def _same_items(gold: Answer, answer: Answer) -> bool:
    """Whether two lists or sets hold the same, in any order; a set of one is that one."""
    own, other = _items(gold), _items(answer)
    if _is_union(gold) != _is_union(answer) or max(len(own), len(other)) > MAX_ITEMS:
        return False
    return all(any(same(a, b) for b in other) for a in own) and all(
        any(same(a, b) for a in own) for b in other
    )


def _items(answer: Answer) -> tuple[Answer, ...]:
    return answer.items if isinstance(answer, Many) else (answer,)


def _is_union(answer: Answer) -> bool:
    return isinstance(answer, Many) and answer.union


def _words(answer: Answer) -> str:
    """Return an answer in words without regard to case, or nothing if it is none."""
    if isinstance(answer, Words):
        return " ".join(answer.text.casefold().split())
    if isinstance(answer, Value) and len(answer.raw) > 1 and answer.raw.replace(" ", "").isalpha():
        return answer.raw.casefold()
    return ""


def _same_named(gold: Answer, answer: Answer) -> bool:
    """Compare where one side has a name. A name that only one side gives is no difference; two names must be the same."""
    if isinstance(gold, Named) and isinstance(answer, Named):
        return same(gold.value, answer.value) if gold.name == answer.name else _same_equation(gold, answer)
    if isinstance(gold, Relation) or (isinstance(gold, Named) and isinstance(answer, Relation)):
        return _same_equation(gold, answer)
    return same(gold.value, answer) if isinstance(gold, Named) else same(gold, answer.value)


def _same_relation(gold: Answer, answer: Relation) -> bool:
    """Compare an answer that is a relation; one whose members are all equal (or rounded) is the value of each."""
    if not isinstance(gold, Relation):
        if set(answer.signs) == {r"\approx"} and isinstance(gold, Value):
            rounded = [algebra.near(_expression(gold), _expression(member)) for member in answer.members[1:]]
            return same(gold, answer.members[0]) and all(rounded)
        return set(answer.signs) == {"="} and all(same(gold, member) for member in answer.members)
    return (gold.signs == answer.signs and _each(gold.members, answer.members)) or _same_equation(
        gold, answer
    )


_FLIPPED = {">": "<", r"\ge": r"\le"}


def _same_equation(gold: Answer, answer: Answer) -> bool:
    """Whether two equations or inequalities say the same: their sides' differences are multiples of each other."""
    (own_sign, own), (other_sign, other) = _difference(gold), _difference(answer)
    if own is None or other is None or own_sign != other_sign:
        return False
    return algebra.proportional(own, other, positive=own_sign != "=")


def _difference(answer: Answer) -> tuple[str, algebra.Expr | None]:
    """Return the sign of a relation between two expressions, and left minus right with the smaller side left."""
    if isinstance(answer, Named) and isinstance(answer.value, Value):
        return "=", _parse(explicit(answer.name)) - _expression(answer.value)
    if (
        not isinstance(answer, Relation)
        or len(answer.members) != 2
        or answer.signs[0] not in ("=", "<", r"\le", *_FLIPPED)
    ):
        return "", None
    left, right = (_expression(member) for member in answer.members)
    sign = answer.signs[0]
    return _FLIPPED.get(sign, sign), right - left if sign in _FLIPPED else left - right


def _expression(answer: Answer) -> algebra.Expr:
    """Return the expression of a plain value."""
    if not isinstance(answer, Value) or answer.base:
        raise Unreadable("no expression in a relation")
    parsed = _parse(answer.latex)
    return parsed / 100 if answer.percent else parsed


def _parse(latex: str) -> algebra.Expr:
    """Return a parsed expression; what the parser cannot read is unreadable."""
    try:
        return algebra.parse(latex)
    except Exception as error:  # noqa: BLE001 (the parser raises bare exceptions)
        raise Unreadable(f"no expression, {type(error).__name__}") from error


def _same_value(gold: Value, answer: Value) -> bool:
    """Compare two numbers or expressions with their units and bases."""
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    if gold.base or answer.base:
        same_base = answer.base in (gold.base, "") if gold.base else answer.base == "10"
        return same_base and gold.raw.lstrip("0") == answer.raw.lstrip("0")
    decimal = {(True, False): "gold", (False, True): "answer"}.get((gold.is_decimal, answer.is_decimal), "")
    if (
        gold.percent
        and not answer.percent
        and algebra.equal(_parse(gold.latex), _parse(answer.latex), decimal)
    ):
        return True
    return algebra.equal(_expression(gold), _expression(answer), decimal)
