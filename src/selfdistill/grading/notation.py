r"""Notation that changes no meaning, written one way before answers are read: `normalise`.

Each `Rule` carries a right rewrite of an answer and a wrong neighbour that looks like it; tests grade all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from selfdistill.grading.answers import balanced


class Rule(NamedTuple):
    """One rule: what it writes anew, and (answer, gold) pairs that must be right and wrong with it."""

    name: str
    apply: Callable[[str], str]
    right: tuple[str, str]
    wrong: tuple[str, str]


def substitute(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Return a function that makes regular-expression replacements, one after the other."""
    compiled = [(re.compile(pattern, re.DOTALL), replacement) for pattern, replacement in pairs]

    def _apply(text: str) -> str:
        for pattern, replacement in compiled:
            text = pattern.sub(replacement, text)
        return text

    return _apply


_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‒": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "÷": r"\div ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ",
    "∞": r"\infty ", "±": r"\pm ", "∓": r"\mp ", "√": r"\sqrt ", "°": r"^{\circ}", "º": r"^{\circ}", "∅": r"\emptyset ",
    "⟨": r"\langle ", "⟩": r"\rangle ", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "、": ", ", "。": ".",
    "⁄": "/", "∕": "/", "…": r"\ldots ", "→": r"\to ",
}  # fmt: skip
_SCRIPTS = (
    ("^", str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n"), re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")),
    ("_", str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789"), re.compile("[₀₁₂₃₄₅₆₇₈₉]+")),
)


def plain_characters(text: str) -> str:
    """Write characters beyond ASCII as LaTeX does: digits of any script, signs, Greek, scripts, fractions."""
    if text.isascii():
        return text
    for sign, table, pattern in _SCRIPTS:
        text = pattern.sub(lambda m, s=sign, t=table: f"{s}{{{m.group().translate(t)}}}", text)
    return unicodedata.normalize("NFKC", "".join(map(_latex_of, text)))


def _latex_of(character: str) -> str:
    """Return one character as LaTeX."""
    name = unicodedata.name(character, "")
    if character in _SIGNS:
        return _SIGNS[character]
    if name.startswith("VULGAR FRACTION"):
        return "\\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", character).split("⁄"))
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", name)
    if greek:
        command = greek[2].lower().replace("lamda", "lambda")
        return f"\\{command if greek[1] == 'SMALL' else command.capitalize()} "
    return character


def chinese_numeral(text: str) -> str:
    """Write an answer that is one Chinese numeral as digits."""
    text = re.sub(r"^\\text\{(.)\}$", r"\1", text) if not text.isascii() else text
    if len(text) != 1 or not unicodedata.name(text, "").startswith("CJK"):
        return text
    value = unicodedata.numeric(text, None)
    return text if value is None else f"{value:g}"


_PAIRS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"), ("'", "'"), ('"', '"'),)  # fmt: skip


def unwrapped(text: str) -> str:
    """Take off delimiters of mathematics, bold type and quotes around the whole answer, and end punctuation.

    A pair is taken off only where neither of its halves occurs inside.
    """
    before = None
    while text != before:
        before, text = text, re.sub(r"(?<![.\\])[.,;:]$", "", text.strip()).strip()
        for left, right in _PAIRS:
            inner = text[len(left) : -len(right)]
            whole = len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right)
            if whole and left not in inner and right not in inner:
                text = inner.strip()
        if text.startswith("{") and text.endswith("}") and _closing(text, 0) == len(text) - 1:
            text = text[1:-1].strip()
    return text


def _closing(text: str, start: int) -> int:
    """Return the position of the brace that closes the one at `start`, or -1."""
    content = balanced(text, start + 1)
    return -1 if content is None else start + 1 + len(content)


def dollars(text: str) -> str:
    """Take dollar signs that enclose parts of the answer for delimiters, a single one for money."""
    bare = len(re.findall(r"(?<!\\)\$", text))
    return re.sub(r"(?<!\\)\$", " " if bare % 2 == 0 else r"\\$", text)


_SPACE = (
    r"(?:\\[,;:> !]|~|\\q?quad(?![a-zA-Z])|\\(?:thin|med|thick)space(?![a-zA-Z])|\\hspace\*?\{[^}]*\}|\s)"
)
_GROUPED = re.compile(
    rf"(?<![\d.,_^])(?<![_^]\{{)(\d{{1,3}})((?:(?:,|\{{,\}}|,\\!\s*|{_SPACE}+)\d{{3}})+)(?![\d]|,\d)"
)


