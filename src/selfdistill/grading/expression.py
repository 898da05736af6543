r"""One expression, checked token by token before math-verify's parser sees it.

That parser adds numbers that stand beside each other (`2 3` is 5), drops subscripts and primes of numbers, and takes `2(3)` for
a mixed number. Here every token must be known, and every product of numbers is written with its operator, or the expression
is unreadable: `Unreadable` is raised.
"""

from __future__ import annotations

import re

from selfdistill.grading.answers import balanced


class Unreadable(ValueError):
    """An answer that cannot be read whole; the message says why."""


_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[a-zA-Z]+|\\[{}]|[a-zA-Z]|[-+/!^_{}()\[\]|,]|\s+|.", re.DOTALL)
_FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "ln",
        "log",
        "exp",
        "max",
        "min",
        "gcd",
    ]
)
_LARGE = frozenset(["sum", "prod", "int", "lim"])
_GREEK = frozenset(
    re.findall(
        r"\w+",
        """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau
        upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega pi infty""",
    )
)
_STRUCTURES = frozenset(["frac", "sqrt", "binom", "overline", "lfloor", "rfloor", "lceil", "rceil"])
_OPERATORS = frozenset(["cdot", "times", "div", "mod", "to"])
_KNOWN = _FUNCTIONS | _LARGE | _GREEK | _STRUCTURES | _OPERATORS
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_DIGITS = re.compile(r"\d+")
_SIMPLE_FRACTION = re.compile(r"\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_PLAIN_FRACTION = re.compile(r"\s+(\d+)\s*/\s*(\d+)(?!\d|\.\d|\s*\^)")
_ARGUMENTS = {"frac": 2, "binom": 2, "sqrt": 1, "overline": 1}


def explicit(text: str) -> str:
    r"""Return an expression with every product of numbers and every mixed number written out.

    `2(3)` becomes `2 \cdot (3)`, `1\frac{1}{2}` becomes `(1+\frac{1}{2})`, a decimal becomes the fraction that it is. Raises
    Unreadable for a token that is not known and for numbers that stand beside each other without an operator.
    """
    return _Writer(text).written()


class _Writer:
    """Writes the tokens of one expression; `last` is what the previous one was: number, operand, opening or operator."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self.parts: list[str] = []
        self.last = "operator"

    def written(self) -> str:
        """Return the whole expression, written out."""
        while self.position < len(self.text):
            token = _TOKEN.match(self.text, self.position)[0]
            self.position += len(token)
            self._take(token)
        if not self.parts:
            raise Unreadable("an empty expression")
        return "".join(self.parts)

    def _take(self, token: str) -> None:
        """Write one token, with what belongs to it."""
        if token.isspace():
            self.parts.append(" ")
        elif _NUMBER.fullmatch(token):
            self._number(token)
        elif token.startswith("\\") and token[1:] in _KNOWN:
            self._command(token[1:])
        elif token == "{":
            self._braced()
        elif token in ("^", "_"):
            self._script(token)
        elif token == "(":
            self._operand("(", "opening")
        elif token in ("[", "]"):
            raise Unreadable(f"{token} in an expression")
        elif token.isalpha() and token.isascii():
            self._operand(token, "operand")
        elif token in (")", "|", "!"):
            self._put(token, "operand" if token != "|" or self.last != "operator" else "opening")
        elif token in ("+", "-", "/", ","):
            self._put(token, "operator")
        else:
            raise Unreadable(f"unknown token {token!r}")

    def _braced(self) -> None:
        """Write braces that are no argument as round brackets, a number in them as a number."""
        content = self._group()
        if _NUMBER.fullmatch(content.strip()):
            self._number(content.strip())
        else:
            self._operand(f"({content})", "operand")

    def _put(self, text: str, kind: str) -> None:
        self.parts.append(text)
        self.last = kind

    def _operand(self, text: str, kind: str) -> None:
        """Write an operand, with the sign of multiplication where the parser might read something else."""
        after_bracket = "".join(self.parts).rstrip().endswith(")")
        if text[0] in "(\\" and (self.last == "number" or (after_bracket and self.last == "operand")):
            self.parts.append(" \\cdot ")
        self._put(text, kind)

    def _number(self, token: str) -> None:
        """Write a number, a decimal as a fraction, and a mixed number as a sum."""
        if self.last in ("number", "operand"):
            raise Unreadable("numbers beside each other")
        fraction = self._mixed(_PLAIN_FRACTION) or self._mixed(_SIMPLE_FRACTION)
        if fraction is not None and _DIGITS.fullmatch(token):
            top, bottom = fraction
            if int(top) >= int(bottom):
                raise Unreadable("an improper mixed number")
            self._put(f"({token}+\\frac{{{top}}}{{{bottom}}})", "number")
            return
        if fraction is not None:
            raise Unreadable("a decimal beside a fraction")
        self._put(rational(token), "number")

    def _blanks(self) -> str:
        """Return the white space at the current position."""
        return re.compile(r"\s*").match(self.text, self.position)[0]

    def _mixed(self, pattern: re.Pattern[str]) -> tuple[str, str] | None:
        """Take the fraction of a mixed number from the text, if there is one."""
        found = pattern.match(self.text, self.position)
        if not found:
            return None
        self.position = found.end()
        return found.groups()

    def _group(self) -> str:
        """Return the content of the braces that have just been opened, written out."""
        content = balanced(self.text, self.position)
        if content is None:
            raise Unreadable("braces that are never closed")
        self.position += len(content) + 1
        return explicit(content)

    def _argument(self) -> str:
        """Return the next argument in braces, written out."""
        self.position += len(self._blanks())
        if not self.text.startswith("{", self.position):
            raise Unreadable("a command without its argument")
        self.position += 1
        return self._group()

    def _script(self, token: str) -> None:
        """Write an exponent or a subscript; a number has no subscript."""
        if token == "_" and self.last != "operand" or token == "^" and self.last not in ("number", "operand"):
            raise Unreadable(f"{token} after {self.last}")
        content = self._argument()
        if token == "_" and not re.fullmatch(r"[\w+\-\\{}]+", content):
            raise Unreadable(f"subscript {content!r}")
        self._put(f"{token}{{{content}}}", "operand")

    def _command(self, name: str) -> None:
        """Write a command with its arguments."""
        if name in _ARGUMENTS:
            root = self._root() if name == "sqrt" else ""
            arguments = "".join(f"{{{self._argument()}}}" for _ in range(_ARGUMENTS[name]))
            if (
                name == "frac"
                and self.parts
                and re.search(r"\\frac(\{[^a-zA-Z\\]*\}){2}\s*$", "".join(self.parts))
            ):
                raise Unreadable("fractions beside each other")
            self._operand(f"\\{name}{root}{arguments}", "operand")
        elif name in _FUNCTIONS | _LARGE:
            self._operand(f"\\{name}{self._head()} ", "opening")
        elif name in _OPERATORS:
            self._put({"div": "/"}.get(name, f" \\{name} "), "operator")
        elif name in ("lfloor", "lceil"):
            self._operand(f"\\{name} ", "opening")
        else:
            self._operand(f"\\{name} ", "operand")

    def _root(self) -> str:
        """Return the degree of a root, `[3]`, or nothing."""
        found = re.compile(r"\s*\[\s*([a-zA-Z0-9]+)\s*\]").match(self.text, self.position)
        if not found:
            return ""
        self.position = found.end()
        return f"[{found[1]}]"

    def _head(self) -> str:
        r"""Return the base, bounds or power of a function as they stand: `_{2}`, `_{k=0}^{n}`, `^{2}`."""
        head = ""
        while (found := re.compile(r"\s*([_^])\s*\{").match(self.text, self.position)) is not None:
            content = balanced(self.text, found.end())
            if content is None:
                raise Unreadable("braces that are never closed")
            self.position = found.end() + len(content) + 1
            head += f"{found[1]}{{{content}}}"
        return head


def rational(number: str) -> str:
    r"""Return a number as LaTeX without a decimal point: `2.5` is `\frac{25}{10}`."""
    whole, _, decimals = number.partition(".")
    return whole if not decimals else f"\\frac{{{int(whole + decimals)}}}{{{10 ** len(decimals)}}}"
