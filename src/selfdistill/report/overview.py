"""The picture that the report opens with: every claim's deciding effect beside the paper's, in a forest plot.

A panel per kind of effect, so that no axis mixes units; a row per claim, ours with its interval below, the paper's number or claimed direction
above. The wide form has its texts beside the rows, the narrow one (a telephone) above them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.records.files import read_json, write_text
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.claims_page import leading_part, summary_sentences
from selfdistill.report.forest import VERDICT_LOOKS, Kind, Record, Row, by_kind, deciding_rows, limits
from selfdistill.report.forest_marks import LANE, draw_legend, draw_row
from selfdistill.report.style import paper_style, save_figure
from selfdistill.report.tables.form import MARKS_TEXT
from selfdistill.report.tables.reported import load_reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE, SPACE = 0.135, 0.07
"""Inches: a line of text, the space below a row."""
HEAD, FOOT, LEGEND = 0.3, 0.36, 0.18
"""Inches: above a panel, below it, a line of the legend."""


@dataclass(frozen=True)
class Form:
    """Where things are, in inches.

    columns: characters of a label; numbers: left end of the texts with the numbers, None: they
    stand above the marks; legend: its columns.
    """

    width: float
    left: float
    right: float
    columns: int
    numbers: float | None
    legend: int

    @property
    def top(self) -> float:
        """Return the height of the legend, which has two or three lines."""
        return 0.1 + LEGEND * -(-6 // self.legend)


WIDE = Form(width=8.0, left=2.75, right=5.6, columns=39, numbers=5.68, legend=3)
NARROW = Form(width=3.9, left=0.15, right=3.75, columns=51, numbers=None, legend=2)


def drawing_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return what the job imports late."""
    return ("matplotlib.backends.backend_agg", "seaborn")


@job(late=drawing_modules)
def draw(task: Task) -> Facts:
    """Draw the picture of the ledger, wide and narrow, with its caption."""
    record, reported, output = (
        read_json(task.input.ledger),
        load_reported(Path(task.input.reported)),
        task.output,
    )
    deciding = {claim["name"]: leading_part(claim) for claim in record["claims"]}
    rows = deciding_rows(record, deciding, reported)
    save_figure(draw_overview(record, rows, WIDE), Path(output.png), Path(output.svg))
    save_figure(draw_overview(record, rows, NARROW), Path(output.narrow), Path(output.narrow_svg))
    write_text(output.caption, overview_caption(record) + "\n")
    return None


def overview_caption(record: Record) -> str:
    """Return what the picture shows and how to read it, with the ledger's counts."""
    return (
        f"Study {record['study']}: the paper beside ours, one row per claim. {' '.join(summary_sentences(record))} "
        "Each row shows the part that decides its claim: ours with its 95 % interval, the verdict on the whole claim as shape and colour, "
        "and above it the paper's effect, computed from its reported numbers by the same formula (line: error of digitising), or an arrow "
        "where no number of it is known. Where ours is no single benchmark of the paper, each of the paper's benchmarks has a mark. The "
        "shaded range is the one that the claim asks of ours (config/claims.yaml); X: controls of this study. Models and benchmarks are "
        "named by the part of the paper that they stand for; they differ from the paper's, so compare directions and rough sizes. Accuracy "
        "is in points; length and words are in percent of the arm that is subtracted, whose mean is taken as known. "
        f"{MARKS_TEXT}"
    )


def label_lines(claim: Record, row: Row, form: Form) -> list[str]:
    """Return the label of a row: claim and part, then model, benchmark and how many parts hold."""
    names = textwrap.wrap(f"{claim['name']} {row.label}", form.columns)
    return [*names, *textwrap.wrap(f"{row.detail}; {claim['reason']}", form.columns + 6)]


def number_lines(row: Row, form: Form) -> list[str]:
    """Return the texts with the numbers of a row: the paper's, then ours, as their marks stand; on one line where there is room."""
    lines = [f"paper: {row.paper_text}", f"ours: {row.text}"]
    joined = "; ".join(lines)
    return [joined] if form.numbers is None and len(joined) <= form.columns + 6 else lines


