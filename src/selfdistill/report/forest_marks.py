"""The marks of a row of a forest plot: the claimed range, the paper's effect above, ours with its interval below; and their legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfdistill.report.forest import LEVEL, VERDICT_LOOKS, Look, Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANE = 0.31
"""Inches of the marks of a row."""
BAND, MARGIN, PAPER = "#DCE6F2", "#F3DFB0", "#000000"
APART = 0.078
"""Inches by which ours lies below the middle of a row, and the paper's above it."""
BELOW = 0.055
"""Inches by which the models of an average lie below it."""
MODEL = {"marker": "o", "markersize": 2.2}
PAPER_MARK = {"marker": "D", "markersize": 4, "color": PAPER, "markerfacecolor": "white"}


def marker_of(look: Look) -> dict[str, Any]:
    """Return how matplotlib draws the mark of a verdict."""
    face = look.colour if look.filled else "white"
    return {"marker": look.marker, "markersize": 5.5, "color": look.colour, "markerfacecolor": face}


def draw_row(axes: Axes, row: Row, y: float) -> None:
    """Draw the marks of a row around y: the claimed range, the paper's effect above, ours with its interval and its models below."""
    low, high = axes.get_xlim()
    start = low if row.above is None else row.above
    end = high if row.below is None else row.below
    lane = [y - LANE / 2, y + LANE / 2]
    axes.fill_between([start, end], *lane, color=BAND, linewidth=0, zorder=0.5)
    for ends in row.too_small:
        axes.fill_between(ends, *lane, color=MARGIN, linewidth=0, zorder=0.6, label=f"margin {row.claim}")
    if row.kind != LEVEL:
        axes.plot([0, 0], lane, color="#333333", linewidth=0.8, zorder=1, label="_zero")
    draw_paper(axes, row, y - APART)
    if row.value is None:
        return
    look = VERDICT_LOOKS[row.verdict]
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [y + APART] * 2, color=look.colour, linewidth=1.6, label="_interval")
    axes.plot([row.value], [y + APART], label=row.claim, **marker_of(look))
    if row.models:
        dots = MODEL | {"linestyle": "none", "color": look.colour, "label": f"models {row.claim}"}
        axes.plot(row.models, [y + APART + BELOW] * len(row.models), **dots)


def draw_paper(axes: Axes, row: Row, y: float) -> None:
    """Draw the paper's numbers, or the claimed direction where it has none; a claim of our own has only the range."""
    for one in row.paper:
        if one.error:
            axes.plot(
                [one.value - one.error, one.value + one.error],
                [y, y],
                color=PAPER,
                linewidth=0.9,
                label="_error",
            )
    if row.paper:
        look = PAPER_MARK | {"linestyle": "none", "label": f"paper {row.claim}"}
        axes.plot([one.value for one in row.paper], [y] * len(row.paper), **look)
    elif not row.own:
        low, high = axes.get_xlim()
        reach = 0.1 * (high - low)
        ends = {
            (True, False): (row.above, (row.above or 0) + reach),
            (False, True): (row.below, (row.below or 0) - reach),
        }.get((row.above is not None, row.below is not None), (row.above, row.below))
        style = "<->" if None not in (row.above, row.below) else "->"
        arrow = {"arrowstyle": style, "color": PAPER, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            "", xy=(ends[1], y), xytext=(ends[0], y), arrowprops=arrow, gid=f"direction {row.claim}"
        )


def legend_entries(rows: Sequence[Row]) -> list[Artist]:
    """Return what explains the marks of some rows: the verdicts, and whatever else is drawn in one of them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    point = {"linestyle": "none", "color": PAPER}
    arrow = point | {"marker": r"$\rightarrow$", "markersize": 11}
    entries: list[Artist] = []
    found = {row.verdict for row in rows}
    for verdict, look in VERDICT_LOOKS.items():
        if verdict in found:
            shown = marker_of(look)
            entries.append(Line2D([], [], linewidth=1.6, label=f"ours: {verdict}", **shown))
    if any(row.models for row in rows):
        entries.append(Line2D([], [], label="ours: one model of a mean", **MODEL, **point))
    if any(row.paper for row in rows):
        diamond = PAPER_MARK | {"linestyle": "none"}
        entries.append(Line2D([], [], label="paper: number", **diamond))
    if any(not row.paper and not row.own for row in rows):
        entries.append(Line2D([], [], label="paper: direction only", **arrow))
    entries.append(Patch(facecolor=BAND, label="range that is claimed"))
    if any(row.too_small for row in rows):
        entries.append(Patch(facecolor=MARGIN, label="too small to be of interest"))
    return entries


def draw_legend(figure: Figure, entries: Sequence[Artist], columns: int, top: float) -> None:
    """Explain the marks above all panels; top: inches."""
    height = figure.get_size_inches()[1]
    figure.legend(
        handles=entries,
        loc="upper left",
        ncols=columns,
        bbox_to_anchor=(0.0, 1 - top / height),
        fontsize=7.5,
        columnspacing=1.2,
    )
