"""Every draw one by one: what each base can do, and how far each method moved it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from selfdistill.report.numbers import OOD_MEAN
from selfdistill.report.study_data import FigureError, StudyData, rows_of_run
from selfdistill.report.style import method_style
from selfdistill.report.tables.form import NO_VALUE, Entry, TableParts, number
from selfdistill.vocabulary.runs import DRAW, base_key

NOTE = (
    "Plain means of one draw at the last step, without interval: how far the draws of a row's model lie apart is what the "
    "intervals of the other tables and of the claims are made of. Accuracies in percent, Δ in points of the OOD mean against the "
    "base of the same draw."
)


def draws_table(data: StudyData) -> TableParts:
    """Return one row per model and draw: the base in domain, out of domain and in length, then the change under every run."""
    labels = Counter((run["model"], method_style(run).label) for run in data.runs)
    if twice := [label for (_, label), count in labels.items() if count > 1]:
        raise FigureError(f"the table of draws has one column per method; two runs are {twice[0]}")
    columns = list(dict.fromkeys(label for _, label in labels))
    rows = []
    for (model,), runs in data.runs_by("model").items():
        base = rows_of_run(data.draws, base_key(model))
        for draw in base[[*DRAW]].drop_duplicates().to_dict("records"):
            start = of_draw(base, draw)
            row = {
                "Model": Entry(data.label(model)),
                "Replicate": Entry(str(draw["replicate"])),
                "Seed": Entry(str(draw["seed"])),
                "Base, in domain": percent(start, data.inside),
                "Base, OOD": percent(start, OOD_MEAN),
                "Base, length": mean(start, data.inside, "response_tokens"),
            }
            changes = {
                method_style(run).label: change(of_draw(rows_of_run(data.draws, run), draw), start)
                for run in runs
            }
            rows.append(row | {f"Δ {name}": changes.get(name, Entry(NO_VALUE)) for name in columns})
    return rows, NOTE


def of_draw(frame: pd.DataFrame, draw: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of one draw, by benchmark."""
    own = (frame[list(draw)] == pd.Series(draw)).all(axis=1)
    return frame[own].set_index("benchmark")


def mean(frame: pd.DataFrame, benchmark: str, metric: str, scale: float = 1.0, sign: str = "") -> Entry:
    """Return a mean with one digit, `–` where there is none."""
    if benchmark not in frame.index:
        return Entry(NO_VALUE)
    value = scale * float(frame.loc[benchmark, metric])
    return Entry(number(value, 1, sign), value)


def percent(frame: pd.DataFrame, benchmark: str) -> Entry:
    """Return an accuracy in percent."""
    return mean(frame, benchmark, "accuracy", 100)


def change(own: pd.DataFrame, start: pd.DataFrame) -> Entry:
    """Return the change of the OOD accuracy against the base in points."""
    return mean((own[["accuracy"]] - start[["accuracy"]]).dropna(), OOD_MEAN, "accuracy", 100, "+")
