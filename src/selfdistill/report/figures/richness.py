"""Dose and response: what a context tells about the base's correct responses, against its answers under it and the OOD change after SDPO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from selfdistill.report.figures.words import ORGANISM_TEXT, context_rows, contexts_in
from selfdistill.report.numbers import OOD_MEAN
from selfdistill.report.study_data import (
    ACCURACY,
    EPISTEMIC,
    LENGTH,
    FigureError,
    StudyData,
    counts_text,
    of_metric,
    select,
)
from selfdistill.report.style import (
    CONTEXT_COLOURS,
    CONTEXT_SYMBOLS,
    new_figure,
    paper_style,
    shared_legend,
)
from selfdistill.vocabulary import contexts
from selfdistill.vocabulary.runs import DEFAULT, FULL
from selfdistill.vocabulary.teachers import FIXED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANSWERS = {"tokens / response": LENGTH, "epistemic words / response": EPISTEMIC, "score": ACCURACY}
CHANGE = "OOD change after SDPO"
DASHES = ("-", "--", ":", "-.")
MARKS_TO_RANK = 3


def doses_of(data: StudyData) -> pd.DataFrame:
    """Return the nats per response written under each context, of every model; FigureError if none was measured."""
    rows = select(data.richness, "richness", metric="nats")
    return rows[rows["written"] == rows["context"]]


def ood_changes(data: StudyData) -> pd.DataFrame:
    """Return the change of the OOD mean by SDPO, the teacher fixed, on the whole broad domain; may be empty."""
    run = {"method": "sdpo", "teacher": FIXED, "dataset": data.broad, "coverage": FULL, "variant": DEFAULT}
    rows = of_metric(data.differences, ACCURACY)
    for name, value in {**run, "benchmark": OOD_MEAN}.items():
        rows = rows[rows[name] == value] if len(rows) else rows
    return rows.assign(estimate=rows["difference"]) if len(rows) else rows


def dose_response(data: StudyData, rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model and context of both: nats, their interval (nats_low, nats_high), and the columns of `rows`."""
    keys = ["model", "context"]
    doses = doses_of(data).set_index(keys)[["estimate", "low", "high"]]
    doses.columns = ["nats", "nats_low", "nats_high"]
    return doses.join(rows.set_index(keys), how="inner").reset_index()


def panels_of(data: StudyData) -> dict[str, pd.DataFrame]:
    """Return label of the response -> `dose_response`; FigureError if no model has nats and answers."""
    answers = context_rows(data)
    found = {label: dose_response(data, of_metric(answers, metric)) for label, metric in ANSWERS.items()}
    if any(rows.empty for rows in found.values()):
        raise FigureError("no model has both a measured richness and estimates of section 3")
    changes = ood_changes(data)
    change = dose_response(data, changes) if len(changes) else changes
    return found | ({CHANGE: change} if len(change) else {})


def rank_correlation(rows: pd.DataFrame) -> float:
    """Return the mean over models of Spearman's rank correlation of nats and estimate.

    Models with fewer than MARKS_TO_RANK contexts or a constant are left out; NaN if none is left.
    """
    from scipy.stats import spearmanr

    found = [
        float(spearmanr(own["nats"], own["estimate"]).statistic)
        for _, own in rows.groupby("model")
        if len(own) >= MARKS_TO_RANK and own["nats"].nunique() > 1 and own["estimate"].nunique() > 1
    ]
    return float(np.mean(found)) if found else float("nan")


def draw_marks(axis: Axes, data: StudyData, rows: pd.DataFrame) -> None:
    """Draw one mark per model and context with its intervals; a line joins those of a model in order of nats."""
    for rank, model in enumerate(data.ordered(rows["model"].unique())):
        own = rows[rows["model"] == model].sort_values("nats")
        dashes = DASHES[rank % len(DASHES)]
        axis.plot(
            own["nats"],
            own["estimate"],
            color="#555555",
            linestyle=dashes,
            linewidth=1.2,
            label=data.label(model),
        )
    for row in rows.itertuples():
        colour = CONTEXT_COLOURS[row.context]
        spread = {"color": colour, "linewidth": 1.0, "linestyle": "-"}
        axis.plot([row.nats_low, row.nats_high], [row.estimate] * 2, **spread)
        axis.plot([row.nats] * 2, [row.low, row.high], **spread)
        axis.plot(
            [row.nats],
            [row.estimate],
            linestyle="",
            marker=contexts.CONTEXTS[row.context].look.marker,
            markersize=7,
            color=colour,
            markeredgecolor="white",
            label=CONTEXT_SYMBOLS[row.context],
        )


def draw_dose_response(data: StudyData) -> tuple[Figure, str]:
    """Draw length, epistemic words and score of section 3, and the OOD change after SDPO, against nats per response."""
    panels = panels_of(data)
    with paper_style():
        figure, axes = new_figure(2, 2)
        for axis, (label, rows) in zip(axes.flat, panels.items(), strict=False):
            draw_marks(axis, data, rows)
            axis.set_ylabel(label)
            axis.set_xlabel("nats / response that the context tells")
        for axis in list(axes.flat)[len(panels) :]:
            axis.remove()
        doses = doses_of(data)
        models = [data.label(model) for model in data.ordered(doses["model"].unique())]
        symbols = [CONTEXT_SYMBOLS[context] for context in contexts_in(doses)]
        shared_legend(figure, figure.axes, order=[*models, *symbols])
    return figure, caption(data, panels)


def caption(data: StudyData, panels: dict[str, pd.DataFrame]) -> str:
    """Return the caption: what the axes are, the rank correlations, and the counts."""
    answers, change = next(iter(panels.values())), panels.get(CHANGE)
    ranks = {label: rank_correlation(rows) for label, rows in panels.items()}
    shown = ", ".join(f"{label} {rank:+.2f}" for label, rank in ranks.items() if not np.isnan(rank))
    trained = (
        "" if change is None else f"; change by SDPO with a fixed teacher that sees c: {counts_text(change)}"
    )
    return (
        "Richness of a context, measured: the mean of log p(y | x, c) - log p(y | x) over the base's correct responses y under the context c. "
        "One mark per model and context; c=∅ tells 0 nats; lines on marks: 95 % intervals. Spearman's rank correlation, mean over the models: "
        f"{shown or 'none, too few contexts'}. The unguided score is set by the selection of problems. "
        f"{ORGANISM_TEXT + ' ' if data.organism else ''}Nats: {counts_text(doses_of(data))}; answers: {counts_text(answers)}{trained}."
    )
