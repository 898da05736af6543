"""The rows of a forest plot: every effect of the claims ledger in a unit in which it can stand beside others, and the paper's beside it.

An accuracy is shown in points (a single arm: in percent), a length or a count of words in percent of its reference, the arms that are
subtracted. Effects of different kinds never share an axis. Rows are computed from claims.json alone; nothing here can change a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from selfdistill.claims.ledger import is_own
from selfdistill.claims.verdicts import (
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
)
from selfdistill.report.paper_numbers import weakest
from selfdistill.report.tables.form import number
from selfdistill.vocabulary.looks import BLACK, BLUE, GREEN, GREY, VERMILLION

Record = Mapping[str, Any]
ACCURACIES = ("accuracy", "pass@k")


class Look(NamedTuple):
    """Symbol, colour and marker of a verdict; `filled`: whether the marker is. Shape and colour both tell verdicts apart."""

    symbol: str
    colour: str
    marker: str
    filled: bool = True


VERDICT_LOOKS = {
    REPRODUCED: Look("✔", BLUE, "o"),
    PARTLY: Look("◐", GREEN, "P"),
    NOT_REPRODUCED: Look("✘", VERMILLION, "X"),
    INCONCLUSIVE: Look("?", BLACK, "s", filled=False),
    NO_VERDICT: Look("○", GREY, "o", filled=False),
    NOT_RUN: Look("–", GREY, "|"),
}


class Kind(NamedTuple):
    """What an axis shows: its title, by how much an effect is multiplied, whether a number shows its sign, its digits, its unit."""

    title: str
    scale: float = 100
    signed: bool = True
    digits: int = 1
    unit: str = " %"

    @property
    def sign(self) -> str:
        """Return how `number` shows a sign."""
        return "+" if self.signed else ""

    def text(self, value: float) -> str:
        """Return a number of this kind, without its unit."""
        shown = round(value, self.digits) + 0.0
        return number(shown, self.digits, self.sign if shown else "")


POINTS = Kind("Change in accuracy (points)", unit=" points")
LEVEL = Kind("Accuracy (%)", signed=False)
LENGTH = Kind("Change in response length (% of the reference)", digits=0)
WORDS = Kind("Change in epistemic words (% of the reference)", digits=0)
SHARE = Kind("Relative change (%)", digits=0)
RATIO = Kind("Effect as a share of another (ratio)", 1, signed=False, digits=2, unit="")
SHIFT = Kind("Shift of epistemic words over that of others (ratio)", 1, signed=False, unit="")
KINDS = (POINTS, LEVEL, LENGTH, WORDS, SHARE, RATIO, SHIFT)


@dataclass(frozen=True)
class PaperNumber:
    """The paper's effect in the unit of a row. error: half width, 0 if none is known; mark: how well it is known; model: a role."""

    value: float
    error: float
    mark: str
    model: str
    benchmark: str


@dataclass(frozen=True)
class Row:
    """One effect of a claim; claim: its name, with that of its clause if it decides one.

    value, low, high: None if it was not computed; above, below: the claimed bounds; margin: the smallest effect of interest beyond them;
    models: the effects of the models of an average; all in the unit of `kind`. reason: of the verdict. note: what the paper reports in
    another unit, where it has no number in this one. elsewhere: how many measurements of others are for and against it.
    """

    claim: str
    label: str
    detail: str
    kind: Kind
    verdict: str
    counts: bool
    value: float | None
    low: float | None
    high: float | None
    above: float | None
    below: float | None
    margin: float = 0.0
    models: tuple[float, ...] = ()
    reason: str = ""
    paper: tuple[PaperNumber, ...] = ()
    note: str = ""
    elsewhere: str = ""

    @property
    def name(self) -> str:
        """Return the part with what tells it from the claim's other parts."""
        return f"{self.label} ({self.detail})"

    @property
    def text(self) -> str:
        """Return the effect with its interval."""
        if self.value is None:
            return VERDICT_LOOKS[NOT_RUN].symbol
        known = [self.kind.text(one) for one in (self.low, self.high) if one is not None]
        return self.kind.text(self.value) + (f" [{', '.join(known)}]" if len(known) == 2 else "")

    @property
    def own(self) -> bool:
        """Return whether the claim is one of our own, of which the paper reports nothing."""
        return is_own(self.claim)

    @property
    def paper_text(self) -> str:
        """Return what the paper reports: a number, or the range of several, and where, with its mark; else that it has no number."""
        if self.own:
            return "none, an extension of this study"
        if not self.paper:
            return self.note or "direction only"
        values = sorted(one.value for one in self.paper)
        ends = [self.kind.text(one) for one in dict.fromkeys((values[0], values[-1]))]
        names = list(dict.fromkeys(one.benchmark for one in self.paper))
        places = ", ".join(names) if len(names) < 3 else f"{len(names)} benchmarks"
        if self.models:
            roles = list(dict.fromkeys(one.model for one in self.paper))
            places += f"; {roles[0] if len(roles) == 1 else f'{len(roles)} models'}"
        return f"{' to '.join(ends)} ({places}) [{weakest([one.mark for one in self.paper])}]"

    @property
    def too_small(self) -> list[tuple[float, float]]:
        """Return from where to where an effect is within its bound and smaller than the smallest of interest."""
        found = [(self.above, self.above + self.margin)] if self.above is not None else []
        found += [(self.below - self.margin, self.below)] if self.below is not None else []
        return found if self.margin else []

    @property
    def extent(self) -> list[float]:
        """Return every position that a picture of the row must show."""
        own = [one for one in (self.value, self.low, self.high, self.above, self.below) if one is not None]
        own += [*self.models, *(end for ends in self.too_small for end in ends)]
        return own + [one.value + sign * one.error for one in self.paper for sign in (-1, 1)]


