"""How well the OOD change of a run of self-distillation is predicted from its base: errors on groups that were left out."""

from __future__ import annotations

from selfdistill.report.diagnosis import TOO_FEW, DiagnosedData, groups_text, judgements, measured
from selfdistill.report.tables.form import Entry, TableParts, number
from selfdistill.statistics.prediction import FEWEST_GROUPS, GROUPS
from selfdistill.vocabulary.diagnosis import FEATURES


def diagnosis_table(data: DiagnosedData) -> TableParts:
    """Return one row per kind of group that is left out: its size, the errors of both predictors, and which predicts better."""
    runs = measured(data)
    rows = []
    for kind, found in judgements(runs).items():
        groups = runs[kind].nunique()
        errors = (None, None) if found is None else (found.ridge, found.constant)
        better = TOO_FEW
        if found is not None:
            better = "features" if found.ridge < found.constant else "mean of the others"
        rows.append(
            {
                "Left out": Entry(GROUPS[kind]),
                "Better": Entry(better),
                "Groups": Entry(str(groups), groups),
                "Runs": Entry(str(len(runs)), len(runs)),
                "Error of the features": points(errors[0]),
                "Error of the mean of the others": points(errors[1]),
            }
        )
    note = (
        "Root mean square error of the OOD change, in points, on the runs of a group that was left out. Change: on headline benchmarks, against "
        f"the base of the same draw. Features: ridge regression on the {len(FEATURES)} numbers that the base gives before training. Mean of the "
        f"others: the constant predictor. {TOO_FEW.capitalize()}: below {FEWEST_GROUPS}. {groups_text(data)}"
    )
    return rows, note


def points(error: float | None) -> Entry:
    """Return an error in points."""
    return Entry(TOO_FEW) if error is None else Entry(number(100 * error, 1), 100 * error)
