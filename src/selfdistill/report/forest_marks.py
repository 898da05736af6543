"""The marks of a row of a forest plot: the claimed range, the paper's effect above, ours with its interval below; and their legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfdistill.claims.judge import NOT_RUN
from selfdistill.report.forest import LEVEL, VERDICT_LOOKS, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANE = 0.27
"""Inches of the marks of a row."""
BAND, PAPER = "#E3EAF2", "#000000"
APART = 0.062
"""Inches by which ours lies below the middle of a row, and the paper's above it."""


def draw_row(axes: Axes, row: Row, y: float) -> None:
    """Draw the marks of a row around y: the claimed range, the paper's effect above, ours with its interval below."""
    low, high = axes.get_xlim()
    start = low if row.above is None else row.above
    end = high if row.below is None else row.below
    lane = [y - LANE / 2, y + LANE / 2]
    axes.fill_between([start, end], *lane, color=BAND, linewidth=0, zorder=0.5)
    if row.kind != LEVEL:
        axes.plot([0, 0], lane, color="#333333", linewidth=0.8, zorder=1, label="_zero")
    draw_paper(axes, row, y - APART)
    if row.value is None:
        return
    look = VERDICT_LOOKS[row.verdict]
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [y + APART] * 2, color=look.colour, linewidth=1.6, label="_interval")
    face = look.colour if look.filled else "white"
    axes.plot(
        [row.value],
        [y + APART],
        marker=look.marker,
        markersize=5.5,
        color=look.colour,
        markerfacecolor=face,
        label=row.claim,
    )


def draw_paper(axes: Axes, row: Row, y: float) -> None:
    """Draw the paper's numbers, or the claimed direction where it has none; a control of this study has only the range."""
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
        look = {
            "marker": "D",
            "markersize": 4,
            "linestyle": "none",
            "color": PAPER,
            "markerfacecolor": "white",
        }
        axes.plot([one.value for one in row.paper], [y] * len(row.paper), label=f"paper {row.claim}", **look)
    elif not row.claim.startswith("X"):
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


def draw_legend(figure: Figure, columns: int) -> None:
    """Explain the marks above all panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            markersize=5.5,
            linewidth=1.6,
            markerfacecolor=look.colour if look.filled else "white",
            label=f"ours: {verdict}",
        )
        for verdict, look in VERDICT_LOOKS.items()
        if verdict != NOT_RUN
    ]
    entries.append(
        Line2D(
            [],
            [],
            color=PAPER,
            marker="D",
            markersize=4,
            linestyle="none",
            markerfacecolor="white",
            label="paper: number",
        )
    )
    entries.append(
        Line2D(
            [],
            [],
            color=PAPER,
            marker=r"$\rightarrow$",
            markersize=11,
            linestyle="none",
            label="paper: direction only",
        )
    )
    entries.append(Patch(facecolor=BAND, label="range that is claimed"))
    height = figure.get_size_inches()[1]
    figure.legend(
        handles=entries,
        loc="upper left",
        ncols=columns,
        bbox_to_anchor=(0.0, 1 - 0.02 / height),
        fontsize=7.5,
        columnspacing=1.2,
    )
