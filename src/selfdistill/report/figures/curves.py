"""The panels that figures are built of: a training curve, a benchmark curve, a bar per epistemic word.

Each function draws on one axes from tidy rows and returns the rows that it has drawn, so that captions count
exactly what is shown and tests compare the lines with the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from selfdistill.report.study_data import StudyData, rows_of_run, trajectory
from selfdistill.report.style import LineStyle, method_style
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


AXIS_LABELS = {
    "score": "training score",
    "accuracy": "accuracy",
    "pass@k": "pass@k",
    "response_tokens": "response length (tokens)",
    "epistemic_substring": "epistemic words",
}
WORD_LIMITS = (-0.6, len(EPISTEMIC_WORDS) - 0.4)
"""Ends of an axis with a group of bars per epistemic word."""
MOST_BANDS = 4
"""Most runs of a benchmark panel with bands; the intervals of more runs are lines, set apart sideways."""
SMOOTHING_STEPS = 5
"""Width of the centred running mean over training curves of at least 20 steps: a batch is a small sample."""


def smoothing_window(steps: int) -> int:
    """Return the width of the running mean for a curve of so many steps; short curves are left alone."""
    return SMOOTHING_STEPS if steps >= 4 * SMOOTHING_STEPS else 1


def training_curve(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one run's training record by step: mean over draws, its range, and the running mean.

    Returns:
        columns step, mean, low, high (range over draws), smooth, smooth_low, smooth_high; one row per step.
    """
    by_step = rows.groupby("step", observed=True)[column]
    curve = by_step.agg(mean="mean", low="min", high="max").reset_index().sort_values("step")
    window = smoothing_window(len(curve))
    for name, source in (("smooth", "mean"), ("smooth_low", "low"), ("smooth_high", "high")):
        curve[name] = curve[source].rolling(window, center=True, min_periods=1).mean()
    return curve


def finish(axis: Axes, title: str, ylabel: str, *, floor: bool) -> None:
    """Set title, labels and limits of a curve panel; whole-number steps."""
    from matplotlib.ticker import MaxNLocator

    axis.set_title(title)
    axis.set_xlabel("step")
    axis.set_ylabel(ylabel)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    axis.margins(x=0.03)
    fit_limits([axis], floor=floor)


def fit_limits(axes: Sequence[Axes], *, floor: bool) -> None:
    """Give panels the same y limits, wide enough for all that they show; from zero if `floor`."""
    limits = [axis.dataLim for axis in axes if np.isfinite(axis.dataLim.y0)]
    if limits:
        low, high = min(limit.y0 for limit in limits), max(limit.y1 for limit in limits)
        margin = 0.05 * (high - (0 if floor else low)) or 0.05
        for axis in axes:
            axis.set_ylim(0 if floor else max(low - margin, -0.02), high + margin)


