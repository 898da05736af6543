"""Figures 1, 3, 4, 5, 6 and 18: how score, length, accuracy and epistemic words move in training.

Figure 1: narrow against broad domain. Figures 3, 4, 5, 18: one family each (sections 5.1 to 5.3, appendix
F.3), with a wide form that shows every benchmark. Figure 6: fixed against moving teacher (section 5.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from selfdistill.report.data import (
    ACCURACY,
    CONTEXTS,
    EPISTEMIC,
    LENGTH,
    FigureError,
    StudyData,
    counts_text,
    prefer_default_variant,
    runs_of,
    select,
    trajectory,
)
from selfdistill.report.figures.curves import (
    draw_benchmark,
    draw_training,
    draw_word_changes,
    smoothing_window,
    word_changes,
)
from selfdistill.report.style import PANEL_HEIGHT, LineStyle, new_figure, paper_style, shared_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Run = Mapping[str, str]
TRAINING_COLUMNS = ("score", LENGTH)


def main_runs(data: StudyData, model: str) -> list[dict[str, str]]:
    """Return a model's GRPO and fixed-teacher SDPO runs on the whole broad data set, in drawing order."""
    frame = data.training if len(data.training) else data.estimates
    rows = select(
        frame,
        "on-policy run",
        model=model,
        method=["grpo", "sdpo"],
        context=["none", *CONTEXTS],
        teacher=["none", "fixed"],
        dataset=data.broad,
        coverage="full",
        variant="default",
    )
    return runs_of(rows)


def training_text(rows: pd.DataFrame) -> str:
    """Return what a training panel shows: seeds, steps and the smoothing."""
    seeds, steps = rows["seed"].nunique(), int(rows["step"].max()) + 1
    band = "; band: range over seeds" if seeds > 1 else ""
    mean = (
        f"bold: {smoothing_window(steps)}-step running mean over batch means"
        if smoothing_window(steps) > 1
        else ""
    )
    return (
        f"Training: {seeds} seed{'s' if seeds > 1 else ''}, {steps} steps{band}{'; ' + mean if mean else ''}."
    )


def benchmark_text(data: StudyData, runs: list[dict[str, str]], benchmarks: list[str]) -> str:
    """Return the counts behind the benchmark panels of some runs."""
    rows = [trajectory(data, run, name, ACCURACY) for run in runs for name in benchmarks]
    rows = [frame for frame in rows if len(frame)]
    if not rows:
        return "No benchmark estimates."
    counts = counts_text(pd.concat(rows))
    return f"Benchmarks: {counts}; bands or upright lines: 95 % intervals; dotted level: base."


def domain_runs(data: StudyData) -> list[tuple[str, list[dict[str, str]]]]:
    """Return Figure 1's two rows: title and runs of the narrow and of the broad domain, one model each."""
    wanted = {"method": ["grpo", "sdpo"], "context": ["none", "solution"], "teacher": ["none", "fixed"]}
    narrow = prefer_default_variant(select(data.training, "narrow run", dataset=data.narrow, **wanted))
    broad = select(
        data.training, "broad run", dataset=data.broad, coverage="full", variant="default", **wanted
    )
    shared = [model for model in broad["model"].unique() if model in set(narrow["model"])]
    rows = []
    for title, frame in (("narrow domain", narrow), ("broad domain", broad)):
        preferred = data.roles.get("deepseek", "")
        models = sorted(frame["model"].unique())
        model = shared[0] if shared else preferred if preferred in models else models[0]
        rows.append((f"{title}: {data.label(model)}", runs_of(frame[frame["model"] == model])))
    return rows


def figure1(data: StudyData) -> Figure:
    """Draw Figure 1: training score and length, GRPO against SDPO, (a) narrow and (b) broad domain."""
    rows = domain_runs(data)
    with paper_style():
        figure, axes = new_figure(2, 2)
        for letter, line, (title, runs) in zip("ab", axes, rows, strict=True):
            for axis, column in zip(line, TRAINING_COLUMNS, strict=True):
                heading = f"({letter}) {title}" if column == "score" else ""
                draw_training(axis, data.training, runs, column, title=heading)
        shared_legend(figure, list(axes.flat))
    return figure


def figure1_caption(data: StudyData) -> str:
    """Return Figure 1's caption."""
    runs = [run for _, group in domain_runs(data) for run in group]
    rows = data.training.merge(pd.DataFrame(runs), how="inner")
    return (
        f"Training score and response length of GRPO and SDPO with a fixed teacher, (a) on the narrow domain "
        f"({data.narrow}) and (b) on the broad one ({data.broad}). {training_text(rows)}"
    )


def dynamics(data: StudyData, role: str, *, words: bool = True, benchmarks: int = 2) -> Figure:
    """Draw one family: (a) training score and length, (b, c) benchmarks by step, (d) epistemic words.

    Args:
        role: one of settings.ROLES.
        words: draw panel (d), the change of each epistemic word on the last benchmark shown.
        benchmarks: how many of the headline benchmarks to show, from the last (2: in-domain and OOD, 1: OOD).
    """
    model = data.role(role)
    runs, names = main_runs(data, model), data.headline_benchmarks()[-benchmarks:]
    with paper_style():
        lines = 1 + len(names) + words
        figure, axes = new_figure(lines, 2, height=PANEL_HEIGHT * 0.96)
        for axis, column in zip(axes[0], TRAINING_COLUMNS, strict=True):
            draw_training(
                axis, data.training, runs, column, title="(a) training" if column == "score" else ""
            )
        for letter, line, name in zip("bc", axes[1:], names, strict=False):
            title = f"({letter}) {data.benchmark_label(name)}"
            draw_benchmark(line[0], data, runs, name, ACCURACY, title=title)
            draw_benchmark(line[1], data, runs, name, LENGTH)
        if words:
            wide = merge_row(figure, axes[-1])
            title = f"({'abcd'[lines - 1]}) change after training, {data.benchmark_label(names[-1])}"
            draw_word_changes(wide, data, runs, names[-1], title=title)
        shared_legend(figure, list(axes[: lines - words].flat))
    return figure


