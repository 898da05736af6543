"""The screening table: which runs keep or gain most, at equal steps and at equal sampled tokens."""

from __future__ import annotations

from collections.abc import Mapping

from selfdistill.report.screening import screening_benchmarks
from selfdistill.report.study_data import FigureError, StudyData, final_cell, rows_of_run
from selfdistill.report.style import method_style
from selfdistill.report.tables.form import Entry, TableParts, counts_note, estimated, number, ours
from selfdistill.report.tables.results import REPEATED_TEXT
from selfdistill.statistics.screening import STEPS, TOKENS, sampled_tokens
from selfdistill.vocabulary.runs import RUN_KEY
from selfdistill.vocabulary.words import REPETITION

QUANTITIES = {
    "Δ in domain": ("change_inside", "+"),
    "Δ OOD": ("change_outside", "+"),
    "OOD against GRPO": ("above_grpo", "+"),
    "Length kept": ("length_kept", ""),
    "Words kept": ("words_kept", ""),
}
"""Column -> quantity of statistics.screening, all in percent, and the sign of a difference."""
AT = {STEPS: "", TOKENS: ", equal tokens"}
RANKED_BY = "Δ OOD"


def screening_table(data: StudyData) -> TableParts:
    """Return one row per run; within a model, the run with the highest OOD change at equal steps comes first."""
    if data.differences.empty:
        raise FigureError("no run to screen")
    sampled = sampled_tokens(data.training).groupby(list(RUN_KEY), observed=True).last()
    rows = []
    for runs in data.runs_by("model").values():
        own = [screening_row(data, run, float(sampled[tuple(run.values())])) for run in runs]
        rows += sorted(own, key=rank)
    return rows, screening_note(data, rows)


def rank(row: Mapping[str, Entry]) -> float:
    """Return what rows are sorted by, those without a number last."""
    value = row[RANKED_BY].value
    return float("inf") if value is None else -value


def screening_row(data: StudyData, run: Mapping[str, str], sampled: float) -> dict[str, Entry]:
    """Return the row of a run that has sampled so many tokens by its end."""
    own = rows_of_run(data.differences, run)
    row = {
        "Model": Entry(data.label(run["model"])),
        "Run": Entry(method_style(run).label),
        "Data": Entry(run["dataset"]),
        "|D|": Entry(run["coverage"]),
        "Replicates": Entry(str(own["n_replicates"].min())),
        "Repeated": ours(final_cell(data.estimates, run, data.inside, REPETITION), 1, 100),
        "Sampled tokens": Entry(number(sampled, 0), sampled),
    }
    for spent, suffix in AT.items():
        there = own[own["spent"] == spent]
        if there.empty:
            raise FigureError(
                f"{method_style(run).label} has no number at equal {spent}: list the benchmarks of its checkpoints in "
                "benchmarks.every_checkpoint"
            )
        step = float(there["step"].iloc[0])
        row[f"Step{suffix}"] = Entry(number(step, 1).removesuffix(".0"), step)
        for title, (quantity, sign) in QUANTITIES.items():
            row[title + suffix] = estimated(there, quantity, 1, 100, sign)
    return row


def screening_note(data: StudyData, rows: list[dict[str, Entry]]) -> str:
    """Return the note: what is compared where, and the counts."""
    inside, outside = (
        ", ".join(map(data.benchmark_label, names)) for names in screening_benchmarks(data).values()
    )
    return (
        "Runs of a model are compared after as many steps as the run with the fewest has, and after as many sampled tokens (mean over draws) as "
        "the run that samples fewest has at its end. Between two checkpoints, the base being checkpoint 0, numbers are interpolated "
        f"linearly. Δ: points against the run's own base, in domain on {inside}, OOD in the mean of {outside}. OOD against GRPO: points against "
        "GRPO on the same data and coverage with the study's own settings, at the same place. Length and words kept: percent of the base's "
        "tokens and epistemic words (substring count) per response, OOD. Repeated and sampled tokens: at the run's end. "
        f"{REPEATED_TEXT} {counts_note(rows)}"
    )
