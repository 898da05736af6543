r"""From a normalised answer to what it is: a choice, words, a list, a tuple or interval, a relation, a value.

`read` reads the whole answer or raises `Unreadable`; no part of it is dropped and none is picked out. What the kinds mean, and
when two of them are equal, is told in docs/grading.md and decided in `compare`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from selfdistill.grading.expression import Unreadable, explicit
from selfdistill.grading.kinds import Answer, Choice, Grid, Many, Named, Ordered, Relation, Value, Words
from selfdistill.grading.units import unit_of

_CHOICE = re.compile(
    r"(?:\\text\{\s*)?(?:(?:choice|option|answer)\s*)?\(?\s*([A-J])\s*\)?\s*\}?\.?", re.IGNORECASE
)
_CHOICE_WITH_TEXT = re.compile(r"(?:\\text\{\s*)?(?:\(([A-J])\)|([A-J])[.:)])\s*(?:\}\s*)?(\S.*)", re.DOTALL)
_WORDS = re.compile(r"(?:\\text\{[^\\{}\d]*\}\s*)+")
_AND_OR = re.compile(
    r"(?:\s*,)?\s*(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z]))\s*"
)
_OR = re.compile(r"(?<![a-zA-Z\\])or(?![a-zA-Z])")
_COMMA = re.compile(r"[,;]")
_UNION = re.compile(r"\\cup(?![a-zA-Z])")
_RELATION = re.compile(
    r"\\(?:le|ge|ne|in|notin|approx|sim|equiv|cong|propto|to|mapsto|subset|subseteq|mid)(?![a-zA-Z])|[=<>:]"
)
_LETTER = r"(?:[a-zA-Z]|\\(?!pi|infty|frac|sqrt|text)[a-zA-Z]+)(?:_\{[^{}]*\})?'*"
_NAME = re.compile(
    rf"{_LETTER}(?:\s*[-+]?\s*{_LETTER}){{0,4}}|{_LETTER}\([^()=<>]*\)|\({_LETTER}(?:,\s*{_LETTER})*\)|\|[a-zA-Z]{{1,2}}\|"
    r"|\\frac\{[a-zA-Z]\}\{[a-zA-Z]\}|\\overline\{[A-Z]{2}\}|m?\s*\\angle\s*[A-Z]+|\\text\{[a-zA-Z ]+\}(?:_\{[^{}]*\})?"
)
_LESS, _MORE = ("<", r"\le"), (">", r"\ge")
_CURRENCIES = {"\\$": "$", "€": "€", "£": "£", "¥": "¥"}
_MONEY = re.compile(r"([-+]?)\s*(\\\$|[€£¥])\s*([-+]?.*)", re.DOTALL)
_MONEY_AFTER = re.compile(r"(.*?)\s*(\\\$|[€£¥])", re.DOTALL)
_DEGREE = re.compile(r"(.*?)\s*\^\{\\circ\}\s*(?:\\text\{\s*([CF])\s*\}|([CF]))?", re.DOTALL)
_UNIT = re.compile(r"(.*[\w})!])\s*\\text\{((?:[^{}\\]|\^\{\d\})*)\}(\^\{\d\})?", re.DOTALL)
_PLAIN_UNIT = re.compile(
    r"([-+]?(?:[\d.,]+|\\frac\{\d+\}\{\d+\}))\s*([a-zA-Z¢一-鿿][a-zA-Z一-鿿 /.]*)(\^\{\d\})?"
)
_ORDINAL = re.compile(r"(\d+)\s*\^\{\s*(?:\\text\{)?\s*(?:st|nd|rd|th)\s*\}?\s*\}")
_BASED = re.compile(r"([0-9A-F]+)_\{(\d+)\}")
_MATRIX = re.compile(r"\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_PIECES = re.compile(r"\\[{}]|\\[a-zA-Z]+|\\.|[()\[\]{}]|.", re.DOTALL)


def read(text: str) -> Answer:
    """Return what a normalised answer is. Raises Unreadable where a part of it has no meaning here."""
    text = text.strip()
    if (found := _CHOICE.fullmatch(text)) and found[1].isupper():
        return Choice(found[1])
    if _WORDS.fullmatch(text) and unit_of_letter(text) is None:
        return Words(" ".join(re.sub(r"\\text|[{}]", " ", text).split()))
    if found := _CHOICE_WITH_TEXT.fullmatch(text):
        return Choice(found[1] or found[2], found[3])
    return read_mathematics(text)


def unit_of_letter(text: str) -> str | None:
    r"""Return the letter of an answer that is one letter in a text command, as `\text{x}`."""
    found = re.fullmatch(r"\\text\{\s*([a-zA-Z])\s*\}", text)
    return found[1] if found else None


def read_mathematics(text: str) -> Answer:
    """Return what an answer other than a choice and words is: the loosest connection first."""
    joined, alternatives = _AND_OR.sub(" , ", text), bool(_OR.search(text))
    parts = list(split(joined, _COMMA)[0])
    if len(parts) > 1:
        return _listed(parts, alternatives)
    parts, signs = split(joined, _RELATION)
    if signs:
        return _related(parts, list(signs))
    parts, _ = split(text, _UNION)
    if len(parts) > 1:
        return Many(tuple(read_mathematics(part) for part in parts), union=True)
    return _enclosed(text.strip())


def split(text: str, sign: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Return the parts of `text` between the signs outside all brackets, and the signs."""
    depth, start, parts, signs = 0, 0, [], []
    position = 0
    while position < len(text):
        piece = _PIECES.match(text, position)[0]
        if piece in ("(", "[", "{", r"\{") or piece == r"\begin":
            depth += 1
        elif piece in (")", "]", "}", r"\}") or piece == r"\end":
            depth -= 1
            if depth < 0:
                raise Unreadable("a bracket that is never opened")
        elif depth == 0 and (found := sign.match(text, position)):
            parts.append(text[start:position])
            signs.append(found[0])
            position = start = found.end()
            continue
        position += len(piece)
    if depth:
        raise Unreadable("a bracket that is never closed")
    return [*parts, text[start:]], signs