def digit_groups(text: str) -> str:
    """Join groups of three digits outside brackets: `10,080`, `10\\,080`, `10{,}080`, `11,\\! 111`.

    With a space after it a comma separates two numbers, and within brackets every comma does.
    """

    def _join(match: re.Match[str]) -> str:
        before = text[: match.start()]
        opened = sum(before.count(sign) for sign in "([") - sum(before.count(sign) for sign in ")]")
        if opened > 0 or before.count(r"\{") > before.count(r"\}") or r"\begin" in before:
            return match.group().replace("{,}", ",")
        return re.sub(r"\D", "", match.group())

    return _GROUPED.sub(_join, text)


_ARGUMENT = r"(?:\\[a-zA-Z]+|[a-zA-Z0-9])"


def braces(text: str) -> str:
    r"""Write the arguments of `\frac`, `\sqrt`, `\binom`, `^` and `_` in braces: `\frac12`, `\frac9{19}`, `x^-1`."""
    for name in ("frac", "binom"):
        text = re.sub(rf"\\{name}\s*({_ARGUMENT})", rf"\\{name}{{\1}}", text)
        text = _second_argument(text, name)
    text = re.sub(rf"\\sqrt\s*(?:({_ARGUMENT})(?<!\d)|(\d+))", r"\\sqrt{\1\2}", text)
    text = re.sub(r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", text)
    text = re.sub(r"\^\s*(-?\d+(?!\d)|-?[a-zA-Z]|-?\\[a-zA-Z]+)", r"^{\1}", text)
    return re.sub(r"_\s*(\d+|[a-zA-Z]|\\[a-zA-Z]+(?!\s*\{))", r"_{\1}", text)


def _second_argument(text: str, name: str) -> str:
    """Put the second argument of each `name` in braces where it has none."""
    start = 0
    while (found := re.compile(rf"\\{name}\s*\{{").search(text, start)) is not None:
        close = _closing(text, found.end() - 1)
        if close < 0:
            return text
        rest = re.sub(rf"^\s*({_ARGUMENT})", r"{\1}", text[close + 1 :])
        text = text[: close + 1] + rest.lstrip()
        start = found.end()
    return text


_BASES = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def bases(text: str) -> str:
    r"""Write the base of a numeral as `_{8}`: `(52)_8`, `52_{\text{eight}}`, `52 \text{ (base 8)}`."""
    for value, word in enumerate(_BASES, 2):
        text = re.sub(
            rf"(?<=_)\{{?\\text\{{\s*(?:base\s*)?{word}\s*\}}\}}?|(?<=_)\{{{word}\}}", f"{{{value}}}", text
        )
        text = re.sub(rf"\bbase[ -]{word}\b", f"base {value}", text)
    text = re.sub(r"_\{\s*\(?(?:\\text\{)?\s*(?:base\s*\}?)?\s*(\d+)\s*\}?\)?\s*\}", r"_{\1}", text)
    text = re.sub(r"\s*\\text\{\s*(?:in )?base\s*\}\s*(\d+)$", r"_{\1}", text)
    text = re.sub(r"^\(\s*([0-9A-F]+)\s*\)\s*_\{?(\d+)\}?$", r"\1_{\2}", text)
    return re.sub(r"^([0-9A-F]+)\s*(?:\\text\{)?\s*,?\s*\(?(?:in )?base (\d+)\)?\s*\}?$", r"\1_{\2}", text)


_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar)\s*\{?(\d+)\}?(?![\d.])")


def repeating(text: str) -> str:
    r"""Write a repeating decimal as the fraction that it is: `0.\overline{3}`."""

    def _fraction(match: re.Match[str]) -> str:
        whole, fixed, cycle = match.groups()
        scale, nines = 10 ** len(fixed), 10 ** len(cycle) - 1
        numerator = int(f"{whole or 0}{fixed}") * nines + int(cycle)
        return f"\\frac{{{numerator}}}{{{scale * nines}}}"

    return _REPEATING.sub(_fraction, text)


