"""The picture that the report opens with: every claim's deciding effect beside the paper's, in a forest plot.

A panel per kind of effect, so that no axis mixes units; a row per claim or, where a claim has several, per clause: ours with its interval
below, the paper's number or claimed direction above. The wide form has its texts beside the rows, the narrow one (a telephone) above them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.claims.verdicts import NO_VERDICT
from selfdistill.records.files import read_json, write_text
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.claims_summary import summary_sentences
from selfdistill.report.deciding import deciding_rows
from selfdistill.report.forest import VERDICT_LOOKS, Kind, Record, Row, by_kind, limits
from selfdistill.report.forest_marks import LANE, draw_legend, draw_row, legend_entries
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

    columns: characters of a label; numbers: left end of the texts with the numbers, None: they stand above the marks; text: characters
    of a line of them; legend: its columns.
    """

    width: float
    left: float
    right: float
    columns: int
    numbers: float | None
    text: int
    legend: int


WIDE = Form(width=8.0, left=2.75, right=5.6, columns=37, numbers=5.68, text=42, legend=3)
NARROW = Form(width=3.9, left=0.15, right=3.75, columns=51, numbers=None, text=64, legend=2)


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
    rows = deciding_rows(record, reported)
    save_figure(draw_overview(rows, WIDE), Path(output.png), Path(output.svg))
    save_figure(draw_overview(rows, NARROW), Path(output.narrow), Path(output.narrow_svg))
    write_text(output.caption, overview_caption(record) + "\n")
    return None


def overview_caption(record: Record) -> str:
    """Return what the picture shows and how to read it, with the ledger's counts."""
    return (
        f"Study {record['study']}: the paper beside ours, one row per claim, or per clause (a, b, …) of a claim that says several things. "
        f"{' '.join(summary_sentences(record))} "
        "Each row shows the part that decides its clause: ours with its 95 % interval, the verdict on the whole clause as shape and colour, "
        "and above it the paper's effect, computed from its reported numbers by the same formula (line: error of digitising), or an arrow "
        "where no number of it is known. Where ours is a mean over models, each of them is a dot below it. Where ours is no single benchmark "
        "or model of the paper, each of the paper's has a mark. The shaded range is the one that the claim asks of ours "
        "(config/claims.yaml); in its yellow part an effect is smaller than the smallest of interest. X: extensions of this study. "
        "Models and benchmarks are named by the part of the paper that they stand for; they differ from the paper's, so compare directions "
        "and rough sizes. Accuracy is in points; length and words are in percent of the arm that is subtracted. "
        "Elsewhere: how many measurements of others are for and against the claim (config/elsewhere.yaml). "
        f"{MARKS_TEXT}"
    )


def label_lines(row: Row, form: Form) -> tuple[list[str], list[str]]:
    """Return the label of a row: its name and part; model, benchmark and how many parts hold."""
    names = textwrap.wrap(f"{row.claim} {row.label}", form.columns)
    details = [row.detail] if row.verdict == NO_VERDICT else [row.detail, row.reason]
    return names, textwrap.wrap("; ".join(details), max(form.columns + 8, form.text))


def number_lines(row: Row, form: Form) -> list[str]:
    """Return the texts of a row: the paper's number, then ours, as their marks stand, then elsewhere; on one line where there is room."""
    lines = [f"paper: {row.paper_text}", f"ours: {row.text}"]
    lines += [f"elsewhere: {row.elsewhere}"] * bool(row.elsewhere)
    joined = "; ".join(lines)
    if form.numbers is None and len(joined) <= form.text:
        return [joined]
    return [part for line in lines for part in textwrap.wrap(line, form.text, subsequent_indent="   ")]


def row_height(row: Row, form: Form) -> float:
    """Return the height of a row in inches."""
    lines, numbers = sum(map(len, label_lines(row, form))), len(number_lines(row, form))
    if form.numbers is not None:
        return max(max(lines, numbers) * LINE, LANE) + SPACE
    return (lines + numbers) * LINE + LANE + SPACE


def draw_overview(rows: Mapping[str, Row | str], form: Form) -> Figure:
    """Return the picture. rows: `deciding.deciding_rows`; what has a reason instead of a row is listed as not run."""
    known = [row for row in rows.values() if isinstance(row, Row)]
    panels = by_kind(known)
    missing = missing_lines({name: row for name, row in rows.items() if isinstance(row, str)}, form)
    with paper_style():
        entries, warning = legend_entries(known), warning_lines(known, form)
        start = 0.1 + LINE * len(warning) + LEGEND * -(-len(entries) // form.legend)
        heights = {kind: sum(row_height(row, form) for row in own) for kind, own in panels.items()}
        body = sum(HEAD + FOOT + height for height in heights.values())
        figure = blank(form.width, start + body + LINE * (len(missing) + 1))
        for place, line in enumerate(warning):
            write(figure, 0.1, 0.1 + (place + 0.5) * LINE, line, fontweight="bold")
        draw_legend(figure, entries, form.legend, 0.02 + (0.1 + LINE * len(warning) if warning else 0))
        top = start
        for kind, own in panels.items():
            top += HEAD
            draw_panel(figure, kind, own, form, top, heights[kind])
            top += heights[kind] + FOOT
        for place, line in enumerate(missing):
            write(figure, 0.1, top + (place + 0.5) * LINE, line, color="#555555")
    return figure


def warning_lines(rows: Sequence[Row], form: Form) -> list[str]:
    """Return what says that rows of one draw have effects and no verdicts, and which rows if others have verdicts."""
    names = [row.claim for row in rows if row.verdict == NO_VERDICT]
    if not names:
        return []
    what = "No verdicts" if len(names) == len(rows) else f"No verdict on {', '.join(names)}"
    text = f"{what}: measured on one draw. These are its effects; the intervals are over problems only."
    return textwrap.wrap(text, int(form.width * 14))


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


def missing_lines(reasons: Mapping[str, str], form: Form) -> list[str]:
    """Return what says which claims and clauses were not run, and why; those with the same reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    texts = [f"Not run: {', '.join(own)}; {reason}" for reason, own in names.items()]
    return [line for text in texts for line in textwrap.wrap(text, int(form.width * 16))]


def draw_panel(figure: Figure, kind: Kind, rows: Sequence[Row], form: Form, top: float, size: float) -> Axes:
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
        space = row_height(row, form)
        if y:
            axes.axhline(y - SPACE / 2, color="#DDDDDD", linewidth=0.5, zorder=0)
        write_row(figure, row, form, top + y)
        middle = y + (space - SPACE) / 2 if form.numbers is not None else y + space - SPACE - LANE / 2
        draw_row(axes, row, middle)
        y += space
    return axes


def write_row(figure: Figure, row: Row, form: Form, top: float) -> None:
    """Write the label of a row and its numbers; the symbol of its verdict stands before it, so that none depends on colour."""
    look = VERDICT_LOOKS[row.verdict]
    names, details = label_lines(row, form)
    for place, line in enumerate([*names, *details]):
        style = {"fontweight": "bold"} if place < len(names) else {"color": "#555555", "fontsize": 7}
        write(figure, 0.28, top + (place + 0.5) * LINE, line, **style)
    write(figure, 0.1, top + 0.5 * LINE, look.symbol, color=look.colour, fontsize=8.5, fontweight="bold")
    start = LINE * (len(names) + len(details)) if form.numbers is None else 0.0
    left = 0.28 if form.numbers is None else form.numbers
    for place, line in enumerate(number_lines(row, form)):
        write(figure, left, top + start + (place + 0.5) * LINE, line, fontsize=7)
