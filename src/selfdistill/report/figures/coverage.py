"""Figures 7 and 8 (section 6.2): the number of training problems |D| against score, length, OOD score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from selfdistill.report.figures.captions import arm_label, benchmark_text, training_text
from selfdistill.report.figures.curves import AXIS_LABELS, draw_benchmark, draw_training, fit_limits
from selfdistill.report.figures.paper_panels import (
    curves_of,
    draw_paper_curves,
    entries_of,
    measured,
    paper_text,
    paper_title,
    run_of_entry,
)
from selfdistill.report.study_data import ACCURACY, LENGTH, FigureError, StudyData
from selfdistill.report.style import (
    LineStyle,
    coverage_key,
    coverage_styles,
    method_style,
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


def styles_of(data: StudyData, entries: Sequence[Mapping[str, Any]] = ()) -> dict[str, LineStyle]:
    """Return the style of each coverage, of our runs and of the paper's entries: the same in all panels of a figure."""
    return coverage_styles([one["coverage"] for one in (*data.runs, *entries)])


def caption_of(data: StudyData, what: str, counts: str) -> str:
    """Return the caption of a figure of the sweep, with a remark if |D| = full is a run of another variant than the rest."""
    datasets = " and ".join(sorted({run["dataset"] for run in data.runs}))
    text = f"{data.label(data.model())}: {what} for |D| distinct training problems of {datasets}. {counts}"
    variants = {run["coverage"] == "full": run["variant"] for run in data.runs}
    if len(variants) == 2 and variants[True] != variants[False]:
        text += f" |D| = full is the run of variant {variants[True]}, the others of {variants[False]}."
    return text


def end_points(data: StudyData, paper: str, method: str, metric: str) -> list[Mapping[str, Any]]:
    """Return the paper's curves of a method; where only ends are known, as curves of that one point, at its last known step."""
    curves = curves_of(data, paper, metric, method=method)
    last = max((entry["steps"][-1] for entry in curves_of(data, paper, ACCURACY, method=method)), default=0)
    ends = [
        entry | {"steps": [last], "values": [entry["value"]]}
        for entry in entries_of(data, paper, method=method)
        if entry.get("value") is not None and measured(entry) == metric
    ]
    return curves or ends


def draw_coverage_in_training(data: StudyData, *, paper: str = "") -> tuple[Figure, str]:
    """Draw Figure 7: training score and response length by step, one line per coverage, one row per method.

    paper: the display of the paper's curves (reported.yaml), a row below each of ours.
    """
    sweep = sweep_of(data)
    columns = (("score", ACCURACY), (LENGTH, LENGTH))
    known = [
        {name: end_points(data, paper, runs[0]["method"], metric) for name, metric in columns}
        for runs in sweep
    ]
    entries = [entry for curves in known for found in curves.values() for entry in found]
    styles, titled = styles_of(data, entries), [any(curves.values()) for curves in known]
    with paper_style():
        figure, axes = new_figure(len(sweep) + sum(titled), 2)
        lines, own = iter(axes), []
        for runs, curves, beside in zip(sweep, known, titled, strict=True):
            own.append(next(lines))
            for axis, (column, _) in zip(own[-1], columns, strict=True):
                title = arm_label(runs[0]) if column == "score" else ""
                look = [styles[run["coverage"]] for run in runs]
                draw_training(axis, data.training, runs, column, title=title, styles=look)
            for axis, (column, metric) in zip(next(lines) if beside else (), columns, strict=beside):
                title = paper_title(curves[column], arm_label(runs[0])) if column == "score" else ""
                draw_paper_curves(
                    axis, curves[column], metric, title=title, ylabel=AXIS_LABELS[column], styles=styles
                )
        for panels in zip(*own, strict=True):
            fit_limits(panels, floor=True)
        shared_legend(figure, list(axes.flat), order=[style.label for style in styles.values()])
    caption = caption_of(data, "training score and length", training_text(data.training))
    return figure, f"{caption} {paper_text(entries)}".strip()


def draw_coverage_out_of_domain(data: StudyData, *, paper: str = "") -> tuple[Figure, str]:
    """Draw Figure 8: accuracy on the OOD benchmarks by step, one line per coverage, one column per method.

    paper: the display of the paper's curves (reported.yaml), a row below ours.
    """
    sweep, names = sweep_of(data), data.benchmark_names(ood=True) or data.benchmark_names()
    known = [curves_of(data, paper, ACCURACY, method=runs[0]["method"]) for runs in sweep]
    entries = [entry for curves in known for entry in curves]
    styles = styles_of(data, entries)
    with paper_style():
        figure, axes = new_figure(len(names) + bool(entries), len(sweep))
        for line, name in zip(axes, names, strict=False):
            for axis, runs in zip(line, sweep, strict=True):
                title = f"{arm_label(runs[0])}: {data.benchmark_label(name)}"
                look = [styles[run["coverage"]] for run in runs]
                draw_benchmark(axis, data, runs, name, ACCURACY, title=title, styles=look)
            fit_limits(line, floor=False)
        for axis, curves in zip(axes[-1] if entries else (), known, strict=bool(entries)):
            title = paper_title(curves, method_style(run_of_entry(curves[0])).label) if curves else ""
            draw_paper_curves(axis, curves, ACCURACY, title=title, styles=styles, floor=False)
        if entries:
            fit_limits(axes[-1], floor=False)
        shared_legend(figure, list(axes.flat), order=[style.label for style in styles.values()])
    caption = caption_of(data, "out-of-domain accuracy by step", benchmark_text(data, data.runs, names))
    return figure, f"{caption} {paper_text(entries)}".strip()