def draw_training(
    axis: Axes,
    frame: pd.DataFrame,
    runs: Sequence[Mapping[str, str]],
    column: str,
    *,
    title: str = "",
    styles: Sequence[LineStyle] | None = None,
) -> pd.DataFrame:
    """Draw a column of the training record for each run: faint batch means, bold running mean, band over draws."""
    drawn = []
    for rank, run in enumerate(runs):
        rows = rows_of_run(frame, run)
        curve = training_curve(rows, column)
        style = styles[rank] if styles else method_style(run)
        every = max(len(curve) // 8, 1)
        if smoothing_window(len(curve)) > 1:
            axis.plot(
                curve["step"], curve["mean"], color=style.colour, alpha=0.25, linewidth=0.7, label="_raw"
            )
        axis.plot(curve["step"], curve["smooth"], markevery=(rank % every, every), **style.line())
        if rows.duplicated("step").any():
            axis.fill_between(
                curve["step"],
                curve["smooth_low"],
                curve["smooth_high"],
                color=style.colour,
                alpha=0.18,
                linewidth=0,
            )
        drawn.append(rows)
    finish(axis, title, AXIS_LABELS.get(column, column), floor=True)
    return pd.concat(drawn)


def draw_benchmark(
    axis: Axes,
    data: StudyData,
    runs: Sequence[Mapping[str, str]],
    benchmark: str,
    metric: str,
    *,
    title: str = "",
    styles: Sequence[LineStyle] | None = None,
) -> pd.DataFrame:
    """Draw one metric on one benchmark by step, its interval as a band and the base as a level."""
    drawn = []
    for rank, run in enumerate(runs):
        rows = trajectory(data, run, benchmark, metric)
        if rows.empty:
            continue
        style = styles[rank] if styles else method_style(run)
        axis.plot(rows["step"], rows["estimate"], **style.line())
        if len(runs) <= MOST_BANDS:
            look = {"color": style.colour, "alpha": 0.16, "linewidth": 0}
            axis.fill_between(rows["step"], rows["low"], rows["high"], **look)
        else:
            aside = (rank - (len(runs) - 1) / 2) * 0.08 * rows["step"].diff().median()
            look = {"color": style.colour, "alpha": 0.6, "linewidth": 0.8}
            axis.vlines(rows["step"] + aside, rows["low"], rows["high"], **look)
        drawn.append(rows)
    if drawn:
        draw_base_level(axis, drawn[0])
    finish(axis, title, AXIS_LABELS.get(metric, metric), floor=metric not in ("accuracy", "pass@k"))
    return pd.concat(drawn) if drawn else pd.DataFrame()


def draw_base_level(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the base's estimate, the first row of a trajectory, as a dotted level."""
    base = rows[rows["method"] == "base"]
    if len(base):
        look = {"color": method_style({"method": "base"}).colour, "linewidth": 1.0, "linestyle": (0, (2, 2))}
        axis.axhline(float(base["estimate"].iloc[0]), label="base", zorder=1, **look)


def word_changes(data: StudyData, run: Mapping[str, str], benchmark: str) -> pd.DataFrame:
    """Return the change of each epistemic word's count per response against base at the last step.

    Paired by problem; counts are the authors' substring counts.

    Returns: columns word, difference, low, high, n_problems, k, n_replicates, n_seeds; empty if the study has no such
        differences.
    """
    if data.differences.empty:
        return pd.DataFrame()
    words = {f"substring_{word}": word for word in EPISTEMIC_WORDS}
    rows = rows_of_run(data.differences, run)
    rows = rows[(rows["benchmark"] == benchmark) & rows["metric"].isin(list(words))]
    rows = rows[rows["step"] == rows["step"].max()]
    return rows.assign(word=rows["metric"].map(words)).reset_index(drop=True)


def draw_word_changes(
    axis: Axes, data: StudyData, runs: Sequence[Mapping[str, str]], benchmark: str, *, title: str = ""
) -> pd.DataFrame:
    """Draw a group of bars per epistemic word: its change after training, one bar per run."""
    changes = [(run, word_changes(data, run, benchmark)) for run in runs]
    changes = [(run, rows) for run, rows in changes if len(rows)]
    width = 0.82 / max(len(changes), 1)
    for rank, (run, rows) in enumerate(changes):
        heights = rows.set_index("word")["difference"].reindex(EPISTEMIC_WORDS)
        places = np.arange(len(EPISTEMIC_WORDS)) + (rank - (len(changes) - 1) / 2) * width
        axis.bar(places, heights, width=width * 0.95, linewidth=0.3, **method_style(run).bar())
        draw_intervals(axis, places, rows.set_index("word").reindex(EPISTEMIC_WORDS), "difference")
    axis.axhline(0, color="#333333", linewidth=0.8)
    word_axis(axis)
    axis.set_ylabel("change in count / response")
    axis.set_title(title)
    return pd.concat([rows for _, rows in changes]) if changes else pd.DataFrame()


def word_axis(axis: Axes) -> None:
    """Name the epistemic words under their groups of bars."""
    axis.set_xticks(
        range(len(EPISTEMIC_WORDS)), EPISTEMIC_WORDS, rotation=30, ha="right", rotation_mode="anchor"
    )
    axis.set_xlim(*WORD_LIMITS)
    axis.grid(visible=False, axis="x")


def draw_intervals(axis: Axes, places: np.ndarray, rows: pd.DataFrame, column: str) -> None:
    """Draw the intervals of bars, where there are any."""
    known = rows["low"].notna().to_numpy()
    if known.any():
        shown = rows[known]
        below, above = shown[column] - shown["low"], shown["high"] - shown[column]
        spread = np.clip(np.vstack([below, above]), 0, None)
        axis.errorbar(places[known], shown[column], yerr=spread, fmt="none", ecolor="#222222", elinewidth=0.7)