def _listed(parts: Sequence[str], alternatives: bool) -> Answer:
    """Return a list; `n = 2, 3` is a list with a name, `x < 1` or `x > 2` a union."""
    first = split(parts[0], _RELATION)
    rest = [split(part, _RELATION)[1] for part in parts[1:]]
    if first[1] in (["="], [r"\in"]) and not any(rest) and _NAME.fullmatch(first[0][0].strip()):
        items = [read_mathematics(part) for part in (first[0][1], *parts[1:])]
        return Named(_name(first[0][0]), Many(tuple(_flat(items))))
    items = [read_mathematics(part) for part in parts]
    if not all(isinstance(item, Named) for item in items) or len({item.name for item in items}) > 1:
        return Many(tuple(_flat(items)))
    if alternatives and all(isinstance(item.value, Ordered) for item in items):
        return Named(items[0].name, Many(tuple(item.value for item in items), union=True))
    return Named(items[0].name, Many(tuple(_flat(item.value for item in items))))


def _flat(items: Sequence[Answer]) -> Iterator[Answer]:
    r"""Yield items; the two that `\pm` stands for are two items of the list around it."""
    for item in items:
        if isinstance(item, Many) and not item.union:
            yield from item.items
        else:
            yield item


def _name(text: str) -> str:
    return re.sub(r"\s+|\\text|[{}]", "", text)


def _related(parts: list[str], signs: list[str]) -> Answer:
    """Return a relation: with a name before `=` or `\\in` a named thing, with one variable between bounds an interval."""
    names = 0
    while names < len(signs) and signs[names] in ("=", r"\in") and _NAME.fullmatch(parts[names].strip()):
        names += 1
    if names and all(sign in ("=", r"\in") for sign in signs[:names]):
        value = _related(parts[names:], signs[names:]) if signs[names:] else read_mathematics(parts[-1])
        return Named(_name(parts[0]), value)
    if interval := _interval(parts, signs):
        return interval
    if ":" in signs:
        raise Unreadable("a colon")
    return Relation(tuple(signs), tuple(read_mathematics(part) for part in parts))


def _interval(parts: list[str], signs: list[str]) -> Named | None:
    """Return the interval that an inequality in one variable is, or None."""
    if all(sign in _MORE for sign in signs):
        parts, signs = parts[::-1], [_LESS[_MORE.index(sign)] for sign in reversed(signs)]
    if not all(sign in _LESS for sign in signs) or len(signs) > 2:
        return None
    middle = 1 if len(signs) == 2 else next((i for i in (0, 1) if _is_variable(parts[i])), None)
    if middle is None or not _is_variable(parts[middle]):
        return None
    ends = [parts[0], parts[-1]] if len(signs) == 2 else [*parts[:middle], *parts[middle + 1 :]]
    low, high = (ends[0] if middle else r"-\infty"), (ends[-1] if middle < len(parts) - 1 else r"\infty")
    left = "[" if middle and signs[0] == r"\le" else "("
    right = "]" if middle < len(parts) - 1 and signs[-1] == r"\le" else ")"
    return Named(_name(parts[middle]), Ordered(left + right, (read_mathematics(low), read_mathematics(high))))


