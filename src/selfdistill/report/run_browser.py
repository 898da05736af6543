"""The two tables that only the report has: every run with what it gave and cost, and the costs by rule.

The page sorts both and puts filters above the run browser (templates/report.js). Numbers come from the study's
estimates and differences at each run's last step, and from the manifests of the jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from selfdistill.report.numbers import OOD_MEAN
from selfdistill.report.study_data import (
    ACCURACY,
    EPISTEMIC,
    LENGTH,
    Cell,
    StudyData,
    draws_text,
    final_cell,
    of_metric,
    rows_of_run,
    runs_of,
)
from selfdistill.report.tables.form import NO_VALUE, Entry, Table, counts_note, number, ours
from selfdistill.vocabulary.runs import RUN_KEY
from selfdistill.vocabulary.words import REPETITION

RUN_COLUMNS = dict(zip(RUN_KEY[1:], ("Method", "Context", "Teacher", "Data", "|D|", "Variant"), strict=True))
"""Run fields and their heads; the model stands before them under its label."""


OUTCOME_HEADS = {
    "Truncated (%)": ("truncated",),
    "No answer (%)": ("no_answer",),
    "Not graded (%)": ("too_long", "timeout", "error"),
}
"""Heads of the outcomes of grading, and the outcomes that each counts."""


def run_browser(data: StudyData, training_costs: pd.DataFrame) -> str:
    """Return every run at its last step as a table that sorts and filters; empty without estimates.

    Args:
        training_costs: one row per training run: run fields, seconds, tokens; may be empty.
    """
    if data.estimates.empty:
        return ""
    own = data.estimates[data.estimates["benchmark"].isin(data.benchmark_names())]
    runs = data.in_order(runs_of(of_metric(own, ACCURACY)))
    rows = [run_row(data, run, data.inside, training_costs) for run in runs]
    note = (
        "Last step of each run. Accuracies in percent; Δ in points against the run's own base, paired by problem; "
        "length (tokens), epistemic words (the authors' substring count), repeated 4-grams of words (percent) and outcomes of grading on "
        f"{data.benchmark_label(data.inside)}. "
        f"Training: wall time and tokens generated (SFT generates none), summed over draws. {counts_note(rows)}"
    )
    return Table("run-browser", "All runs", note, rows).to_html("sortable browser")


def run_row(data: StudyData, run: Mapping[str, str], inside: str, costs: pd.DataFrame) -> dict[str, Entry]:
    """Return one run: what it is, what it gave in and out of domain, what its training cost."""
    accuracy = final_cell(data.estimates, run, inside, ACCURACY)
    row = {"Model": Entry(data.label(run["model"]))}
    row |= {head: Entry(NO_VALUE if run[name] == "none" else run[name]) for name, head in RUN_COLUMNS.items()}
    row["Draws"] = draws(accuracy) if accuracy else Entry(NO_VALUE)
    for head, benchmark in (("In domain", inside), ("OOD mean", OOD_MEAN)):
        change = final_cell(data.differences, run, benchmark, ACCURACY, "difference")
        row[head] = ours(final_cell(data.estimates, run, benchmark, ACCURACY), 1, 100)
        row[f"Δ {head}"] = ours(change, 1, 100, "+")
    row["Length"] = ours(final_cell(data.estimates, run, inside, LENGTH), 1)
    row["Epistemic"] = ours(final_cell(data.estimates, run, inside, EPISTEMIC), 2)
    row["Repeated"] = ours(final_cell(data.estimates, run, inside, REPETITION), 1, 100)
    for head, metrics in OUTCOME_HEADS.items():
        row[head] = share(data, run, inside, metrics)
    own = rows_of_run(costs, run) if len(costs) else costs
    for head, column in (("Training (s)", "seconds"), ("Tokens", "tokens")):
        row[head] = amount(own[column].sum()) if len(own) else Entry(NO_VALUE)
    return row


def draws(cell: Cell) -> Entry:
    """Return over what draws a number is, sorted by how many there are."""
    text = draws_text(str(cell.n_replicates), str(cell.n_seeds))
    return Entry(text, cell.n_replicates * cell.n_seeds)


def share(data: StudyData, run: Mapping[str, str], benchmark: str, metrics: Sequence[str]) -> Entry:
    """Return the percentage of a run's responses with one of some outcomes."""
    cells = [final_cell(data.estimates, run, benchmark, metric) for metric in metrics]
    found = [cell.estimate for cell in cells if cell]
    return amount(100 * sum(found), 1) if found else Entry(NO_VALUE)


def amount(value: float, digits: int = 0, share: float | None = None) -> Entry:
    """Return a plain number; `–` for none."""
    if pd.isna(value):
        return Entry(NO_VALUE)
    return Entry(number(value, digits), float(value), share=share)


def costs_table(costs: pd.DataFrame) -> str:
    """Return the costs by rule: jobs, wall time with its share, longest job, tokens, peak memory.

    Args:
        costs: one row per job: rule, seconds (wall), max_rss_mb, tokens (NaN where a rule makes none).
    """
    if costs.empty:
        return ""
    groups = costs.groupby("rule", observed=True)
    by_rule = groups.agg(total=("seconds", "sum"), longest=("seconds", "max"), memory=("max_rss_mb", "max"))
    by_rule["jobs"], by_rule["tokens"] = groups.size(), groups["tokens"].sum(min_count=1)
    all_seconds = costs["seconds"].sum()
    rows = [
        {
            "Rule": Entry(str(rule)),
            "Jobs": amount(row["jobs"]),
            "Wall time (s)": amount(row["total"], 1),
            "Share of time (%)": amount(100 * row["total"] / all_seconds, 1, row["total"] / all_seconds),
            "Longest job (s)": amount(row["longest"], 1),
            "Tokens": amount(row["tokens"]),
            "Peak memory (MB)": amount(row["memory"]),
        }
        for rule, row in by_rule.sort_values("total", ascending=False).iterrows()
    ]
    note = (
        f"In all {number(all_seconds, 0)} s of wall time and {number(costs['tokens'].sum(), 0)} generated tokens, summed over "
        f"{len(costs)} jobs, from their manifests; figures, tables and problem sets take seconds and are left out. "
        "A resumed job counts its last call only."
    )
    return Table("costs-by-rule", "Costs by rule", note, rows).to_html()