def merge_row(figure: Figure, line: object) -> object:
    """Replace a row of panels by one panel of the same total width."""
    grid = line[0].get_subplotspec().get_gridspec()
    row = line[0].get_subplotspec().rowspan.start
    for axis in line:
        axis.remove()
    return figure.add_subplot(grid[row, :])


def dynamics_caption(data: StudyData, role: str, *, words: bool = True, benchmarks: int = 2) -> str:
    """Return the caption of a `dynamics` figure drawn with the same arguments."""
    model = data.role(role)
    runs, names = main_runs(data, model), data.headline_benchmarks()[-benchmarks:]
    rows = data.training.merge(pd.DataFrame(runs), how="inner")
    text = f"{data.label(model)}: GRPO and SDPO with a fixed teacher on all of {data.broad}. "
    text += training_text(rows) + " " + benchmark_text(data, runs, names)
    if words:
        changes = [word_changes(data, run, names[-1]) for run in runs]
        changes = [frame for frame in changes if len(frame)]
        shown = pd.concat(changes) if changes else pd.DataFrame()
        bars = "; bars' lines: 95 % intervals" if len(shown) and shown["low"].notna().any() else ""
        text += (
            f" Words: authors' substring count, last step against base, {counts_text(shown)}{bars}."
            if len(shown)
            else " No word counts."
        )
    return text


def dynamics_wide(data: StudyData, role: str) -> Figure:
    """Draw every benchmark of one family: accuracy, length and epistemic words by step, one row each."""
    runs, names = main_runs(data, data.role(role)), data.benchmark_names()
    with paper_style():
        figure, axes = new_figure(len(names), 3, height=PANEL_HEIGHT * 0.9)
        for line, name in zip(axes, names, strict=True):
            for axis, metric in zip(line, (ACCURACY, LENGTH, EPISTEMIC), strict=True):
                title = data.benchmark_label(name) if metric == ACCURACY else ""
                draw_benchmark(axis, data, runs, name, metric, title=title)
        shared_legend(figure, list(axes.flat))
    return figure


def dynamics_wide_caption(data: StudyData, role: str) -> str:
    """Return the caption of `dynamics_wide`."""
    model = data.role(role)
    runs = main_runs(data, model)
    counts = benchmark_text(data, runs, data.benchmark_names())
    return f"{data.label(model)}: accuracy, response length and epistemic words on every benchmark. {counts}"


def teacher_runs(data: StudyData) -> list[dict[str, str]]:
    """Return Figure 6's runs: one model's SDPO runs with a fixed and with a moving teacher, same context."""
    rows = select(
        data.training, "SDPO run", method="sdpo", dataset=data.broad, coverage="full", variant="default"
    )
    moving = rows[~rows["teacher"].isin(["fixed", "none"])]
    if moving.empty:
        raise FigureError(
            f"no SDPO run with a moving teacher on dataset={data.broad}, coverage=full, variant=default"
        )
    models = sorted(moving["model"].unique())
    model = data.roles.get("deepseek") if data.roles.get("deepseek") in models else models[0]
    contexts = moving.loc[moving["model"] == model, "context"].unique()
    return runs_of(rows[(rows["model"] == model) & rows["context"].isin(contexts)])


def training_and_benchmark(
    data: StudyData, runs: list[dict[str, str]], *, columns: int, styles: list[LineStyle] | None = None
) -> Figure:
    """Draw (a) training score and length and (b) accuracy and length on the OOD benchmark of some runs.

    columns: of the legend. styles: one a run, where the runs' own do not tell them apart.
    """
    name = data.headline_benchmarks()[-1]
    with paper_style():
        figure, axes = new_figure(2, 2)
        for axis, column in zip(axes[0], TRAINING_COLUMNS, strict=True):
            title = "(a) training" if column == "score" else ""
            draw_training(axis, data.training, runs, column, title=title, styles=styles)
        title = f"(b) {data.benchmark_label(name)}"
        draw_benchmark(axes[1][0], data, runs, name, ACCURACY, title=title, styles=styles)
        draw_benchmark(axes[1][1], data, runs, name, LENGTH, styles=styles)
        shared_legend(figure, list(axes.flat), columns=columns)
    return figure


def training_and_benchmark_text(data: StudyData, runs: list[dict[str, str]]) -> str:
    """Return the counts behind a `training_and_benchmark` figure."""
    rows = data.training.merge(pd.DataFrame(runs), how="inner")
    return f"{training_text(rows)} {benchmark_text(data, runs, data.headline_benchmarks()[-1:])}"


def figure6(data: StudyData) -> Figure:
    """Draw Figure 6: fixed against moving teacher, (a) training score and length, (b) the OOD benchmark."""
    return training_and_benchmark(data, teacher_runs(data), columns=3)


def figure6_caption(data: StudyData) -> str:
    """Return Figure 6's caption."""
    runs = teacher_runs(data)
    return (
        f"{data.label(runs[0]['model'])}: SDPO with a fixed teacher and with one that follows the student. "
        f"{training_and_benchmark_text(data, runs)}"
    )