_ANSWER_IS = re.compile(
    r"^(?:\\text\{\s*)?(?:(?:so|thus|hence|therefore)\b,?\s*)?(?:(?:the|our|my)\s+)?(?:(?:final|correct)\s+)?"
    r"answer\s*(?:is|[:=])?\s*[:=]?\s*(\}?)\s*(?=[^a-zA-Z\s]|[a-zA-Z](?![a-zA-Z]))",
    re.IGNORECASE,
)
_CHINESE_ANSWER_IS = re.compile(r"^(?:\\text\{\s*)?(?:最终|最后)?(?:的)?答案(?:是|为|[::=])+\s*(\}?)\s*")


def answer_phrase(text: str) -> str:
    """Drop "the answer is" (also in Chinese) before the answer, and the reason that follows it after "because"."""
    text = re.sub(r"\s*(?:\\text\{\s*|\s)(?:because|since)\b.*$", "", text, flags=re.DOTALL)
    for phrase in (_ANSWER_IS, _CHINESE_ANSWER_IS):
        text = phrase.sub(lambda match: "" if match[1] or "\\text" not in match[0] else "\\text{", text)
    text = re.sub(r"^\\text\{\s*([-+]?[\d.,/]+(?:\s*\\%)?)\s*\}$", r"\1", text)
    text = re.sub(r"^\\text\{\s*([-+]?[\d.,]+)\s*([^\d{}][^{}]*)\}$", r"\1\\text{\2}", text)
    return re.sub(r"^[=:]\s*", "", text)


_FUNCTIONS = ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "ln", "log", "exp"]