def row_height(claim: Record, row: Row, form: Form) -> float:
    """Return the height of a row in inches."""
    lines = len(label_lines(claim, row, form))
    if form.numbers is not None:
        return max(lines * LINE, LANE) + SPACE
    return (lines + len(number_lines(row, form))) * LINE + LANE + SPACE


def draw_overview(record: Record, rows: Mapping[str, Row | None], form: Form) -> Figure:
    """Return the picture. rows: `forest.deciding_rows`; a claim without a row is listed as not run."""
    claims = {claim["name"]: claim for claim in record["claims"]}
    panels = by_kind([row for row in rows.values() if row is not None])
    heights = {
        kind: sum(row_height(claims[row.claim], row, form) for row in own) for kind, own in panels.items()
    }
    missing = missing_lines([claims[name] for name, row in rows.items() if row is None], form)
    total = form.top + sum(HEAD + FOOT + height for height in heights.values()) + LINE * (len(missing) + 1)
    with paper_style():
        figure = blank(form.width, total)
        top = form.top
        for kind, own in panels.items():
            top += HEAD
            draw_panel(figure, claims, kind, own, form, top, heights[kind])
            top += heights[kind] + FOOT
        for place, line in enumerate(missing):
            write(figure, 0.1, top + (place + 0.5) * LINE, line, color="#555555")
        draw_legend(figure, form.legend)
    return figure


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of that many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def write(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """Write a line of text; x, y: inches from the left and from the top, to its left end and its middle."""
    width, height = figure.get_size_inches()
    shown = {"fontsize": 7.5, "va": "center", "parse_math": False} | look
    figure.text(x / width, 1 - y / height, text, **shown)


def missing_lines(claims: Sequence[Record], form: Form) -> list[str]:
    """Return what says which claims were not run, and why."""
    width = int(form.width * 16)
    found = [textwrap.wrap(f"{one['name']} not run: {one['reason']}", width, max_lines=2) for one in claims]
    return [line for lines in found for line in lines]


def draw_panel(
    figure: Figure,
    claims: Mapping[str, Record],
    kind: Kind,
    rows: Sequence[Row],
    form: Form,
    top: float,
    size: float,
) -> Axes:
    """Draw the rows of one kind into axes whose y is in inches from their top; top, size: inches."""
    width, height = figure.get_size_inches()
    span = form.right - form.left
    axes = figure.add_axes((form.left / width, 1 - (top + size) / height, span / width, size / height))
    low, high = limits(rows)
    axes.set(xlim=(low, high), ylim=(size, 0), yticks=[])
    axes.grid(visible=False, axis="y" if form.numbers is not None else "both")
    axes.spines["left"].set_visible(False)
    write(figure, 0.1, top - 0.12, kind.title, fontsize=8.5, fontweight="bold")
    y = 0.0
    for row in rows:
        lines, space = label_lines(claims[row.claim], row, form), row_height(claims[row.claim], row, form)
        if y:
            axes.axhline(y - SPACE / 2, color="#DDDDDD", linewidth=0.5, zorder=0)
        write_row(figure, row, lines, form, top + y)
        middle = y + (space - SPACE) / 2 if form.numbers is not None else y + space - SPACE - LANE / 2
        draw_row(axes, row, middle)
        y += space
    return axes


def write_row(figure: Figure, row: Row, lines: Sequence[str], form: Form, top: float) -> None:
    """Write the label of a row and its numbers; the claim's symbol stands before it, so that no verdict depends on colour."""
    look = VERDICT_LOOKS[row.verdict]
    names = len(textwrap.wrap(f"{row.claim} {row.label}", form.columns))
    for place, line in enumerate(lines):
        style = {"fontweight": "bold"} if place < names else {"color": "#555555", "fontsize": 7}
        write(figure, 0.28, top + (place + 0.5) * LINE, line, **style)
    write(figure, 0.1, top + 0.5 * LINE, look.symbol, color=look.colour, fontsize=8.5, fontweight="bold")
    numbers = number_lines(row, form)
    left, start = (0.28, len(lines) * LINE) if form.numbers is None else (form.numbers, 0.0)
    for place, line in enumerate(numbers):
        write(figure, left, top + start + (place + 0.5) * LINE, line, fontsize=7)
