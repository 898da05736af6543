"""Text that several rooms write: pipe tables and spans of counts."""

from collections.abc import Iterable, Sequence


def pipe_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = [_pipe_row(heads), "|" + "---|" * len(heads), *map(_pipe_row, rows)]
    return "\n".join(lines)


def _pipe_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def span(values: Iterable[int]) -> str:
    """Return `4`, or `2–4` where the values differ."""
    values = list(values)
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"