RULES = (
    Rule("characters", plain_characters, ("٤２", "42"), ("٤３", "42")),
    Rule("chinese numeral", chinese_numeral, ("六", "6"), ("七", "6")),
    Rule(
        "fonts",
        substitute(
            (r"\\(?:display|text|script)style(?![a-zA-Z])|\\(?:no)?limits(?![a-zA-Z])|\\(?:math)?strut(?![a-zA-Z])", ""),
            (r"\\(?:rm|bf|it|tt|large|Large|LARGE|huge|Huge|small|normalsize)(?![a-zA-Z])", ""),
            (r"\\(?:text)?color\s*\{[^{}]*\}\s*(?=\{)|\\underline\s*(?=\{)|\\hline(?![a-zA-Z])", ""),
            (r"\\(?:mbox|textbf|textrm|textit|textnormal|textsf|mathrm|mathbf|mathit|mathsf|mathnormal|operatorname"
             r"|boldsymbol|bm|hbox)\*?\s*(?=\{)", r"\\text"),
            (r"\\text\s*([a-zA-Z])(?![a-zA-Z])", r"\\text{\1}"),
            (r"\\text\s+\{", r"\\text{"),
            (r"\\text\{(\\text\{[^{}]*\})\}", r"\1"), (r"\\text\{\s*([,;])\s*\}", r"\1 "),
        ),
        (r"\mathbf{9}", "9"), (r"\mathbf{8}", "9"),
    ),
    Rule("wrappers", unwrapped, ("**9.**", "9"), (r"\(1\), \(-3\)", "1,-2")),
    Rule("dollar signs", dollars, ("$1$, $-2$", "1,-2"), ("$5$ or $6$", "5")),
    Rule("answer phrase", answer_phrase, (r"\text{The answer is } 9", "9"), (r"\text{The answer is } 8", "9")),
    Rule(
        "synonyms",
        substitute(
            (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"), (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
            (r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\s*\.?", ""), (r"\\lbrace(?![a-zA-Z])", r"\\{"), (r"\\rbrace(?![a-zA-Z])", r"\\}"),
            (r"\\[lr]?vert(?![a-zA-Z])", "|"), (r"\\lbrack(?![a-zA-Z])", "["), (r"\\rbrack(?![a-zA-Z])", "]"),
            (r"\\(?:leq?slant|leqq?|le)(?![a-zA-Z])|<=", r"\\le "), (r"\\(?:geq?slant|geqq?|ge)(?![a-zA-Z])|>=", r"\\ge "),
            (r"\\(?:neq|ne)(?![a-zA-Z])|!=", r"\\ne "), (r"\\lt(?![a-zA-Z])", "<"), (r"\\gt(?![a-zA-Z])", ">"),
            (r"\\(?:dots|cdots|dotsc|dotsb|dotsm)(?![a-zA-Z])|\.\.\.", r"\\ldots "), (r"\\ast(?![a-zA-Z])", "*"),
            (r"\\tg(?![a-zA-Z])", r"\\tan"), (r"\\ctg(?![a-zA-Z])", r"\\cot"), (r"\\lg(?![a-zA-Z])", r"\\log"),
            (r"\\varnothing(?![a-zA-Z])", r"\\emptyset"), (r"\+/-|\+-(?=[\s\d\\a-zA-Z])", r"\\pm "),
            (r"\\text\{\s*(sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|exp)\s*\}", r"\\\1 "),
        ),
        (r"\bigl(1,2\bigr)", "(1,2)"), (r"\bigl[1,2\bigr]", "(1,2)"),
    ),
    Rule("row spacing", substitute((r"\\\\\s*\[[^\]]*\]", r"\\\\ "), (r"\\(?:tabularnewline|cr)(?![a-zA-Z])", r"\\\\ ")),
         (r"\begin{pmatrix}1\\[4pt]2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
         (r"\begin{pmatrix}2\\[4pt]1\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}")),
    Rule("digit groups", digit_groups, (r"10\,080", "10080"), ("12, 345", "12345")),
    Rule("spacing", substitute((r"\\\\", "\0"), (rf"{_SPACE}+", " "), ("\0", r"\\\\ ")), (r"x\,+\;1", "x+1"), (r"2\;3", "5")),
    Rule(
        "degrees and percent",
        substitute(
            (r"\^?\s*\\degree(?![a-zA-Z])|\^\s*\\circ(?![a-zA-Z])|\^\s*\{\s*\\circ\s*\}", r"^{\\circ}"),
            (r"\s*(?:\\text\{\s*deg(?:ree)?s?\.?\s*\}|\bdeg(?:ree)?s?\b)$", r"^{\\circ}"),
            (r"\\text\{\s*\\?%\s*\}|\\?%|\s*\\text\{\s*per\s?cent(?:age)?\s*\}|\s*\bper\s?cent(?:age)?\b", r"\\%"),
        ),
        (r"90\degree", r"90^\circ"), (r"91\degree", r"90^\circ"),
    ),
    Rule("degrees in a function", substitute((r"(\\(?:sin|cos|tan|cot|sec|csc))\s*\(?(\d+)\s*\^\{\\circ\}\s*\)?", r"\1(\\frac{\2\\pi}{180})")),
         (r"\sin 30^\circ", r"\frac{1}{2}"), (r"\sin 60^\circ", r"\frac{1}{2}")),
    Rule("set builder", substitute((r"^\\\{\s*[a-z]\s*(?:\\mid|[:|])\s*([^{}]*(?:[<>]|\\[lg]e)[^{}]*)\\\}$", r"\1")),
         (r"\{x \mid x > 3\}", "x > 3"), (r"\{x \mid x > 4\}", "x > 3")),
    Rule("bases", bases, (r"52_{\text{eight}}", "52_8"), ("(52)_9", "52_8")),
    Rule("repeating decimals", repeating, (r"0.\overline{3}", r"\frac{1}{3}"), (r"0.\overline{4}", r"\frac{1}{3}")),
    Rule(
        "plain text",
        substitute(
            (r"(?<=[\w)}])\s*\*\*\s*(?=[\w({\\-])", "^"), (r"\*", r"\\cdot "), (r"(?<![a-zA-Z\\])sqrt\b\s*(?=[\d({])", r"\\sqrt "),
            (rf"(?<![a-zA-Z\\])({'|'.join(_FUNCTIONS)})(?![a-zA-Z])", r"\\\1"),
            (r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi "), (r"(?<![a-zA-Z\\])inf(?:inity|ty)?(?![a-zA-Z])", r"\\infty "),
            (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times "),
            (r"^([-+]?\d+(?:\.\d+)?)[eE]([-+]?\d+)$", r"\1\\times 10^{\2}"),
        ),
        ("6.72e-5", "0.0000672"), ("6.72e-6", "0.0000672"),
    ),
    Rule("arguments in braces", braces, (r"\frac9{19}", r"\frac{9}{19}"), (r"\frac{19}9", r"\frac{9}{19}")),
)  # fmt: skip
"""The rules in the order in which they are applied."""


@cache
def normalise(answer: str) -> str:
    """Return an answer (or a gold answer) with its notation written one way."""
    text = unwrapped(answer)
    for rule in RULES:
        text = rule.apply(text)
    return unwrapped(re.sub(r"\s+", " ", text))
