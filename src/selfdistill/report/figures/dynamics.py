"""Figures 1, 3, 4, 5 and 18: how score, length, accuracy and epistemic words move in training.

Figure 1: narrow against broad domain. Figures 3, 4, 5, 18: one model each (sections 5.1 to 5.3, appendix F.3), with a wide form that
shows every benchmark. Where the paper's curves are known, they follow ours in panels of the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from selfdistill.report.figures.captions import arms_text, benchmark_text, training_text
from selfdistill.report.figures.curves import draw_benchmark, draw_training, draw_word_changes, word_changes
from selfdistill.report.figures.paper_panels import (
    arm_key,
    curves_of,
    draw_paper_curves,
    draw_paper_words,
    paper_text,
    paper_title,
    words_of,
)
from selfdistill.report.study_data import ACCURACY, EPISTEMIC, LENGTH, StudyData, counts_text
from selfdistill.report.style import PANEL_HEIGHT, method_style, new_figure, paper_style, shared_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Run = Mapping[str, str]


def draw_training_row(axes: Sequence[Axes], data: StudyData, runs: Sequence[Run], title: str) -> None:
    """Draw training score and response length of some runs into two panels."""
    draw_training(axes[0], data.training, runs, "score", title=title)
    draw_training(axes[1], data.training, runs, LENGTH)


def draw_domains(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 1: training score and length, one row per domain, the narrow one first."""
    names = {data.narrow: "narrow domain", data.broad: "broad domain"}
    domains = sorted(data.runs_by("dataset").items(), key=lambda item: [*names, item[0][0]].index(item[0][0]))
    with paper_style():
        figure, axes = new_figure(len(domains), 2)
        for letter, line, ((dataset,), runs) in zip("abcdef", axes, domains, strict=False):
            title = f"({letter}) {names.get(dataset, dataset)}: {data.label(data.model())}"
            draw_training_row(line, data, runs, title)
        shared_legend(figure, list(axes.flat))
    rows = [
        f"({letter}) {names.get(dataset, dataset)} ({dataset})"
        for letter, ((dataset,), _) in zip("abcdef", domains, strict=False)
    ]
    caption = f"Training score and response length of {arms_text(data.runs)}: {', '.join(rows)}."
    return figure, f"{caption} {training_text(data.training)}"


def draw_dynamics(
    data: StudyData, *, words: bool = True, benchmarks: int = 2, paper: str = ""
) -> tuple[Figure, str]:
    """Draw one model: (a) training score and length, (b, c) benchmarks by step, (d) epistemic words.

    words: draw panel (d), the change of each epistemic word on the last benchmark shown.
    benchmarks: how many of the headline benchmarks to show, from the last (2: in domain and OOD, 1: OOD).
    paper: the display of the paper's curves (reported.yaml), drawn below the last benchmark, and of its words below ours.
    """
    runs, names = data.runs, data.headline[-benchmarks:]
    curves = {metric: curves_of(data, paper, metric) for metric in (ACCURACY, LENGTH)}
    changes = words_of(data, paper, "change in count per response") if words else []
    lines = ["training", *names, *(["paper"] if any(curves.values()) else [])]
    bars = ["words"] * words + ["paper words"] * bool(changes)
    with paper_style():
        figure, axes = new_figure(len(lines) + len(bars), 2, height=PANEL_HEIGHT * 0.96)
        draw_training_row(axes[0], data, runs, "(a) training")
        for letter, line, name in zip("bc", axes[1:], names, strict=False):
            title = f"({letter}) {data.benchmark_label(name)}"
            draw_benchmark(line[0], data, runs, name, ACCURACY, title=title)
            draw_benchmark(line[1], data, runs, name, LENGTH)
        if "paper" in lines:
            for axis, (metric, entries) in zip(axes[1 + len(names)], curves.items(), strict=True):
                title = paper_title(entries) if metric == ACCURACY else ""
                draw_paper_curves(axis, entries, metric, title=title, floor=metric == LENGTH)
        for line, what in zip(axes[len(lines) :], bars, strict=True):
            axis = merge_row(figure, line)
            if what == "words":
                title = f"({'abcd'[1 + len(names)]}) change after training, {data.benchmark_label(names[-1])}"
                draw_word_changes(axis, data, runs, names[-1], title=title)
            else:
                looks = {arm_key(run): method_style(run).bar() for run in runs}
                ylabel = "change in count / response"
                draw_paper_words(axis, changes, looks, title=paper_title(changes), ylabel=ylabel)
        shared_legend(figure, list(axes[: len(lines)].flat))
    shown = [*(entry for entries in curves.values() for entry in entries), *changes]
    return figure, f"{dynamics_caption(data, names, words)} {paper_text(shown)}".strip()


def merge_row(figure: Figure, line: Sequence[Axes]) -> Axes:
    """Replace a row of panels by one panel of the same total width."""
    grid = line[0].get_subplotspec().get_gridspec()
    row = line[0].get_subplotspec().rowspan.start
    for axis in line:
        axis.remove()
    return figure.add_subplot(grid[row, :])


def dynamics_caption(data: StudyData, names: Sequence[str], words: bool) -> str:
    """Return the caption of `draw_dynamics`; names: the benchmarks shown."""
    text = f"{data.label(data.model())}: {arms_text(data.runs)} on {datasets_text(data)}. "
    text += f"{training_text(data.training)} {benchmark_text(data, data.runs, names)}"
    return f"{text} {words_text(data, names[-1])}" if words else text


def datasets_text(data: StudyData) -> str:
    """Return what the runs were trained on: `all of chain`, or the data sets by name."""
    whole = {run["coverage"] for run in data.runs} == {"full"}
    return f"{'all of ' if whole else ''}{' and '.join(sorted({run['dataset'] for run in data.runs}))}"


def words_text(data: StudyData, benchmark: str) -> str:
    """Return what the bars of `draw_word_changes` count."""
    changes = [frame for run in data.runs if len(frame := word_changes(data, run, benchmark))]
    if not changes:
        return "No word counts."
    shown = pd.concat(changes)
    bars = "; lines on bars: 95 % intervals" if shown["low"].notna().any() else ""
    return f"Words: authors' substring count, last step against base, {counts_text(shown)}{bars}."


def draw_all_benchmarks(data: StudyData) -> tuple[Figure, str]:
    """Draw every benchmark of one model: accuracy, length and epistemic words by step, one row each."""
    names = data.benchmark_names()
    figure = draw_metrics(data, [(data.benchmark_label(name), data.runs, name) for name in names])
    what = f"{data.label(data.model())}: accuracy, response length and epistemic words on every benchmark"
    return figure, f"{what}. {benchmark_text(data, data.runs, names)}"


def draw_metrics(data: StudyData, rows: Sequence[tuple[str, Sequence[Run], str]], columns: int = 4) -> Figure:
    """Draw accuracy, length and epistemic words by step, one row each: title, runs and benchmark.

    columns: of the legend.
    """
    with paper_style():
        figure, axes = new_figure(len(rows), 3, height=PANEL_HEIGHT * 0.9)
        for line, (title, runs, name) in zip(axes, rows, strict=True):
            for axis, metric in zip(line, (ACCURACY, LENGTH, EPISTEMIC), strict=True):
                draw_benchmark(axis, data, runs, name, metric, title=title if metric == ACCURACY else "")
        shared_legend(figure, list(axes.flat), columns=columns)
    return figure
