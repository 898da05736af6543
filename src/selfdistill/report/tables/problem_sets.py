"""Table 3 (section 6.1): how many problems and types the training sets hold, and what they share with the benchmarks."""

from __future__ import annotations

import pandas as pd

from selfdistill.report.study_data import FigureError, StudyData
from selfdistill.report.tables.form import MARKS_TEXT, Entry, TableParts
from selfdistill.report.tables.reported import paper_entry, reported_rows


def relation_text(data: StudyData, rows: pd.DataFrame) -> str:
    """Return whose types a training set holds, and how many questions it shares with the benchmarks."""
    same = rows[rows["shared_types"] == rows["benchmark_types"]]["benchmark"]
    names = ", ".join(data.benchmark_label(name) for name in same) or "no benchmark"
    return f"holds the types of: {names}; questions in both: {int(rows['shared_questions'].sum())}"


def problem_sets_table(data: StudyData) -> TableParts:
    """Return Table 3 (section 6.1): size, types and relation to the benchmarks of the training sets."""
    if data.problems.empty:
        raise FigureError("no summary of the problem sets")
    rows = []
    for dataset, own in data.problems.groupby("dataset", sort=False):
        size, types = int(own["problems"].iloc[0]), int(own["types"].iloc[0])
        relation = Entry(relation_text(data, own))
        rows.append(
            coverage_row(
                "this study", str(dataset), Entry(f"{size:,}", size), Entry(str(types), types), relation
            )
        )
    paper = reported_rows(data, "table3")
    for dataset, own in paper.groupby("dataset", sort=False) if len(paper) else ():
        entries = {row["quantity"]: paper_entry(row) for _, row in own.iterrows()}
        rows.append(
            coverage_row(
                "paper", str(dataset), *(entries[name] for name in ("questions", "types", "relation"))
            )
        )
    return rows, f"Distinct questions and problem types of each training set. {MARKS_TEXT}"


def coverage_row(
    source: str, dataset: str, questions: Entry, types: Entry, relation: Entry
) -> dict[str, Entry]:
    """Return one row of Table 3."""
    named = {"Questions": questions, "Types": types, "Relation to the benchmarks": relation}
    return {"Source": Entry(source), "Training set": Entry(dataset), **named}
