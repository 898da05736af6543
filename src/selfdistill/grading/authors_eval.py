r"""Grader `authors-eval`: the authors' evaluation (paper.md 4.5), in the style of Qwen2.5-Math.

Thinking between tags is cut; the answer is what follows the last `boxed`, also where it is never closed. Texts are normalised and
compared as strings, as numbers (1e-4, absolute; a hundredth and a hundredfold are equal too), thing by thing in brackets, and
with sympy. Written from those facts: details of the normalisation are the public ones of Qwen2.5-Math as far as they are known.

DEVIATION: latex2sympy2_extended reads what the authors' three parsers read in turn, and processor time is limited, not 3 s.
"""

from __future__ import annotations

import re
from math import isclose

from selfdistill.grading.answers import integers_equal

ABSOLUTE = 1e-4
_REPLACEMENTS = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\[dt]frac", r"\\frac"), (r"\\(?:left|right|displaystyle)(?![a-z])|\\[!,;: ]|\\\$|\$|['\"]", ""),
        (r"\\(?:mathrm|mathbf|textbf|mbox)\b", r"\\text"), (r"\^\s*(?:\\circ|\{\\circ\})", ""), (r"\\?%", ""),
        (r"(?<=[\d}])\s*\\text\{[^{}]*\}(?:\^\{?\d\}?)?$", ""), (r"\\text\{([^{}]*)\}", r"\1"), (r"\\geq|\\ge\b", r"\\ge"),
        (r"\\leq|\\le\b", r"\\le"), (r"bmatrix", "pmatrix"), (r"infinity", r"\\infty"), (r"^[a-zA-Z]\w?\s*(?:=|\\in)\s*", ""),
        (r"\s+", ""), (r"(?<!\d)\.(?=\d)", "0."), (r"(\d+)\.0+$", r"\1"), (r"\\sqrt(\w)", r"\\sqrt{\1}"),
        (r"\\frac(\w)(\w)", r"\\frac{\1}{\2}"), (r"\\frac(\w)\{", r"\\frac{\1}{"), (r"(\\frac\{[^{}]*\})(\w)", r"\1{\2}"),
        (r"^(-?\d+)/(\d+)$", r"\\frac{\1}{\2}"),
    )
)  # fmt: skip
_PAIR = re.compile(r"[(\[](.+)[)\]]")
_MATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}")

decide = integers_equal


def extract(response: str) -> str | None:
    """Return what follows the last `boxed` outside the thinking, None without one."""
    if re.search(r"<think>.*</think>", response, re.DOTALL):
        response = response.rpartition("</think>")[2]
    _, found, rest = response.rpartition("boxed")
    if not found or not rest:
        return None
    return _to_closing(rest[1:]) if rest.startswith("{") else rest.partition("$")[0].strip()


def _to_closing(text: str) -> str:
    """Return the text up to the brace that closes, or all of it if none does."""
    depth = 1
    for position, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:position].strip()
    return text.strip()


def normalise(text: str) -> str:
    """Return an answer without layout, units, signs of degrees, money and percent, and a name before `=`."""
    text = text.strip().rstrip(".").rstrip("/")
    for pattern, new in _REPLACEMENTS:
        text = pattern.sub(new, text)
    return text


def compare(answer: str, gold: str) -> tuple[str, str]:
    """Return the outcome of the comparison; what sympy cannot read is wrong, as with the authors."""
    return ("correct" if equal(normalise(answer), normalise(gold)) else "wrong"), ""


def equal(answer: str, gold: str) -> bool:
    """Whether two normalised answers are equal."""
    if (
        _without_brackets(answer) == _without_brackets(gold)
        or _letter(answer) == gold
        or _numbers_equal(answer, gold)
    ):
        return True
    for pattern, separator in ((_PAIR, r","), (_MATRIX, r"\\\\|&")):
        given, expected = pattern.fullmatch(answer), pattern.fullmatch(gold)
        if given and expected:
            parts = [re.split(separator, found[1]) for found in (given, expected)]
            return len(parts[0]) == len(parts[1]) and all(map(equal, *parts))
    if answer.count("=") == gold.count("=") == 1:
        given, expected = (f"{left}-({right})" for left, right in (answer.split("="), gold.split("=")))
        return _symbolically_equal(given, expected) or _symbolically_equal(f"-({given})", expected)
    return _symbolically_equal(answer, gold)


def _without_brackets(text: str) -> str:
    return re.sub(r"[{}()]", "", text).lower()


def _letter(answer: str) -> str | None:
    """Return the option A to E that an answer names last."""
    found = re.findall(r"\b[A-E]\b", answer.upper())
    return found[-1] if found else None


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _numbers_equal(answer: str, gold: str) -> bool:
    given, expected = _number(answer), _number(gold)
    if given is None or expected is None:
        return False
    return any(
        isclose(given, value, rel_tol=0, abs_tol=ABSOLUTE)
        for value in (expected, expected / 100, expected * 100)
    )


def _symbolically_equal(answer: str, gold: str) -> bool:
    """Whether sympy finds two expressions equal, exactly or as numbers."""
    from latex2sympy2_extended import latex2sympy
    from sympy import N, simplify

    try:
        given, expected = latex2sympy(answer), latex2sympy(gold)
        if given == expected or simplify(given - expected) == 0:
            return True
        return isclose(float(N(given)), float(N(expected)), rel_tol=0, abs_tol=ABSOLUTE)
    except Exception:  # noqa: BLE001 (the authors take every failure for unequal)
        return False
