"""The OOD change of every run of self-distillation, measured, against what other runs predict from its base."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import pandas as pd

from selfdistill.report.diagnosis import TOO_FEW, DiagnosedData, groups_text, judgements, measured
from selfdistill.report.style import CONTEXT_SYMBOLS, new_figure, paper_style, shared_legend
from selfdistill.statistics.prediction import CHANGE, FEWEST_GROUPS, GROUPS
from selfdistill.vocabulary.contexts import CONTEXTS
from selfdistill.vocabulary.families import FAMILIES
from selfdistill.vocabulary.looks import BLUE, GREEN, PURPLE, VERMILLION
from selfdistill.vocabulary.teachers import FIXED

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = dict(zip(FAMILIES, cycle((BLUE, VERMILLION, GREEN, PURPLE)), strict=False))
PREDICTED = "predicted"


def draw_marks(axis: Axes, rows: pd.DataFrame, predicted: np.ndarray) -> None:
    """Draw one mark per run, hollow for a moving teacher, and the line on which prediction and measurement agree; changes in points."""
    both = 100 * rows.assign(**{PREDICTED: predicted})[[PREDICTED, CHANGE]]
    ends = [both.min().min(), both.max().max()]
    axis.plot(ends, ends, color="#999999", linewidth=0.8)
    moving = rows["teacher"] != FIXED
    labelled = set()
    for (family, context, moves), own in both.groupby([rows["family"], rows["context"], moving]):
        name = f"{family}, {CONTEXT_SYMBOLS[context]}"
        fill = {"markerfacecolor": "none"} if moves else {"markeredgecolor": "white"}
        axis.plot(
            own[PREDICTED],
            own[CHANGE],
            linestyle="",
            marker=CONTEXTS[context].look.marker,
            color=COLOURS[family],
            markeredgewidth=0.8 if moves else 0.4,
            label=f"_{name}" if name in labelled else name,
            **fill,
        )
        labelled.add(name)


def draw_prediction(data: DiagnosedData) -> tuple[Figure, str]:
    """Draw measured against predicted OOD change, one panel per kind of group that was left out."""
    rows = measured(data)
    with paper_style():
        figure, axes = new_figure(1, len(GROUPS))
        for axis, (kind, found) in zip(axes.flat, judgements(rows).items(), strict=True):
            axis.set_title(f"{GROUPS[kind]} left out")
            if found is None:
                axis.text(0.5, 0.5, TOO_FEW, ha="center", va="center", transform=axis.transAxes)
                axis.set_axis_off()
                continue
            axis.set_xlabel("predicted OOD change, points")
            axis.set_ylabel("measured OOD change, points")
            draw_marks(axis, rows, found.predicted)
        shared_legend(figure, figure.axes)
    return figure, (
        "Predicted by ridge regression on what the base gives before training, learned from the runs of the other groups. Line: predicted as "
        "measured. Colours: model families; markers: contexts of the teacher, hollow where it moves with the model. "
        f"Fewer than {FEWEST_GROUPS} groups: nothing is predicted. "
        f"{groups_text(data)}"
    )
