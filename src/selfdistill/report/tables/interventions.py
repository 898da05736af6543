"""The table of interventions on the epistemic words: does accuracy return if words are banned, forced or replaced?"""

from __future__ import annotations

from collections.abc import Mapping

from selfdistill.report.numbers import OOD_MEAN
from selfdistill.report.study_data import ACCURACY, EPISTEMIC, LENGTH, StudyData, rows_of_run
from selfdistill.report.style import method_style
from selfdistill.report.tables.form import Entry, TableParts, counts_note, estimated
from selfdistill.statistics.interventions import CHANGE, RETURNED
from selfdistill.vocabulary.interventions import INTERVENTIONS, NEUTRAL_WORD, NONE
from selfdistill.vocabulary.runs import base_key


def interventions_table(data: StudyData) -> TableParts:
    """Return one row per run (bases too) and intervention: score in and out of domain, share of the loss that returns, length, words."""
    rows = []
    for (model,), runs in data.runs_by("model").items():
        for run in (base_key(model), *runs):
            found = set(rows_of_run(data.interventions, run)["intervention"])
            rows += [intervention_row(data, run, name) for name in (NONE, *INTERVENTIONS) if name in found]
    note = (
        "Last step of each run; accuracies in percent, length in tokens and epistemic words (substring count) "
        f"on {data.benchmark_label(data.inside)}. ban: the ten words are never sampled. force: at every token they are at least as likely, "
        f'together, as under the base after the same tokens. neutral: "{NEUTRAL_WORD}" is written in their place. Δ: points against the '
        "same run without an intervention. Returned: percent of the run's loss, Δ / (base - run), where the base is above the run with its "
        f"whole interval. All with the same random numbers. {counts_note(rows)}"
    )
    return rows, note


def intervention_row(data: StudyData, run: Mapping[str, str], name: str) -> dict[str, Entry]:
    """Return the row of one run under one intervention."""
    own = rows_of_run(data.interventions, run)
    own = own[own["intervention"] == name]
    row = {
        "Model": Entry(data.label(run["model"])),
        "Run": Entry(method_style(run).label),
        "Data": Entry(run["dataset"]),
        "|D|": Entry(run["coverage"]),
        "Intervention": Entry(name),
    }
    for title, benchmark in (("In domain", data.inside), ("OOD mean", OOD_MEAN)):
        row[title] = estimated(own, ACCURACY, 1, 100, benchmark=benchmark)
        row[f"Δ, {title}"] = estimated(own, CHANGE, 1, 100, "+", benchmark=benchmark)
        row[f"Returned, {title}"] = estimated(own, RETURNED, 0, 100, benchmark=benchmark)
    return row | {
        "Length": estimated(own, LENGTH, 1, benchmark=data.inside),
        "Epistemic": estimated(own, EPISTEMIC, 2, benchmark=data.inside),
    }
