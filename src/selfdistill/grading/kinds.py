"""What an answer can be; `reading.read` makes these, `compare.same` compares them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A letter of a multiple-choice question; `text` if the option's own words stand with it."""

    letter: str
    text: str = ""


@dataclass(frozen=True)
class Words:
    """An answer in words."""

    text: str


@dataclass(frozen=True)
class Value:
    """A number or an expression, as LaTeX that is ready to be parsed, with unit, percent sign or base."""

    latex: str
    raw: str
    unit: str = ""
    percent: bool = False
    base: str = ""

    @property
    def is_decimal(self) -> bool:
        """Whether the answer is written with a decimal point."""
        return re.search(r"\.\d", self.raw) is not None


@dataclass(frozen=True)
class Many:
    """Things without an order: a comma list or a set, or (`union`) intervals."""

    items: tuple[Answer, ...]
    union: bool = False


@dataclass(frozen=True)
class Ordered:
    """Things in brackets in their order: a tuple or an interval."""

    brackets: str
    items: tuple[Answer, ...]


@dataclass(frozen=True)
class Grid:
    """A matrix, or (`bars`) a determinant."""

    bars: bool
    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True)
class Named:
    """Something with its name: `x = 5`, `D = (0, 1)`, `x \\in [2, 7]`, `x < 3`."""

    name: str
    value: Answer


@dataclass(frozen=True)
class Relation:
    """Expressions with relations between them."""

    signs: tuple[str, ...]
    members: tuple[Answer, ...]


Answer = Choice | Words | Value | Many | Ordered | Grid | Named | Relation
