"""Whether two expressions are equal: math-verify's parser, sympy's numbers, exact but for decimals that stand for a number.

Nothing is simplified, which may take for ever: expressions with variables are compared at fixed rational points with 30 digits,
and numbers by their difference. Imported by worker processes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from sympy import Add, Expr, I, Integral, Limit, Mul, Product, Rational, Sum, Symbol, nan, zoo
from sympy.core.function import AppliedUndef

TOLERANCE = Rational(1, 10**6)
"""Relative: how near a decimal must be to a number that no short decimal is."""
SHORT = 6
"""Digits of a short decimal: what can be written with them must be written exactly."""
_DIGITS, _NOISE = 30, Rational(1, 10**20)
_POINTS = tuple(
    [Rational(n, d) for n, d in pairs]
    for pairs in (
        ((7, 5), (-11, 13), (23, 9), (3, 17), (-19, 7)),
        ((-13, 6), (17, 11), (5, 19), (-31, 12), (8, 3)),
        ((29, 10), (9, 23), (-7, 4), (41, 15), (2, 7)),
        ((4, 9), (37, 14), (31, 21), (-3, 8), (-43, 16)),
        ((-5, 3), (-2, 11), (-47, 18), (53, 20), (13, 5)),
    )
)
_CONFIG = ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False)


@lru_cache(maxsize=1024)
def parse(latex: str) -> Expr:
    """Return the expression that a checked piece of LaTeX is (see `expression.explicit`); raises what the parser raises."""
    found = latex2sympy(latex, normalization_config=None, conversion_config=_CONFIG)
    if not isinstance(found, Expr):
        raise TypeError(f"not an expression but a {type(found).__name__}")
    found = found.replace(lambda part: isinstance(part, AppliedUndef), lambda part: Symbol(str(part)))
    return found.xreplace({Symbol("i"): I})


def equal(gold: Expr, answer: Expr, decimal: str = "") -> bool:
    """Whether two expressions are equal; `decimal` names the side (`gold`, `answer`) that is a decimal if only one is."""
    if gold == answer:
        return True
    symbols = _symbols(gold, answer)
    if symbols and _has_bounds(gold, answer):
        return False
    if symbols:
        pairs = list(zip(_at_points(gold, symbols), _at_points(answer, symbols), strict=True))
        known = [(a, b) for a, b in pairs if _is_number(a) and _is_number(b)]
        return len(known) >= 2 and all(_close(a, b, _NOISE) for a, b in known)
    a, b = gold.evalf(_DIGITS), answer.evalf(_DIGITS)
    if not _is_number(a) or not _is_number(b):
        return False
    if decimal and not _is_short(gold if decimal == "answer" else answer):
        return _close(a, b, TOLERANCE)
    return _close(a, b, _NOISE) and _exactly(gold, answer)


def proportional(gold: Expr, answer: Expr, positive: bool = False) -> bool:
    """Whether one expression is a constant multiple of the other, so that both are zero (or have one sign) together."""
    symbols = _symbols(gold, answer)
    if _has_bounds(gold, answer):
        return gold in (answer, -answer)
    pairs = zip(_at_points(gold, symbols), _at_points(answer, symbols), strict=True)
    known = [(a, b) for a, b in pairs if _is_number(a) and _is_number(b) and a != 0 and b != 0]
    if not symbols or len(known) < 3:
        return False
    ratios = [a / b for a, b in known]
    return all(_close(a, b, _NOISE) for a, b in combinations(ratios, 2)) and (
        not positive or bool(ratios[0] > 0)
    )


def near(exact: Expr, rounded: Expr) -> bool:
    """Whether one number rounds another, within a hundredth of it."""
    a, b = exact.evalf(_DIGITS), rounded.evalf(_DIGITS)
    return _is_number(a) and _is_number(b) and _close(a, b, Rational(1, 100))


def _has_bounds(*expressions: Expr) -> bool:
    """Whether a sum, product, integral or limit is in them: at rational points it has no value, so it is compared as it stands."""
    return any(expression.has(Sum, Product, Integral, Limit) for expression in expressions)


def _symbols(*expressions: Expr) -> list[Symbol]:
    found = set().union(*(expression.free_symbols for expression in expressions))
    return sorted(found, key=lambda symbol: symbol.name)


def _at_points(expression: Expr, symbols: Sequence[Symbol]) -> list[Expr]:
    """Return the value of an expression at every point, `nan` where it has none."""
    values = []
    for number, point in enumerate(_POINTS):
        chosen = {s: point[i % len(point)] + (i // len(point)) + number for i, s in enumerate(symbols)}
        try:
            values.append(expression.xreplace(chosen).evalf(_DIGITS))
        except (ArithmeticError, AttributeError, TypeError, ValueError):
            values.append(nan)
    return values


def _is_number(value: Expr) -> bool:
    return (
        bool(value.is_number)
        and not value.has(nan, zoo)
        and value.is_finite is not False
        and bool(value.is_comparable or value.is_complex)
    )


def _close(a: Expr, b: Expr, tolerance: Rational) -> bool:
    """Whether two numbers differ by at most a share of the first."""
    size = max(abs(a), abs(b)) if tolerance is _NOISE else abs(a)
    return bool(abs(a - b) <= tolerance * size)


def _exactly(a: Expr, b: Expr) -> bool:
    """Whether two numbers whose first digits agree are equal: their difference vanishes to 300 digits."""
    difference = Add(a, Mul(-1, b))
    if difference == 0:
        return True
    size = abs(a.evalf(_DIGITS)) or 1
    return bool(abs(difference.evalf(_DIGITS, maxn=400)) <= size * Rational(1, 10**120))


def _is_short(number: Expr) -> bool:
    """Whether a number can be written as a decimal of a few digits."""
    if not number.is_Rational:
        number = number.doit()
    if not number.is_Rational:
        return False
    scaled = (abs(number) * 10**power for power in range(SHORT + 3))
    return any(value.is_Integer and value < 10**SHORT for value in scaled) or bool(number.is_Integer)
