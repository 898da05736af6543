"""Tables of responses: Table 1 (section 3), Table 2 (section 4), and the main results of every run."""

from __future__ import annotations

from collections.abc import Mapping

from selfdistill.report.figures.words import ORGANISM_TEXT, context_rows, contexts_in
from selfdistill.report.numbers import OOD_MEAN
from selfdistill.report.study_data import (
    ACCURACY,
    EPISTEMIC,
    LENGTH,
    Cell,
    StudyData,
    final_cell,
    runs_of,
    select,
)
from selfdistill.report.style import CONTEXT_SYMBOLS, method_style
from selfdistill.report.tables.form import MARKS_TEXT, NO_VALUE, Entry, TableParts, counts_note, ours
from selfdistill.report.tables.reported import reported, reported_rows
from selfdistill.vocabulary.runs import SECTION_3, base_key
from selfdistill.vocabulary.words import REPETITION

REPEATED_TEXT = (
    "Repeated: percent of the 4-grams of words that have occurred before in the same response; where it rises, a loop of epistemic words "
    "is counted, not doubt."
)


def of_the_paper(data: StudyData, model: str, digits: int, **fields: str) -> Entry:
    """Return the paper's number beside the model of its DeepSeek setting, `–` beside all others."""
    return reported(data, digits, **fields) if model == data.roles.get("deepseek") else Entry(NO_VALUE)


def contexts_table(data: StudyData) -> TableParts:
    """Return Table 1 (section 3): score, length and epistemic count of the base under each context."""
    frame = context_rows(data)
    quantities = (("score", ACCURACY, 2), ("length", LENGTH, 1), ("epistemic", EPISTEMIC, 2))
    rows = []
    for model in data.ordered(frame["model"].unique()):
        for context in contexts_in(frame):
            row = {
                "Model": Entry(data.label(model)),
                "Context": Entry(f"{context} ({CONTEXT_SYMBOLS[context]})"),
            }
            # the samples of section 3 carry the training set that their problems come from
            own = frame[(frame["model"] == model) & (frame["context"] == context)]
            run = runs_of(own)[0] if len(own) else base_key(model)
            for name, metric, digits in quantities:
                row[name.capitalize()] = ours(final_cell(frame, run, SECTION_3, metric), digits)
            repeated = final_cell(frame, run, SECTION_3, REPETITION)
            row["Repeated"] = ours(repeated, 1, 100)
            for name, _, digits in quantities:
                fields = {"place": "table1", "context": context, "quantity": name}
                row[f"Paper: {name}"] = of_the_paper(
                    data, model, max(digits - (name != "score"), 0), **fields
                )
            rows.append(row)
    note = f"Base model, {counts_note(rows)} {REPEATED_TEXT} The unguided score is set by the selection of problems. "
    note += f"{ORGANISM_TEXT} " * data.organism + MARKS_TEXT
    return rows, note


def fine_tuning_table(data: StudyData) -> TableParts:
    """Return Table 2 (section 4): accuracy in percent of base and SFT runs on every benchmark."""
    paper = reported_rows(data, "table2")
    columns = list(paper["benchmark"].unique()) if len(paper) else []
    rows = []
    for (model,), runs in data.runs_by("model").items():
        for run in (base_key(model), *runs):
            row = {"Model": Entry(data.label(model)), "Trained on": Entry(method_style(run).label)}
            for name in data.benchmark_names():
                cell = final_cell(data.estimates, run, name, ACCURACY)
                row[data.benchmark_label(name)] = ours(cell, 1, 100)
            for name in columns:
                fields = {"place": "table2", "benchmark": name, "method": run["method"]}
                row[f"Paper: {name}"] = of_the_paper(data, model, 2, **fields, context=run["context"])
            rows.append(row)
    return rows, f"Accuracy in percent after the last step. {counts_note(rows)} {MARKS_TEXT}"


def main_results_table(data: StudyData) -> TableParts:
    """Return every run at its last step: accuracy in and out of domain, length and words, against base."""
    own = select(data.estimates, "estimate", benchmark=data.benchmark_names())
    rows = [main_row(data, run) for run in data.in_order(runs_of(own))]
    note = (
        "Last step of each run; accuracies in percent, length in tokens, epistemic words (substring count) "
        f"on {data.benchmark_label(data.inside)}; Δ in points against the run's own base. {REPEATED_TEXT} {counts_note(rows)}"
    )
    return rows, note


def main_row(data: StudyData, run: Mapping[str, str]) -> dict[str, Entry]:
    """Return one run's row of the main results."""

    def final(benchmark: str, metric: str) -> Cell | None:
        return final_cell(data.estimates, run, benchmark, metric)

    def change(benchmark: str) -> Entry:
        return ours(final_cell(data.differences, run, benchmark, ACCURACY, "difference"), 1, 100, "+")

    return {
        "Model": Entry(data.label(run["model"])),
        "Run": Entry(method_style(run).label),
        "Data": Entry(run["dataset"]),
        "|D|": Entry(run["coverage"]),
        "In domain": ours(final(data.inside, ACCURACY), 1, 100),
        "Δ base": change(data.inside),
        "OOD mean": ours(final(OOD_MEAN, ACCURACY), 1, 100),
        "Δ base, OOD": change(OOD_MEAN),
        "Length": ours(final(data.inside, LENGTH), 1),
        "Epistemic": ours(final(data.inside, EPISTEMIC), 2),
        "Repeated": ours(final(data.inside, REPETITION), 1, 100),
    }
