"""The form of a table: cells with the text shown and the number behind it; CSV, Markdown, HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from selfdistill.report.study_data import Cell, as_cell, draws_text
from selfdistill.text import pipe_table, span
from selfdistill.vocabulary.marks import MARKS

SECURE_MARKS = ("F", "V")
MARKS_TEXT = "Marks: " + "; ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items()) + "."
NO_VALUE = "–"


class Entry(NamedTuple):
    """One cell of a table: its text, the number to sort by, what it rests on, a reported number's mark, and the
    share (0 to 1) that a bar shows.
    """

    text: str
    value: float | None = None
    cell: Cell | None = None
    mark: str | None = None
    share: float | None = None


TableParts = tuple[list[dict[str, Entry]], str]
"""The rows of a table and the note below it."""


@dataclass(frozen=True)
class Table:
    """A finished table; every row maps the same columns, in order, to entries."""

    name: str
    title: str
    note: str
    rows: Sequence[Mapping[str, Entry]]

    @property
    def formatted(self) -> pd.DataFrame:
        """Return the table as it is shown, all text."""
        return pd.DataFrame([{name: entry.text for name, entry in row.items()} for row in self.rows])

    @property
    def raw(self) -> pd.DataFrame:
        """Return the numbers: one row per numeric cell, with the row's text, the interval, the counts and the mark."""
        records = []
        for row in self.rows:
            labels = {name: entry.text for name, entry in row.items() if entry.value is None}
            for name, entry in row.items():
                if entry.value is not None:
                    cell = entry.cell or Cell(entry.value)
                    facts = {**cell._asdict(), "reported": entry.mark is not None, "mark": entry.mark or ""}
                    records.append({**labels, "column": name, **facts})
        return pd.DataFrame(records)

    def to_markdown(self) -> str:
        """Return a pipe table with title and note."""
        frame = self.formatted
        table = pipe_table(list(frame.columns), frame.to_numpy().tolist())
        return f"### {self.title}\n\n{table}\n\n{self.note}\n"

    def to_html(self, kind: str = "sortable") -> str:
        """Return a `<table>`, its cells carrying the number to sort by; `kind`: its classes (`sortable`, `browser`)."""
        caption = f"<caption><span>{html.escape(self.title)}</span></caption>"
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.rows[0])
        body = "\n".join("<tr>" + "".join(map(html_cell, row.values())) + "</tr>" for row in self.rows)
        return (
            f'<div class="scroll"><table class="{kind}" id="{self.name}">{caption}'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
            f'<p class="note">{html.escape(self.note)}</p>'
        )

    def write(self, csv: Path, markdown: Path, page: Path) -> None:
        """Write the numbers as CSV and the shown table as Markdown and HTML."""
        for path in (csv, markdown, page):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.raw.to_csv(csv, index=False, lineterminator="\n")
        Path(markdown).write_text(self.to_markdown(), encoding="utf-8")
        Path(page).write_text(self.to_html() + "\n", encoding="utf-8")


def html_cell(entry: Entry) -> str:
    """Return one `<td>`; second-hand, digitised and inferred numbers get a class that shows them as such."""
    sort = "" if entry.value is None else f' data-sort="{entry.value:.10g}"'
    if entry.mark is None:
        text, bracket, interval = html.escape(entry.text).partition(" [")
        if entry.value is not None and bracket:
            text += f' <span class="interval">[{interval}</span>'
        else:
            text += bracket + interval
        if entry.share is not None:
            text += f'<span class="bar"><span style="width:{100 * entry.share:.1f}%"></span></span>'
        return f"<td{sort}{' class=number' if sort else ''}>{text}</td>"
    kind = "secure" if entry.mark in SECURE_MARKS else "insecure"
    text = entry.text.removesuffix(f" [{entry.mark}]")
    badge = f'<span class="mark" title="{html.escape(MARKS[entry.mark])}">{entry.mark}</span>'
    return f'<td{sort} class="reported {kind}">{html.escape(text)} {badge}</td>'


def number(value: float, digits: int, sign: str = "") -> str:
    """Return a number with its digits, thousands separated; `sign` `+` shows every sign."""
    return f"{value:{sign},.{digits}f}".replace("-", "−")


def ours(cell: Cell | None, digits: int, scale: float = 1.0, sign: str = "") -> Entry:
    """Return our number as `estimate [low, high]`, scaled (100: percent); `sign` `+` for a difference."""
    if cell is None or math.isnan(cell.estimate):
        return Entry(NO_VALUE)
    scaled = cell._replace(estimate=cell.estimate * scale, low=cell.low * scale, high=cell.high * scale)
    text = number(scaled.estimate, digits, sign)
    if not math.isnan(scaled.low):
        text += f" [{number(scaled.low, digits, sign)}, {number(scaled.high, digits, sign)}]"
    return Entry(text, scaled.estimate, scaled)


def estimated(
    frame: pd.DataFrame, metric: str, digits: int, scale: float = 1.0, sign: str = "", **fields: str
) -> Entry:
    """Return one number of a frame of estimates with its interval, or no value; fields: columns that find its row."""
    rows = frame[frame["metric"] == metric]
    for name, value in fields.items():
        rows = rows[rows[name] == value]
    return ours(as_cell(rows.iloc[0]), digits, scale, sign) if len(rows) else Entry(NO_VALUE)


def counts_note(rows: Sequence[Mapping[str, Entry]]) -> str:
    """Return problems, samples and seeds behind our numbers of some rows."""
    cells = [
        entry.cell
        for row in rows
        for entry in row.values()
        if entry.cell is not None and entry.cell.n_problems
    ]
    if not cells:
        return ""

    parts = [span(getattr(cell, name) for cell in cells) for name in ("n_problems", "k")]
    draws = draws_text(*(span(getattr(cell, name) for cell in cells) for name in ("n_replicates", "n_seeds")))
    has_interval = any(not math.isnan(cell.low) for cell in cells)
    brackets = " Brackets: 95 % intervals." if has_interval else ""
    return f"n = {parts[0]} problems, k = {parts[1]} samples per problem, {draws}.{brackets}"