def _is_variable(text: str) -> bool:
    return re.fullmatch(r"\s*(?:[a-zA-Z]|\\(?!infty|pi)[a-zA-Z]+)(?:_\{[^{}]*\})?\s*", text) is not None


def _enclosed(text: str) -> Answer:
    """Return a set, a tuple, an interval, a matrix, or what stands without brackets around the whole."""
    if found := _MATRIX.fullmatch(text):
        cells = [[read_mathematics(cell) for cell in row.split("&")] for row in _rows(found[2])]
        return Grid("v" in found[1].lower(), tuple(map(tuple, cells)))
    for opening, closing in ((r"\{", r"\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")")):
        if text.startswith(opening) and text.endswith(closing) and _one_pair(text, len(opening)):
            inner = text[len(opening) : -len(closing)]
            parts, _ = split(inner, _COMMA)
            if opening == r"\{":
                return Many(tuple(_flat([read_mathematics(part) for part in parts])))
            if len(parts) > 1:
                return Ordered(opening + closing, tuple(read_mathematics(part) for part in parts))
            if (opening, closing) == ("(", ")") or _MATRIX.fullmatch(inner.strip()):
                return _enclosed(inner.strip())
    return _signed(text)


def _rows(body: str) -> list[str]:
    rows = re.split(r"\\\\", body.strip())
    return rows if rows[-1].strip() else rows[:-1]


def _one_pair(text: str, start: int) -> bool:
    """Whether the bracket that opens `text` (its first `start` characters) closes at its end and not before."""
    depth, position = 1, start
    while position < len(text):
        piece = _PIECES.match(text, position)[0]
        depth += {"(": 1, "[": 1, "{": 1, r"\{": 1, ")": -1, "]": -1, "}": -1, r"\}": -1}.get(piece, 0)
        position += len(piece)
        if depth == 0:
            return position == len(text)
    return False


def _signed(text: str) -> Answer:
    r"""Return the value, or the two that `\pm` stands for."""
    if not re.search(r"\\[pm]{2}(?![a-zA-Z])", text):
        return _value(text)
    signs = (("+", "-"), ("-", "+"))
    texts = [re.sub(r"\\pm(?![a-zA-Z])", a, re.sub(r"\\mp(?![a-zA-Z])", b, text)) for a, b in signs]
    return Many(tuple(_value(one) for one in texts))


def _value(text: str) -> Value:
    """Return a number or an expression with what is written after it (unit, percent sign, base)."""
    text = text.strip()
    if found := _BASED.fullmatch(text):
        return Value(found[1], found[1], base=found[2])
    if found := _ORDINAL.fullmatch(text):
        return replace(_value(found[1]), unit="st")
    if found := _MONEY.fullmatch(text):
        return _with_unit(found[1] + found[3], _CURRENCIES[found[2]])
    if found := _MONEY_AFTER.fullmatch(text):
        return _with_unit(found[1], _CURRENCIES[found[2]])
    if text.endswith(r"\%"):
        return replace(_value(text[:-2]), percent=True)
    if found := _DEGREE.fullmatch(text):
        return _with_unit(found[1], "°" + (found[2] or found[3] or ""))
    for pattern in (_UNIT, _PLAIN_UNIT):
        if (found := pattern.fullmatch(text)) and (unit := unit_of(f"{found[2]}{found[3] or ''}")):
            return _with_unit(found[1], unit)
    bare = re.sub(r"\\text\{\s*([a-zA-Z])\s*\}", r" \1 ", text)
    return Value(explicit(bare), text)


def _with_unit(text: str, unit: str) -> Value:
    """Return a value with its unit, the one after "dollars" of `\\$5 \\text{ dollars}` being the same."""
    value = _value(text)
    if value.unit not in ("", unit) or value.percent:
        raise Unreadable(f"two units, {value.unit or '%'} and {unit}")
    return replace(value, unit=unit)
