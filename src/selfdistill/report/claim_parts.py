"""The small forest plot of one claim's parts on the report's page: HTML and inline SVG, one line of marks per part.

Positions are percentages of the width, so that the same markup fits a telephone and paper; labels are HTML and wrap. It needs no script. Each
kind of effect has an axis of its own (report.forest), and shape as well as colour tells verdicts apart.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from selfdistill.report.forest import LEVEL, VERDICT_LOOKS, Kind, Record, Row, by_kind, limits, rows_of_claim

HEIGHT = 18
"""Pixels of a part's line of marks."""
SHAPES = {
    "o": '<circle r="4.5"/>',
    "X": '<path d="M-4 -4 4 4M-4 4 4 -4" fill="none" stroke-width="2.6"/>',
    "s": '<rect x="-4" y="-4" width="8" height="8"/>',
    "P": '<path d="M-4.5 0 4.5 0M0 -4.5 0 4.5" fill="none" stroke-width="3"/>',
    "|": '<path d="M0 -4.5 0 4.5" fill="none"/>',
}
"""Marker of a verdict -> its shape around the point (0, 0)."""


def claim_forest(claim: Record) -> str:
    """Return the picture of a claim's parts, `""` if none has an effect. Those that do not count for its verdict are pale."""
    rows = [row for row in rows_of_claim(claim) if row.value is not None]
    return "".join(panel(kind, own) for kind, own in by_kind(rows).items())


def panel(kind: Kind, rows: Sequence[Row]) -> str:
    """Return the rows of one kind above their axis."""
    ends = limits(rows)
    body = "".join(line(row, ends) for row in rows)
    title = html.escape(kind.title)
    return (
        f'<figure class="forest"><figcaption>{title}. <span>{key(rows)}</span></figcaption>'
        f"{body}{axis(kind, ends)}</figure>\n"
    )


def key(rows: Sequence[Row]) -> str:
    """Return what the marks of some rows mean beyond those of the verdicts."""
    texts = ["Shaded: the range that is claimed"]
    if any(row.too_small for row in rows):
        texts.append("yellow: in it, but too small to be of interest")
    if any(row.models for row in rows):
        texts.append("dots: the models of a mean")
    if not all(row.counts for row in rows):
        texts.append("pale: does not count")
    return "; ".join(texts)


def line(row: Row, ends: tuple[float, float]) -> str:
    """Return one part: its label, its marks and its effect."""
    label = html.escape(row.name)
    kind = "part" if row.counts else "part pale"
    text = f"{VERDICT_LOOKS[row.verdict].symbol} {row.text}"
    return (
        f'<div class="{kind}"><span>{label}</span>'
        f'<svg class="{row.verdict.replace(" ", "-")}" height="{HEIGHT}" aria-hidden="true">{marks(row, ends)}</svg>'
        f"<span>{html.escape(text)}</span></div>\n"
    )


def place(value: float, ends: tuple[float, float]) -> str:
    """Return where a value lies, in percent of the axis."""
    share = (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])
    return f"{100 * share:.1f}%"


def marks(row: Row, ends: tuple[float, float]) -> str:
    """Return the claimed range, what is too small in it, zero, the interval, the effect of a row and its models as SVG."""
    low = ends[0] if row.above is None else row.above
    high = ends[1] if row.below is None else row.below
    middle = HEIGHT // 2
    found = band("claimed", (low, high), ends)
    found += "".join(band("margin", one, ends) for one in row.too_small)
    if row.kind != LEVEL:
        found += upright(0.0, ends)
    if row.low is not None and row.high is not None:
        left, right = place(row.low, ends), place(row.high, ends)
        found += f'<line class="interval-line" x1="{left}" x2="{right}" y1="{middle}" y2="{middle}"/>'
    for one in row.models:
        found += f'<circle class="model" cx="{place(one, ends)}" cy="{HEIGHT - 2}" r="1.8"/>'
    shape = SHAPES[VERDICT_LOOKS[row.verdict].marker]
    return found + f'<svg class="effect" x="{place(row.value or 0.0, ends)}" y="{middle}">{shape}</svg>'


def band(kind: str, span: tuple[float, float], ends: tuple[float, float]) -> str:
    """Return a range of values that is shaded over the whole height of a row."""
    low, high = (place(value, ends) for value in span)
    width = float(high[:-1]) - float(low[:-1])
    return f'<rect class="{kind}" x="{low}" width="{width:.1f}%" height="{HEIGHT}"/>'


def upright(value: float, ends: tuple[float, float]) -> str:
    """Return an upright line through a row."""
    at = place(value, ends)
    return f'<line class="zero" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>'


def axis(kind: Kind, ends: tuple[float, float]) -> str:
    """Return the numbers under the rows of a kind."""
    step = tick_step(ends)
    shown = kind._replace(digits=max(0, -math.floor(math.log10(step))))
    ticks = [step * count for count in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1)]
    texts = "".join(f'<text x="{place(one, ends)}" y="12">{shown.text(one)}</text>' for one in ticks)
    return f'<div class="part axis"><span></span><svg height="{HEIGHT}" aria-hidden="true">{texts}</svg><span></span></div>'


def tick_step(ends: tuple[float, float]) -> float:
    """Return the distance of an axis' numbers: 1, 2 or 5 times a power of ten, for two to five of them."""
    rough = (ends[1] - ends[0]) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
