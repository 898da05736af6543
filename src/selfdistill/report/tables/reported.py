"""The paper's numbers (config/reported.yaml) as cells and as small tables beside our figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.claims.reported import reported_entries
from selfdistill.report.study_data import StudyData
from selfdistill.report.style import CONTEXT_SYMBOLS, method_style
from selfdistill.report.tables.form import MARKS_TEXT, NO_VALUE, Entry, Table, number


def load_reported(path: Path) -> pd.DataFrame:
    """Return config/reported.yaml as a frame, one row per entry; raise StudyError for a wrong one (`claims.reported`)."""
    entries = [entry.model_dump(exclude_unset=True) for entry in reported_entries(path)]
    return pd.DataFrame(entries).astype(object).where(lambda frame: frame.notna(), None)


def reported_rows(data: StudyData, place: str) -> pd.DataFrame:
    """Return the entries of one table or figure; empty if there are none."""
    return data.reported[data.reported["place"] == place] if len(data.reported) else pd.DataFrame()


def reported(data: StudyData, digits: int, **fields: str) -> Entry:
    """Return the paper's number with its mark, `–` where the paper's value is unknown or there is none."""
    rows = data.reported
    for name, value in fields.items():
        rows = rows[rows[name] == value] if name in rows else rows.iloc[:0]
    if rows.empty or rows.iloc[0]["value"] is None:
        return Entry(NO_VALUE)
    value, mark = float(rows.iloc[0]["value"]), rows.iloc[0]["mark"]
    return Entry(f"{number(value, digits)} [{mark}]", value, None, mark)


def paper_entry(row: Mapping[str, Any]) -> Entry:
    """Return a reported entry of any form as text with its mark: number, text, words or curve."""
    mark, value = row["mark"], row.get("value")
    if row.get("words"):
        text = ", ".join(f"{word} {count:g}" for word, count in row["words"].items())
    elif row.get("steps"):
        text = " ".join(
            f"{step}: {point:g}," for step, point in zip(row["steps"], row["values"], strict=True)
        ).rstrip(",")
    elif value is not None:
        text = f"{value:,g}" if float(value).is_integer() else f"{value:g}"
    else:
        text = row.get("text") or "unknown"
    if row.get("error"):
        text += f" (±{row['error']:g})"
    return Entry(f"{text} [{mark}]", None if value is None else float(value), None, mark)


def arm_text(row: Mapping[str, Any]) -> str:
    """Return the arm of a reported entry: method with context and teacher, or context; and coverage."""
    known = {name: row[name] for name in ("method", "context", "teacher") if row.get(name)}
    if "method" not in known:
        text = CONTEXT_SYMBOLS.get(row.get("context"), "")
    elif known["method"] in ("base", "grpo") or "context" in known:
        text = method_style(known).label
    else:
        text = str(known["method"]).upper()
    return f"{text}, |D| = {row['coverage']}" if row.get("coverage") else text


def reported_table(data: StudyData, place: str) -> Table | None:
    """Return what the paper reports for one of our figures, or None where nothing is known of it."""
    return table_of(reported_rows(data, place), place)


def reported_elsewhere(data: StudyData, shown: Collection[str]) -> Table | None:
    """Return what the paper reports for figures and tables that are not shown, those that no study draws too; None for nothing."""
    rows = data.reported
    return table_of(rows[~rows["place"].isin(list(shown))], "elsewhere") if len(rows) else None


def table_of(rows: pd.DataFrame, name: str) -> Table | None:
    """Return reported entries as a table, None for no entry."""
    if rows.empty:
        return None
    shown = []
    for _, row in rows.iterrows():
        shown.append(
            {
                "In the paper": Entry(str(row["paper"])),
                "Model": Entry(row.get("model") or ""),
                "Arm": Entry(arm_text(row)),
                "Benchmark": Entry(row.get("benchmark") or ""),
                "Quantity": Entry(str(row["quantity"])),
                "Value": paper_entry(row),
                "Note": Entry(row.get("note") or ""),
            }
        )
    filled = [name for name in shown[0] if any(row[name].text for row in shown)]
    return Table(
        f"reported-{name}", "Reported in the paper", MARKS_TEXT, [{n: r[n] for n in filled} for r in shown]
    )
