"""How runs are named and drawn in the notebooks: the styles of `selfdistill.report.style`, and a panel of intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from selfdistill.report.style import method_style


def run_label(fields: Mapping[str, Any], broad: str = "") -> str:
    """Return the name of a run within its model: method, context and teacher, and what is not the default.

    broad: the training set that goes without saying (`domains.broad` of the study file).
    """
    label = method_style(fields).label
    if fields["dataset"] not in ("none", broad, fields["variant"]):
        label += f", {fields['dataset']}"
    return label if fields["coverage"] in ("none", "full") else f"{label}, |D|={fields['coverage']}"


def draw_forest(axis: Axes, rows: pd.DataFrame, labels: Sequence[str], column: str = "estimate") -> None:
    """Draw one line for each row, first on top: its number as a marker and its interval, named at the left.

    rows: run fields, `column`, low, high, as in estimates (`estimate`) and contrasts (`difference`).
    """
    for place, (_, row) in enumerate(rows.iterrows()):
        style = method_style(row)
        axis.plot([row["low"], row["high"]], [place, place], color=style.colour)
        face = style.colour if style.filled else "white"
        look = {"marker": style.marker, "color": style.colour, "markerfacecolor": face}
        axis.plot(row[column], place, linestyle="none", **look)
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.margins(x=0.06)
