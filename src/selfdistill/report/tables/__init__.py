"""The tables of the study in the paper's form: Tables 1, 2 and 3, and the main results of every run.

`TABLES[name](data) -> Table`. A table keeps the text that is shown and the numbers behind it (estimate,
interval, problems, samples, seeds; `form`). The paper's numbers stand beside ours in columns of their own,
each with its mark (`reported`): S2 and S1 are second-hand, D is digitised, I is inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from selfdistill.report.data import (
    ACCURACY,
    CONTEXTS,
    EPISTEMIC,
    LENGTH,
    FigureError,
    StudyData,
    base_run,
    final_cell,
    runs_of,
    select,
)
from selfdistill.report.figures.estimates import OOD_MEAN
from selfdistill.report.figures.words import ORGANISM_TEXT, context_rows
from selfdistill.report.style import CONTEXT_SYMBOLS, method_style
from selfdistill.report.tables.form import MARKS_TEXT, NO_VALUE, Entry, Table, counts_note, ours
from selfdistill.report.tables.reported import (
    load_reported,
    paper_entry,
    reported,
    reported_rows,
    reported_table,
)
from selfdistill.study import displays

__all__ = ["NEEDS", "TABLES", "Table", "load_reported", "problems_summary", "reported_table"]


def of_the_paper(data: StudyData, model: str, digits: int, **fields: str) -> Entry:
    """Return the paper's number beside the model of its DeepSeek setting, `–` beside all others."""
    return reported(data, digits, **fields) if model == data.roles.get("deepseek") else Entry(NO_VALUE)


def table1(data: StudyData) -> Table:
    """Return Table 1 (section 3): score, length and epistemic count of the base under the four contexts."""
    frame = context_rows(data)
    quantities = (("score", ACCURACY, 2), ("length", LENGTH, 1), ("epistemic", EPISTEMIC, 2))
    rows = []
    for model in data.ordered(frame["model"].unique()):
        for context in CONTEXTS:
            row = {
                "Model": Entry(data.label(model)),
                "Context": Entry(f"{context} ({CONTEXT_SYMBOLS[context]})"),
            }
            # the samples of section 3 carry the training set that their problems come from
            own = frame[(frame["model"] == model) & (frame["context"] == context)]
            run = runs_of(own)[0] if len(own) else base_run(model)
            for name, metric, digits in quantities:
                row[name.capitalize()] = ours(final_cell(frame, run, "section-3", metric), digits)
            for name, _, digits in quantities:
                fields = {"place": "table1", "context": context, "quantity": name}
                row[f"Paper: {name}"] = of_the_paper(
                    data, model, max(digits - (name != "score"), 0), **fields
                )
            rows.append(row)
    note = f"Base model, {counts_note(rows)} The unguided score is set by the selection of problems. "
    note += f"{ORGANISM_TEXT} " * data.organism + MARKS_TEXT
    return Table("table1", "Table 1. Context richness and the base's answers", note, rows)


def table2(data: StudyData) -> Table:
    """Return Table 2 (section 4): accuracy in percent of base and SFT runs on every benchmark."""
    sft = select(data.estimates, "SFT run", method="sft", variant="default")
    paper = reported_rows(data, "table2")
    columns = list(paper["benchmark"].unique()) if len(paper) else []
    rows = []
    for model in data.ordered(sft["model"].unique()):
        runs = [base_run(model), *runs_of(sft[sft["model"] == model])]
        for run in runs:
            row = {"Model": Entry(data.label(model)), "Trained on": Entry(method_style(run).label)}
            for name in data.benchmark_names():
                row[data.benchmark_label(name)] = ours(
                    final_cell(data.estimates, run, name, ACCURACY), 1, 100
                )
            for name in columns:
                fields = {"place": "table2", "benchmark": name, "method": run["method"]}
                row[f"Paper: {name}"] = of_the_paper(data, model, 2, **fields, context=run["context"])
            rows.append(row)
    note = f"Accuracy in percent after the last step. {counts_note(rows)} {MARKS_TEXT}"
    return Table("table2", "Table 2. Supervised fine-tuning on own correct responses", note, rows)


