"""The rows of a forest plot: every effect of the claims ledger in a unit in which it can stand beside others, and the paper's beside it.

An accuracy is shown in points (a single arm: in percent), a length or a count of words in percent of its reference, the arms that are
subtracted. Effects of different kinds never share an axis. Rows are computed from claims.json alone; nothing here can change a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from selfdistill.claims.judge import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, REPRODUCED
from selfdistill.report.paper_numbers import (
    PaperLevels,
    levels_of,
    paper_levels,
    relative_change,
    roles_of,
    weakest,
)
from selfdistill.report.tables.form import number
from selfdistill.vocabulary.looks import BLACK, BLUE, GREY, VERMILLION

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
    NOT_REPRODUCED: Look("✘", VERMILLION, "X"),
    INCONCLUSIVE: Look("?", BLACK, "s", filled=False),
    NOT_RUN: Look("–", GREY, "|"),
}


class Kind(NamedTuple):
    """What an axis shows: its title, the unit behind a number, whether a number shows its sign, its digits."""

    title: str
    unit: str
    signed: bool = True
    digits: int = 1

    def text(self, value: float) -> str:
        """Return a number of this kind, without its unit."""
        shown = round(value, self.digits) + 0.0
        return number(shown, self.digits, "+" if self.signed and shown else "")


POINTS = Kind("Change in accuracy (points)", "points")
LEVEL = Kind("Accuracy (%)", "%", signed=False)
LENGTH = Kind("Change in response length (% of the reference)", "%", digits=0)
WORDS = Kind("Change in epistemic words (% of the reference)", "%", digits=0)
SHARE = Kind("Relative change (%)", "%", digits=0)
KINDS = (POINTS, LEVEL, LENGTH, WORDS, SHARE)


@dataclass(frozen=True)
class PaperNumber:
    """The paper's effect in the unit of a row. error: half width, 0 if none is known; mark: how well it is known."""

    value: float
    error: float
    mark: str
    model: str
    benchmark: str


@dataclass(frozen=True)
class Row:
    """One effect of a claim.

    value, low, high: None if it was not computed; above, below: the claimed bounds; all in the unit of `kind`. note: what the paper reports
    in another unit, where it has no number in this one.
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
    paper: tuple[PaperNumber, ...] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """Return the effect with its interval."""
        if self.value is None:
            return VERDICT_LOOKS[NOT_RUN].symbol
        known = [self.kind.text(one) for one in (self.low, self.high) if one is not None]
        return self.kind.text(self.value) + (f" [{', '.join(known)}]" if len(known) == 2 else "")

    @property
    def paper_text(self) -> str:
        """Return what the paper reports: a number, or the range of several, and where, with its mark; else that it has no number."""
        if self.claim.startswith("X"):
            return "none, a control of ours"
        if not self.paper:
            return self.note or "direction only"
        values = sorted(one.value for one in self.paper)
        ends = [self.kind.text(one) for one in dict.fromkeys((values[0], values[-1]))]
        names = list(dict.fromkeys(one.benchmark for one in self.paper))
        places = ", ".join(names) if len(names) < 3 else f"{len(names)} benchmarks"
        return f"{' to '.join(ends)} ({places}) [{weakest([one.mark for one in self.paper])}]"

    @property
    def extent(self) -> list[float]:
        """Return every position that a picture of the row must show."""
        own = [one for one in (self.value, self.low, self.high, self.above, self.below) if one is not None]
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
    """Return what kind of effect a part is."""
    if len(part["arms"]) == 1 and part["metric"] in ACCURACIES:
        return LEVEL
    if part["metric"] in ACCURACIES:
        return SHARE if part["relative"] else POINTS
    if part["relative"] or reference(part, part.get("estimates") or ()):
        if part["metric"] == "response_tokens":
            return LENGTH
        return WORDS if part["metric"].startswith(("epistemic", "substring")) else SHARE
    return Kind(f"Effect on {part['metric'].replace('_', ' ')} (its own unit)", "", digits=2)


def reference(part: Record, levels: Sequence[float]) -> float | None:
    """Return what an effect is relative to: the sum of the arms that are subtracted; None if the arms do not balance."""
    weights = [arm["weight"] for arm in part["arms"]]
    if len(levels) != len(weights) or abs(sum(weights)) > 1e-9 or not levels:
        return None
    found = -sum(weight * level for weight, level in zip(weights, levels, strict=True) if weight < 0)
    return found or None


def scale_of(part: Record, kind: Kind) -> float:
    """Return by how much a number of a part is multiplied to be of its kind."""
    if kind in (LENGTH, WORDS) and not part["relative"]:
        return 100 / (reference(part, part["estimates"]) or 1)
    return 100 if kind in KINDS else 1


def paper_number(part: Record, kind: Kind, levels: PaperLevels) -> PaperNumber | None:
    """Return the effect of the paper's levels, by the formula of ours; None if it has none."""
    weights = [arm["weight"] for arm in part["arms"]]
    value = sum(weight * level for weight, level in zip(weights, levels.values, strict=True))
    error = sum(abs(weight) * half for weight, half in zip(weights, levels.errors, strict=True))
    scale: float | None = 100 if kind in KINDS else 1
    if kind in (LENGTH, WORDS, SHARE):
        against = reference(part, levels.values)
        scale = 100 / against if against else None
    if scale is None:
        return None
    return PaperNumber(value * scale, error * scale, levels.mark, levels.model, levels.benchmark)


def row_of(claim: Record, part: Record, paper: Sequence[PaperLevels] = (), note: str = "") -> Row:
    """Return the row of one part of a claim, with the paper's levels of its arms, or a note on them."""
    kind = kind_of(part)
    scale = scale_of(part, kind)
    scaled = {
        key: None if part[key] is None else part[key] * scale
        for key in ("effect", "low", "high", "above", "below")
    }
    found = [paper_number(part, kind, one) for one in paper]
    model = part["model"] if isinstance(part["model"], str) else ", ".join(part["model"])
    return Row(
        claim=claim["name"],
        label=part["name"],
        detail=", ".join(filter(None, (measure_of(part), model, part["benchmark"]))),
        kind=kind,
        verdict=part["verdict"],
        counts=part["counts"],
        value=scaled.pop("effect"),
        **scaled,
        paper=tuple(one for one in found if one is not None),
        note=note,
    )


def rows_of_claim(claim: Record) -> list[Row]:
    """Return a row per part of a claim, without the paper's numbers."""
    return [row_of(claim, part) for part in claim["parts"]]


def deciding_rows(
    record: Record, deciding: Mapping[str, Record | None], reported: pd.DataFrame
) -> dict[str, Row | None]:
    """Return claim -> the row of the part that decides it, with the claim's verdict and the paper's number; None if it was not run.

    deciding: claim -> that part. reported: config/reported.yaml as a frame.
    """
    levels, roles = paper_levels(reported), roles_of(record)
    rows: dict[str, Row | None] = {}
    for claim in record["claims"]:
        part = deciding[claim["name"]]
        if part is None:
            rows[claim["name"]] = None
            continue
        known = levels_of(part, levels, roles), relative_change(part, reported, roles)
        rows[claim["name"]] = replace(row_of(claim, part, *known), verdict=claim["verdict"])
    return rows


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
