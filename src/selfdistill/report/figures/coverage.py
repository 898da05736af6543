"""Figures 7 and 8 (section 6.2): the number of training problems |D| against score, length, OOD score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from selfdistill.report.figures.captions import arm_label, benchmark_text, training_text
from selfdistill.report.figures.curves import draw_benchmark, draw_training, fit_limits
from selfdistill.report.study_data import ACCURACY, LENGTH, FigureError, StudyData
from selfdistill.report.style import (
    LineStyle,
    coverage_key,
    coverage_styles,
    new_figure,
    paper_style,
    shared_legend,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sweep = list[list[Mapping[str, str]]]


def sweep_of(data: StudyData) -> Sweep:
    """Return the runs by method, context and teacher, each from few to many problems.

    Raises FigureError if two of them have the same coverage, because a line stands for a coverage.
    """
    arms = data.runs_by("method", "context", "teacher").values()
    sweep = [sorted(runs, key=lambda run: coverage_key(run["coverage"])) for runs in arms]
    for runs in sweep:
        coverages = [run["coverage"] for run in runs]
        for coverage in coverages:
            if coverages.count(coverage) > 1:
                twice = f"{arm_label(runs[0])} has two runs of coverage {coverage}"
                raise FigureError(f"{twice}: list experiments with one run per coverage")
    return sweep


def styles_of(runs: Sequence[Mapping[str, str]], data: StudyData) -> list[LineStyle]:
    """Return the style of each run's coverage, the same in all panels of a figure."""
    styles = coverage_styles([run["coverage"] for run in data.runs])
    return [styles[run["coverage"]] for run in runs]


def caption_of(data: StudyData, what: str, counts: str) -> str:
    """Return the caption of a figure of the sweep, with a remark if |D| = full is a run of another variant than the rest."""
    datasets = " and ".join(sorted({run["dataset"] for run in data.runs}))
    text = f"{data.label(data.model())}: {what} for |D| distinct training problems of {datasets}. {counts}"
    variants = {run["coverage"] == "full": run["variant"] for run in data.runs}
    if len(variants) == 2 and variants[True] != variants[False]:
        text += f" |D| = full is the run of variant {variants[True]}, the others of {variants[False]}."
    return text


def draw_coverage_in_training(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 7: training score and response length by step, one line per coverage, one row per method."""
    sweep = sweep_of(data)
    with paper_style():
        figure, axes = new_figure(len(sweep), 2)
        for line, runs in zip(axes, sweep, strict=True):
            for axis, column in zip(line, ("score", LENGTH), strict=True):
                title = arm_label(runs[0]) if column == "score" else ""
                draw_training(axis, data.training, runs, column, title=title, styles=styles_of(runs, data))
        for panels in axes.T:
            fit_limits(panels, floor=True)
        shared_legend(figure, list(axes.flat), columns=6)
    return figure, caption_of(data, "training score and length", training_text(data.training))


def draw_coverage_out_of_domain(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 8: accuracy on the OOD benchmarks by step, one line per coverage, one column per method."""
    sweep, names = sweep_of(data), data.benchmark_names(ood=True) or data.benchmark_names()
    with paper_style():
        figure, axes = new_figure(len(names), len(sweep))
        for line, name in zip(axes, names, strict=True):
            for axis, runs in zip(line, sweep, strict=True):
                title = f"{arm_label(runs[0])}: {data.benchmark_label(name)}"
                draw_benchmark(axis, data, runs, name, ACCURACY, title=title, styles=styles_of(runs, data))
            fit_limits(line, floor=False)
        shared_legend(figure, list(axes.flat), columns=6)
    return figure, caption_of(data, "out-of-domain accuracy by step", benchmark_text(data, data.runs, names))