def measure_of(part: Record) -> str:
    """Return what the title of a part's kind leaves open: the word that is counted, or how; `""` for nothing."""
    named = {
        "pass@k": "pass@k",
        "epistemic_word": "whole words",
        "epistemic_per_1000_tokens": "in 1000 tokens",
    }
    word = part["metric"].removeprefix("substring_")
    return word if word != part["metric"] else named.get(word, "")


def kind_of(part: Record) -> Kind:
    """Return what kind of effect a part is: relative, a ratio of effects, a level (nothing is subtracted) or a difference."""
    metric, level = part["metric"], all(arm["weight"] > 0 for arm in part["arms"])
    if part["relative"]:
        if metric == "response_tokens":
            return LENGTH
        return WORDS if metric.startswith(("epistemic", "substring")) else SHARE
    if any(arm["over"] for arm in part["arms"]):
        return SHIFT if metric.startswith("shift") else RATIO
    if metric in ACCURACIES:
        return LEVEL if level else POINTS
    name = metric.replace("_", " ")
    title = name.capitalize() if level else f"Effect on {name}"
    return Kind(f"{title} (its own unit)", 1, signed=not level, digits=2, unit="")


def members_of(claim: Record, part: Record) -> list[Record]:
    """Return the parts that show the models of an average one by one; [] if a part is of one model."""
    if len({arm["group"] for arm in part["arms"]}) < 2:
        return []
    same = ("clause", "name", "metric", "benchmark")
    runs = [arm["run"] for arm in part["arms"]]
    return [
        one
        for one in claim["parts"]
        if all(one[key] == part[key] for key in same)
        and one["arms"]
        and len({arm["group"] for arm in one["arms"]}) == 1
        and all(arm["run"] in runs for arm in one["arms"])
    ]


def row_of(claim: Record, part: Record) -> Row:
    """Return the row of one part of a claim, without the paper's numbers."""
    kind = kind_of(part)
    scaled = {
        key: None if part[key] is None else part[key] * kind.scale
        for key in ("low", "high", "above", "below", "margin")
    }
    models = [one["effect"] for one in members_of(claim, part)]
    return Row(
        claim=claim["name"],
        label=part["name"],
        detail="; ".join(filter(None, (measure_of(part), part["model"], part["benchmark"]))),
        kind=kind,
        verdict=part["verdict"],
        counts=part["counts"],
        value=None if part["effect"] is None else part["effect"] * kind.scale,
        **scaled,
        models=tuple(one * kind.scale for one in models if one is not None),
    )


def rows_of_claim(claim: Record) -> list[Row]:
    """Return a row per part of a claim, each with its clause, without the paper's numbers."""
    rows = [(part["clause"], row_of(claim, part)) for part in claim["parts"]]
    return [replace(row, label=f"{clause}: {row.label}") if clause else row for clause, row in rows]


def by_kind(rows: Sequence[Row]) -> dict[Kind, list[Row]]:
    """Return the rows of each kind, kinds in the order of KINDS and others last."""
    kinds = dict.fromkeys(row.kind for row in rows)
    ordered = [kind for kind in KINDS if kind in kinds] + [kind for kind in kinds if kind not in KINDS]
    return {kind: [row for row in rows if row.kind == kind] for kind in ordered}


def limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the ends of an axis for some rows: all that they show and, unless they are levels, zero, with a margin."""
    shown = [one for row in rows for one in row.extent] or [0.0]
    if rows and rows[0].kind != LEVEL:
        shown.append(0.0)
    margin = 0.06 * (max(shown) - min(shown)) or 1.0
    return min(shown) - margin, max(shown) + margin