def problems_summary(
    training: Mapping[str, pd.DataFrame], benchmarks: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Count what Table 3 shows, from the problem sets themselves.

    Args:
        training, benchmarks: name -> problems frame (artifacts.problems_schema).

    Returns:
        one row a training set and benchmark: dataset, benchmark, problems, types, shared_types (benchmark
        types that the training set has), benchmark_types, shared_questions (questions that are in both).
    """
    rows = []
    for dataset, own in training.items():
        types, questions = set(own["type"]), set(own["question"])
        for benchmark, other in benchmarks.items():
            rows.append(
                {
                    "dataset": dataset,
                    "benchmark": benchmark,
                    "problems": len(questions),
                    "types": len(types),
                    "shared_types": len(types & set(other["type"])),
                    "benchmark_types": other["type"].nunique(),
                    "shared_questions": len(questions & set(other["question"])),
                }
            )
    return pd.DataFrame(rows)


def relation_text(data: StudyData, rows: pd.DataFrame) -> str:
    """Return whose types a training set holds, and how many questions it shares with the benchmarks."""
    same = rows[rows["shared_types"] == rows["benchmark_types"]]["benchmark"]
    names = ", ".join(data.benchmark_label(name) for name in same) or "no benchmark"
    return f"holds the types of: {names}; questions in both: {int(rows['shared_questions'].sum())}"


def table3(data: StudyData) -> Table:
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
    note = f"Distinct questions and problem types of each training set. {MARKS_TEXT}"
    return Table("table3", "Table 3. Coverage of the training sets", note, rows)


def coverage_row(
    source: str, dataset: str, questions: Entry, types: Entry, relation: Entry
) -> dict[str, Entry]:
    """Return one row of Table 3."""
    named = {"Questions": questions, "Types": types, "Relation to the benchmarks": relation}
    return {"Source": Entry(source), "Training set": Entry(dataset), **named}


def main_results(data: StudyData) -> Table:
    """Return every run at its last step: accuracy in and out of domain, length and words, against base."""
    runs = runs_of(select(data.estimates, "estimate", benchmark=data.benchmark_names()))
    inside = (data.benchmark_names(ood=False) or data.benchmark_names())[0]
    rows = []
    for model in data.ordered([run["model"] for run in runs]):
        for run in [run for run in runs if run["model"] == model]:
            rows.append(
                {
                    "Model": Entry(data.label(model)),
                    "Run": Entry(method_style(run).label),
                    "Data": Entry(run["dataset"]),
                    "|D|": Entry(run["coverage"]),
                    "In domain": ours(final_cell(data.estimates, run, inside, ACCURACY), 1, 100),
                    "Δ base": ours(
                        final_cell(data.differences, run, inside, ACCURACY, "difference"), 1, 100, "+"
                    ),
                    "OOD mean": ours(final_cell(data.estimates, run, OOD_MEAN, ACCURACY), 1, 100),
                    "Δ base, OOD": ours(
                        final_cell(data.differences, run, OOD_MEAN, ACCURACY, "difference"), 1, 100, "+"
                    ),
                    "Length": ours(final_cell(data.estimates, run, inside, LENGTH), 1),
                    "Epistemic": ours(final_cell(data.estimates, run, inside, EPISTEMIC), 2),
                }
            )
    note = (
        "Last step of each run; accuracies in percent, length in tokens, epistemic words (substring count) "
        f"on {data.benchmark_label(inside)}; Δ in points against the run's own base. {counts_note(rows)}"
    )
    return Table("main-results", "Main results", note, rows)


TABLES: dict[str, Callable[[StudyData], Table]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "main-results": main_results,
}
NEEDS: dict[str, tuple[str, ...]] = {name: display.frames for name, display in displays.TABLES.items()}
