r"""Right rewrites and wrong neighbours of gold answers, made by rule: the corpus on which graders are measured.

`corpus(golds)` gives (kind, rule, answer, gold, truth). Every gold gets the rules of all golds and those of its kind. Used by
tests/unit/test_grading_corpus.py and benchmarks/grading.py; the golds come from the data files, none is stored here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

EXOTIC = frozenset(
    """fullwidth digits|Arabic digits|bold|Chinese phrase|Chinese unit|phrase|row spacing|big brackets|base in words|base in
    brackets|base as text|tilde group|thin group|brace group|e notation|unicode sign|unicode|degree command|degree character|euro
    |digit beside prime|subscript|picked: rows|picked: cases|picked: or sign|picked: arrow|picked: open bracket|picked: dots
    |picked: cells|sum: backslash space|sum: thin space|sum: quad|sum: braces|sum: dollars|sum: fraction|sum: tilde|sum: words
    |imaginary|imaginary upright|remark|million|false equation|false rounding""".replace("\n    ", " ")
    .replace(" |", "|")
    .split("|")
)
"""Rules that few responses use, or that only a policy under training would find."""


class Case(NamedTuple):
    """One generated answer."""

    kind: str
    rule: str
    answer: str
    gold: str
    truth: bool


Pairs = Iterator[tuple[str, str]]


def kind_of(gold: str) -> str:
    """Return the kind of a gold answer: which rules apply to it."""
    for kind, pattern in KINDS.items():
        if re.fullmatch(pattern, gold, re.DOTALL):
            return kind
    return "expression"


KINDS = {
    "integer": r"-?\d+",
    "decimal": r"-?\d*\.\d+",
    "fraction": r"-?\\[dt]?frac\s*(\d|\{\d+\})\s*(\d|\{\d+\})",
    "grouped": r"\d{1,3}(,(\\!)?\s?\d{3})+",
    "based": r"\d+_\{?\d+\}?",
    "degrees": r"\d+\^\\circ",
    "money": r"\\\$[\d.,\\!]+",
    "choice": r"\\text\{\([A-J]\)\}",
    "words": r"\\text\{[A-Za-z]+\}",
    "unit": r".+\\(mbox|text)\{ ?[a-z]+\}(\^2)?",
    "matrix": r"\\begin\{pmatrix\}.*\\end\{pmatrix\}",
    "union": r".*\\cup.*",
    "set": r"\\\{.*\\\}",
    "tuple": r"(\\left)?\s*[(\[][^()]*,[^()]*(\\right)?[)\]]",
    "membership": r"[a-z] \\in .*",
    "assignment": r"[a-z]\s*=.*",
    "equation": r".*=.*",
    "list": r"[^()]*,[^()]*",
    "plus-minus": r".*\\pm.*",
}


def corpus(golds: Iterable[str]) -> Iterator[Case]:
    """Yield every rewrite and neighbour of every gold, each once."""
    seen = set()
    for gold in golds:
        kind = kind_of(gold)
        for truth, makers in (
            (True, (everywhere_right, RIGHT.get(kind))),
            (False, (everywhere_wrong, WRONG.get(kind))),
        ):
            for maker in filter(None, makers):
                for rule, answer in maker(gold):
                    case = Case(kind, rule, answer, gold, truth)
                    if case not in seen and not (not truth and answer == gold):
                        seen.add(case)
                        yield case


def everywhere_right(gold: str) -> Pairs:
    """Yield what changes the meaning of no answer."""
    yield "same", gold
    yield "trailing period", f"{gold}."
    yield "dollars", f"${gold}$"
    yield "brackets of mathematics", rf"\({gold}\)"
    yield "display style", rf"\displaystyle {gold}"
    yield "bold", f"**{gold}**"
    yield "phrase", rf"\text{{The answer is }} {gold}"
    yield "Chinese phrase", rf"\text{{答案是}}{gold}"
    if "frac" in gold:
        yield "dfrac", re.sub(r"\\[dt]?frac", r"\\dfrac", gold)
        yield "tfrac", re.sub(r"\\[dt]?frac", r"\\tfrac", gold)
    if "(" in gold and "\\left" not in gold and "text" not in gold and "matrix" not in gold:
        yield "big brackets", re.sub(r"\)", r"\\bigr)", re.sub(r"\(", r"\\bigl(", gold))
    if re.search(r"(?<!\w)-\d", gold):
        yield "unicode sign", re.sub(r"-(?=\d)", "−", gold)
    for command, sign in ((r"\pi", "π"), (r"\infty", "∞"), (r"\cup", "∪"), (r"\pm", "±"), (r"\in ", "∈ ")):
        if command in gold and command != r"\infty" or r"\infty" in gold and command == r"\infty":
            yield "unicode", gold.replace(command, sign)


def everywhere_wrong(gold: str) -> Pairs:
    """Yield what is another answer, whatever the gold answer is, most of it unreadable."""
    if re.search(r"\\text|\\mbox", gold):
        yield "another word", r"\text{neither}"
        return
    yield "picked: rows", rf"7919 \\ {gold}"
    yield "picked: cells", rf"7919 & {gold}"
    yield "picked: or sign", rf"7919 \lor {gold}"
    yield "picked: arrow", rf"7919 \to {gold}"
    yield "picked: open bracket", f"( {gold}"
    yield "picked: dots", rf"7919, \ldots, {gold}"
    yield "picked: cases", rf"\begin{{cases}} 7919 & x < 0 \\ {gold} & x \ge 0 \end{{cases}}"
    yield "alternative", rf"7919 \text{{ or }} {gold}"
    if (
        "," not in gold
        and "=" not in gold
        and "in" not in gold
        and "matrix" not in gold
        and "circ" not in gold
    ):
        yield "one more", f"({gold}) + 1"
        yield "negative", f"-({gold}) - 3"
        yield "times a root", rf"({gold} + 1)\sqrt{{2}}" if gold == "0" else rf"({gold})\sqrt{{2}}"
        yield "variable added", f"{gold} + q"
        yield "a pair", rf"({gold}, 7919)"
        yield "a prime number beside", rf"7919\ {gold}" if gold[0].isdigit() else rf"({gold}) - 7919"
        yield "inequality", rf"x > {gold}"


def groups(digits: str, sign: str) -> str:
    """Return digits in groups of three with a sign between them."""
    return re.sub(r"(?<=\d)(?=(\d{3})+$)", lambda _: sign, digits)


def integer_right(gold: str) -> Pairs:
    n = int(gold)
    minus, digits = "-" if n < 0 else "", str(abs(n))
    yield "decimal zero", f"{n}.0"
    yield "fraction", rf"\frac{{{2 * n}}}{{2}}"
    yield "assignment", f"x = {n}"
    yield "sum", f"{n - 4} + 4"
    yield "centimetres", rf"{n}\text{{ cm}}"
    yield "Chinese unit", rf"{n}\text{{个}}"
    yield "chain", rf"\frac{{{3 * n}}}{{3}} = {n}"
    yield "reason", rf"{n} \text{{ because }} {n} + 0 = {n}"
    yield "fullwidth digits", minus + digits.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    yield "Arabic digits", minus + digits.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    if n >= 0:
        yield "euro", f"€{n}"
        yield "dollar", rf"\${n}"
        yield "degree character", f"{n}°"
    if n < 0:
        yield "unicode sign", f"–{digits}"
    if len(digits) > 3:
        for rule, sign in (
            ("comma group", ","),
            ("thin group", r"\,"),
            ("tilde group", "~"),
            ("brace group", "{,}"),
            ("space group", " "),
        ):
            yield rule, minus + groups(digits, sign)
    if len(digits) > 1:
        yield "scientific", rf"{minus}{digits[0]}.{digits[1:]} \times 10^{{{len(digits) - 1}}}"
        yield "e notation", f"{minus}{digits[0]}.{digits[1:]}e{len(digits) - 1}"


def integer_wrong(gold: str) -> Pairs:
    n = int(gold)
    a, b = (n // 2, n - n // 2) if n > 3 else (n - 17, 17)
    for step in (1, -1, 10):
        yield "near", str(n + step)
    yield "ten times", rf"{n or 1} \times 10"
    yield "half more", f"{n}.5"
    yield "opposite", str(-n if n else 1)
    yield "range", f"{n}-{n + 9}"
    yield "two numbers", f"{n}, {n + 1}"
    if 0 <= a < 1000 <= n or a >= 0 and n < 100:
        for rule, sign in (
            ("plain space", " "),
            ("backslash space", r"\ "),
            ("thin space", r"\;"),
            ("quad", r"\quad "),
            ("tilde", "~"),
        ):
            if len(str(b)) != 3:
                yield f"sum: {rule}", f"{a}{sign}{b}"
        yield "sum: braces", f"{{{a}}}{{{b}}}"
        yield "sum: dollars", f"${a}$ ${b}$"
        yield "sum: fraction", rf"{a}\frac{{{2 * b}}}{{2}}"
        yield "sum: words", rf"\text{{x}} {a} {b}"
    yield "digit beside prime", f"{n}'"
    yield "subscript", f"{n}_{{x}}"
    yield "imaginary", rf"{n or 1}\text{{i}}"
    yield "imaginary upright", rf"{n or 1}\mathrm{{i}}"
    yield "remark", rf"{n} \text{{ (not 7919)}}"
    yield "million", rf"{n or 1} \text{{ million}}"
    yield "false equation", f"7919 = {n}"
    yield "false rounding", rf"{n} \approx 7919"
    yield "percent", rf"{n or 1}\%"
    yield "plus-minus", rf"\pm {n or 1}"
    yield "power", f"{n or 3}^{{2}} + {n or 3}"
    yield "at least", rf"x \ge {n}"


def decimal_right(gold: str) -> Pairs:
    value = Fraction(gold if gold[0] != "." else f"0{gold}")
    yield "fraction", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    yield "zero at the end", f"{gold}0"
    yield "zero at the front", gold if gold[0] != "." else f"0{gold}"
    digits = str(abs(value.numerator * 10**12 // value.denominator)).rstrip("0")
    power = len(str(abs(value.numerator * 10**12 // value.denominator))) - 1 - 12
    yield "scientific", rf"{digits[0]}.{digits[1:] or '0'} \times 10^{{{power}}}"
    yield "e notation", f"{digits[0]}.{digits[1:] or '0'}e{power}"


def decimal_wrong(gold: str) -> Pairs:
    last = int(gold[-1])
    yield "last digit", f"{gold[:-1]}{(last + 1) % 10}"
    yield "last digit down", f"{gold[:-1]}{(last - 1) % 10}"
    yield "another digit", f"{gold}1"
    yield "tenth", rf"\frac{{{gold}}}{{10}}"
    yield "last digit cut", gold[:-1] if len(gold.split(".")[1]) > 1 else f"{gold}5"


def fraction_right(gold: str) -> Pairs:
    minus, a, b = fraction_parts(gold)
    yield "slash", f"{minus}{a}/{b}"
    yield "long form", rf"{minus}\frac{{{a}}}{{{b}}}"
    yield "expanded", rf"{minus}\frac{{{3 * a}}}{{{3 * b}}}"
    yield "minus inside", rf"\frac{{{minus}{a}}}{{{b}}}"
    yield "decimal", f"{minus}{a / b:.10f}" if (10**8 * a) % b else f"{minus}{a / b:.8f}"
    if a > b and a % b and not minus:
        yield "mixed number", rf"{a // b}\frac{{{a % b}}}{{{b}}}"
    if a < 10 and b < 10:
        yield "no braces", rf"{minus}\frac{a}{b}"


def fraction_wrong(gold: str) -> Pairs:
    minus, a, b = fraction_parts(gold)
    yield "numerator", rf"{minus}\frac{{{a + 1}}}{{{b}}}"
    yield "denominator", rf"{minus}\frac{{{a}}}{{{b + 1}}}"
    yield "turned", rf"{minus}\frac{{{b}}}{{{a}}}" if a != b else "0"
    yield "sign", rf"{'' if minus else '-'}\frac{{{a}}}{{{b}}}"
    yield (
        "few digits",
        f"{minus}{int(100 * a / b + 1) / 100:.2f}" if (100 * a) % b else f"{minus}{a / b + 0.01:.2f}",
    )
    yield "sum: fraction", rf"1\frac{{{a}}}{{{b}}}" if a >= b else rf"{minus}{a}\ {b}"


def fraction_parts(gold: str) -> tuple[str, int, int]:
    """Return sign, numerator and denominator of a gold fraction."""
    found = re.search(r"frac\s*(?:(\d)|\{(\d+)\})\s*(?:(\d)|\{(\d+)\})", gold)
    return "-" if gold[0] == "-" else "", int(found[1] or found[2]), int(found[3] or found[4])


def grouped_right(gold: str) -> Pairs:
    digits = re.sub(r"\D", "", gold)
    yield "no groups", digits
    for rule, sign in (
        ("comma group", ","),
        ("thin group", r"\,"),
        ("tilde group", "~"),
        ("brace group", "{,}"),
        ("space group", " "),
    ):
        yield rule, groups(digits, sign)


def grouped_wrong(gold: str) -> Pairs:
    digits = re.sub(r"\D", "", gold)
    yield "near", str(int(digits) + 1)
    yield "list", groups(digits, ", ")
    half = int(digits) // 2
    yield "sum: plain space", f"{half} {int(digits) - half}"
    yield "a group less", groups(digits[:-3], ",")


def based_right(gold: str) -> Pairs:
    digits, base = re.findall(r"\d+", gold)
    yield "braces", f"{digits}_{{{base}}}"
    yield "base in brackets", f"({digits})_{base}"
    yield "base in words", rf"{digits}_{{\text{{{dict(zip('56789', WORDS, strict=True))[base]}}}}}"
    yield "base as text", rf"{digits}_{{\text{{{base}}}}}"
    yield "base in text", rf"{digits} \text{{ (base {base})}}"


WORDS = ("five", "six", "seven", "eight", "nine")


def based_wrong(gold: str) -> Pairs:
    digits, base = re.findall(r"\d+", gold)
    yield "another base", f"{digits}_{{{int(base) + 1}}}"
    yield "base ten", f"{digits}_{{10}}"
    yield "near", f"{int(digits) + 1}_{{{base}}}"
    yield "its value", str(int(digits, int(base)))


def degrees_right(gold: str) -> Pairs:
    n = gold.partition("^")[0]
    yield "braces", rf"{n}^{{\circ}}"
    yield "no degrees", n
    yield "degree command", rf"{n}\degree"
    yield "degree character", f"{n}°"
    yield "degrees in words", rf"{n} \text{{ degrees}}"


def degrees_wrong(gold: str) -> Pairs:
    n = int(gold.partition("^")[0])
    yield "near", rf"{n + 1}^\circ"
    yield "sum: plain space", f"{n // 2} {n - n // 2}"
    yield "another unit", rf"{n} \text{{ cm}}"
    yield "minutes", rf"{n}'"
    yield "radians", rf"{n} \text{{ radians}}"


def money_right(gold: str) -> Pairs:
    n = re.sub(r"[^\d.]", "", gold)
    yield "no sign", n
    yield "no backslash", f"${n}"
    yield "in words", rf"{n} \text{{ dollars}}"
    yield "no groups", rf"\${n}"


def money_wrong(gold: str) -> Pairs:
    n = re.sub(r"[^\d.]", "", gold)
    yield "near", rf"\${float(n) + 1:.2f}"
    yield "cents", rf"{n} \text{{ cents}}"
    yield "another currency", f"€{n}"
    yield "sum: plain space", f"{int(float(n)) - 11} 11"


def unit_right(gold: str) -> Pairs:
    number = re.sub(r"\\(mbox|text)\{.*", "", gold)
    unit = re.sub(r".*\{ ?([a-z]+)\}.*", r"\1", gold)
    power = "^2" if gold.endswith("^2") else ""
    yield "no unit", number
    yield "text", rf"{number}\text{{ {unit}}}{power}"
    yield "upright", rf"{number} \mathrm{{{unit}}}{power.replace('2', '{2}')}"
    yield "thin space", rf"{number}\,\text{{{unit}}}{power}"
    if power:
        yield "square", rf"{number}\text{{ square {unit}}}"


def unit_wrong(gold: str) -> Pairs:
    number = re.sub(r"\\(mbox|text)\{.*", "", gold)
    yield "another unit", rf"{number}\text{{ kg}}"
    yield "near", f"{number} + 1"
    yield "another power", rf"{number}\text{{ cm}}^3"


def choice_right(gold: str) -> Pairs:
    letter = gold[-3]
    yield "letter", letter
    yield "in brackets", f"({letter})"
    yield "choice", rf"\text{{Choice {letter}}}"
    yield "text", rf"\text{{{letter}}}"
    yield "with its words", f"{letter}: the third one"


def choice_wrong(gold: str) -> Pairs:
    other = chr(ord(gold[-3]) + 1)
    yield "another letter", other
    yield "another in brackets", rf"\text{{({other})}}"
    yield "two letters", f"{gold[-3]}, {other}"
    yield "none", r"\text{None of the above}"


def words_right(gold: str) -> Pairs:
    word = gold[6:-1]
    yield "plain", word
    yield "bold type", rf"\textbf{{{word}}}"
    yield "lower case", rf"\text{{{word.lower()}}}"


def words_wrong(gold: str) -> Pairs:
    word = gold[6:-1]
    yield "another word", rf"\text{{{word[::-1]}}}"
    yield "longer word", rf"\text{{{word}ly}}"
    yield "negated", rf"\text{{not {word}}}"


def split_items(gold: str) -> tuple[str, list[str], str]:
    """Return the opening, the things between commas and the closing of a gold answer in brackets (or in none)."""
    plain = re.sub(r"\\left|\\right", "", gold).strip()
    found = re.fullmatch(r"(\\\{|[(\[]?)(.*?)(\\\}|[)\]]?)", plain, re.DOTALL)
    return found[1], [item.strip() for item in found[2].split(",")], found[3]


def tuple_right(gold: str) -> Pairs:
    left, items, right = split_items(gold)
    yield "spaces", f"{left} {' , '.join(items)} {right}"
    yield "left and right", rf"\left{left}{', '.join(items)}\right{right}"
    yield "big brackets", rf"\bigl{left}{', '.join(items)}\bigr{right}"
    if "infty" not in gold:
        yield "sum in it", f"{left}{items[0]} + 0, {', '.join(items[1:])}{right}"
    if left != "(" or right != ")":
        signs = r"\le" if left == "[" else "<", r"\le" if right == "]" else "<"
        if "infty" not in gold:
            yield "inequality", f"{items[0]} {signs[0]} x {signs[1]} {items[1]}"


def tuple_wrong(gold: str) -> Pairs:
    left, items, right = split_items(gold)
    yield "turned", f"{left}{', '.join(reversed(items))}{right}" if items != items[::-1] else "0"
    yield "left bracket", f"{'[' if left == '(' else '('}{', '.join(items)}{right}"
    yield "right bracket", f"{left}{', '.join(items)}{']' if right == ')' else ')'}"
    yield "first thing", items[0]
    yield (
        "near",
        f"{left}{items[0]} + 1, {', '.join(items[1:])}{right}"
        if "infty" not in items[0]
        else f"{left}0, 1{right}",
    )
    yield "one more", f"{left}{', '.join([*items, items[0]])}{right}"


def list_right(gold: str) -> Pairs:
    _, items, _ = split_items(gold)
    yield "order", ", ".join(reversed(items))
    yield "and", rf"{', '.join(items[:-1])} \text{{ and }} {items[-1]}"
    yield "semicolons", "; ".join(items)
    yield "set", rf"\{{{', '.join(items)}\}}"


def list_wrong(gold: str) -> Pairs:
    _, items, _ = split_items(gold)
    yield "first thing", items[0]
    yield "one more", ", ".join([*items, "7919"])
    yield "near", ", ".join([*items[:-1], f"{items[-1]} + 1"])
    yield "tuple turned", f"({', '.join(reversed(items))})"
    yield "sum: plain space", " ".join(items)


def set_right(gold: str) -> Pairs:
    left, items, right = split_items(gold)
    yield "order", f"{left}{', '.join(reversed(items))}{right}"
    yield "left and right", rf"\left{left}{', '.join(items)}\right{right}"
    yield "twice", f"{left}{', '.join([*items, items[-1]])}{right}"


def set_wrong(gold: str) -> Pairs:
    left, items, right = split_items(gold)
    yield "a thing less", f"{left}{', '.join(items[:-1])}{right}"
    yield "near", f"{left}{', '.join([*items[:-1], '7919'])}{right}"
    yield "one more", f"{left}{', '.join([*items, '7919'])}{right}"


def union_right(gold: str) -> Pairs:
    parts = [part.strip() for part in gold.split(r"\cup")]
    yield "order", r" \cup ".join(reversed(parts))
    yield "left and right", gold.replace("(", r"\left(").replace(")", r"\right)")
    yield "membership", rf"x \in {gold}"


def union_wrong(gold: str) -> Pairs:
    parts = [part.strip() for part in gold.split(r"\cup")]
    yield "first part", parts[0]
    yield "closed", gold.replace("(", "[", 1)
    yield "list", ", ".join(parts)
    yield "intersection", gold.replace(r"\cup", r"\cap")


def matrix_right(gold: str) -> Pairs:
    yield "square brackets", gold.replace("pmatrix", "bmatrix")
    yield "row spacing", gold.replace(r"\\", r"\\[4pt]")
    yield "row at the end", gold.replace(r" \end", r" \\ \end")


def matrix_wrong(gold: str) -> Pairs:
    yield "determinant", gold.replace("pmatrix", "vmatrix")
    rows = re.split(r"\\\\", re.sub(r"\\(begin|end)\{pmatrix\}", "", gold))
    if rows != rows[::-1]:
        yield (
            "turned",
            rf"\begin{{pmatrix}}{chr(92) * 2}".rstrip("\\")
            + (r" \\ ".join(reversed(rows)))
            + r"\end{pmatrix}",
        )
    yield "a row less", r"\begin{pmatrix}" + r" \\ ".join(rows[:-1]) + r"\end{pmatrix}"
    yield "near", gold.replace(r"\end", r" + 1 \end")


def membership_right(gold: str) -> Pairs:
    inside = gold.partition(r"\in")[2].strip()
    yield "no name", inside
    yield "spaces", gold.replace(r"\in", r" \in \; ")
    low, high = inside[1:-1].split(",")
    yield "inequality", rf"{low} \le x \le {high}"


def membership_wrong(gold: str) -> Pairs:
    inside = gold.partition(r"\in")[2].strip()
    yield "open", f"({inside[1:]}"
    yield "another name", gold.replace("x", "y")
    yield "strict", rf"{inside[1:-1].split(',')[0]} < x \le {inside[1:-1].split(',')[1]}"


def assignment_right(gold: str) -> Pairs:
    name, value = (part.strip() for part in gold.split("="))
    yield "no name", value
    yield "no spaces", f"{name}={value}"
    yield "doubled", f"2{name} = 2({value})"
    yield "zero", f"{name} - ({value}) = 0"


def assignment_wrong(gold: str) -> Pairs:
    name, value = (part.strip() for part in gold.split("="))
    yield "another name", f"{'z' if name != 'z' else 'w'} = {value}"
    yield "near", f"{name} = {value} + 1"
    yield "inequality", f"{name} > {value}"


def equation_right(gold: str) -> Pairs:
    left, right = (part.strip() for part in gold.split("="))
    yield "turned", f"{right} = {left}"
    yield "doubled", f"2({left}) = 2({right})"
    yield "negative", f"-({left}) = -({right})"


def equation_wrong(gold: str) -> Pairs:
    left, right = (part.strip() for part in gold.split("="))
    yield "near", f"{left} = {right} + 1"
    yield "left side", left
    yield "inequality", f"{left} < {right}"


def plus_minus_right(gold: str) -> Pairs:
    plus, minus = gold.replace(r"\pm", "+"), gold.replace(r"\pm", "-")
    yield "both", f"{plus}, {minus}"
    yield "or", rf"{minus} \text{{ or }} {plus}"
    yield "assignment", f"x = {gold}"


def plus_minus_wrong(gold: str) -> Pairs:
    yield "plus only", gold.replace(r"\pm", "+")
    yield "minus only", gold.replace(r"\pm", "-")
    yield "near", f"{gold} + 1"


def expression_right(gold: str) -> Pairs:
    yield "plus nothing", f"{gold} + 0"
    yield "half of double", rf"\frac{{2({gold})}}{{2}}" if "\\frac" not in gold[:0] else gold
    yield "assignment", f"A = {gold}"
    yield "brackets", f"({gold})"
    if "\\sqrt" in gold:
        yield "root without braces", re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", gold)


def expression_wrong(gold: str) -> Pairs:
    for old, new in (("2", "3"), ("3", "5"), ("1", "7"), ("5", "8")):
        if old in gold:
            yield "digit", gold.replace(old, new, 1)
    if letters := re.findall(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])", gold):
        if letters[0] != "i":
            yield (
                "letter case",
                re.sub(rf"(?<![\\a-zA-Z]){letters[0]}(?![a-zA-Z])", letters[0].swapcase(), gold),
            )
            yield "another letter", re.sub(rf"(?<![\\a-zA-Z]){letters[0]}(?![a-zA-Z])", "w", gold)
        else:
            yield (
                "conjugate",
                re.sub(r"[+-](?=[^+-]*i$)", lambda m: "-" if m[0] == "+" else "+", gold.strip()),
            )
    yield "squared", f"({gold})^2"
    yield "opposite", f"-({gold})"


RIGHT: dict[str, Callable[[str], Pairs]] = {
    "integer": integer_right, "decimal": decimal_right, "fraction": fraction_right, "grouped": grouped_right,
    "based": based_right, "degrees": degrees_right, "money": money_right, "unit": unit_right, "choice": choice_right,
    "words": words_right, "matrix": matrix_right, "union": union_right, "set": set_right, "tuple": tuple_right,
    "membership": membership_right, "assignment": assignment_right, "equation": equation_right, "list": list_right,
    "plus-minus": plus_minus_right, "expression": expression_right,
}  # fmt: skip
WRONG: dict[str, Callable[[str], Pairs]] = {
    "integer": integer_wrong, "decimal": decimal_wrong, "fraction": fraction_wrong, "grouped": grouped_wrong,
    "based": based_wrong, "degrees": degrees_wrong, "money": money_wrong, "unit": unit_wrong, "choice": choice_wrong,
    "words": words_wrong, "matrix": matrix_wrong, "union": union_wrong, "set": set_wrong, "tuple": tuple_wrong,
    "membership": membership_wrong, "assignment": assignment_wrong, "equation": equation_wrong, "list": list_wrong,
    "plus-minus": plus_minus_wrong, "expression": expression_wrong,
}  # fmt: skip
