"""Dose and response: what a context tells about the base's correct responses, against length, epistemic words and score under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from selfdistill.report.figures.words import ORGANISM_TEXT, context_rows
from selfdistill.report.study_data import (
    ACCURACY,
    CONTEXTS,
    EPISTEMIC,
    LENGTH,
    FigureError,
    StudyData,
    counts_text,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESPONSES = ((LENGTH, "tokens / response"), (EPISTEMIC, "epistemic words / response"), (ACCURACY, "score"))
DASHES = ("-", "--", ":", "-.")


def doses_of(data: StudyData) -> pd.DataFrame:
    """Return the nats per unguided response of every model and context; FigureError if none was measured."""
    return select(data.richness, "richness", metric="nats", written=CONTEXTS[0])


def dose_response(data: StudyData, metric: str) -> pd.DataFrame:
    """Return one row per model and context: nats, their interval (nats_low, nats_high), and estimate, low and high of a metric."""
    keys = ["model", "context"]
    doses = doses_of(data).set_index(keys)[["estimate", "low", "high"]]
    doses.columns = ["nats", "nats_low", "nats_high"]
    rows = select(context_rows(data), "estimate of section 3", metric=metric).set_index(keys)
    joined = doses.join(rows, how="inner").reset_index()
    if joined.empty:
        raise FigureError("no model has both a measured richness and estimates of section 3")
    return joined


def rank_correlation(rows: pd.DataFrame) -> float:
    """Return Spearman's rank correlation of nats and estimate; NaN for fewer than three marks or a constant."""
    from scipy.stats import spearmanr

    if len(rows) < 3 or rows["nats"].nunique() < 2 or rows["estimate"].nunique() < 2:
        return float("nan")
    return float(spearmanr(rows["nats"], rows["estimate"]).statistic)


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
        spread = {"color": colour, "linewidth": 1.0}
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
    """Draw length, epistemic words and score of section 3 against nats per response, one panel each."""
    found = []
    with paper_style():
        figure, axes = new_figure(len(RESPONSES), 1, sharex=True)
        figure.set_size_inches(4.4, 6.6)
        for axis, (metric, label) in zip(axes[:, 0], RESPONSES, strict=True):
            rows = dose_response(data, metric)
            found.append((label, rank_correlation(rows), rows))
            draw_marks(axis, data, rows)
            axis.set_ylabel(label)
        axes[-1, 0].set_xlabel("nats / response that the context tells")
        shared_legend(figure, list(axes[:, 0]), columns=3)
    return figure, caption(data, found)


def caption(data: StudyData, found: list[tuple[str, float, pd.DataFrame]]) -> str:
    """Return the caption: what the axes are, the rank correlation of each panel, and the counts."""
    ranks = ", ".join(f"{label} {rank:+.2f}" for label, rank, _ in found)
    rows = found[0][2]
    return (
        "Richness of a context, measured: the mean of log p(y | x, c) - log p(y | x) over the base's correct unguided responses y, against what "
        "the base writes under the context. One mark per model and context; c=∅ tells 0 nats; lines on marks: 95 % intervals. Spearman's rank "
        f"correlation over the {len(rows)} marks: {ranks}. The unguided score is set by the selection of problems. "
        f"{ORGANISM_TEXT + ' ' if data.organism else ''}Nats: {counts_text(doses_of(data))}; answers: {counts_text(rows)}."
    )
