"""Figures 7 and 8 (section 6.2): the number of training problems |D| against score, length, OOD score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from selfdistill.report.data import ACCURACY, LENGTH, FigureError, StudyData, runs_of, select
from selfdistill.report.figures.curves import draw_benchmark, draw_training, fit_limits
from selfdistill.report.figures.dynamics import benchmark_text, training_text
from selfdistill.report.style import (
    coverage_key,
    coverage_styles,
    method_style,
    new_figure,
    paper_style,
    shared_legend,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Sweep = dict[str, list[dict[str, str]]]


def sweep_runs(data: StudyData, frame: pd.DataFrame) -> Sweep:
    """Return the runs of the coverage sweep by method (`grpo`, `sdpo`), from few to many problems.

    The model, context and variant with the most coverages are the sweep; the `full` run of the default
    variant is added where the variant of the sweep has none.

    Raises:
        FigureError: no model was trained at two coverages.
    """
    rows = select(
        frame,
        "run of the coverage sweep",
        method=["grpo", "sdpo"],
        context=["none", "solution"],
        teacher=["none", "fixed"],
        dataset=data.broad,
    )
    sizes = rows.groupby(["model", "variant"], observed=True)["coverage"].nunique()
    model, variant = max(sizes.index, key=lambda key: (sizes[key], str(key)))
    if sizes[(model, variant)] < 2:
        raise FigureError(f"no model has runs at two or more coverages on dataset={data.broad}")
    own = rows[(rows["model"] == model) & (rows["variant"] == variant)]
    sweep: Sweep = {}
    for method in ("grpo", "sdpo"):
        runs = [run for run in runs_of(own) if run["method"] == method]
        if runs and not any(run["coverage"] == "full" for run in runs):
            full = rows[
                (rows["model"] == model) & (rows["coverage"] == "full") & (rows["variant"] == "default")
            ]
            runs += [run for run in runs_of(full) if run["method"] == method]
        if runs:
            sweep[method] = sorted(runs, key=lambda run: coverage_key(run["coverage"]))
    return sweep


def arm_label(runs: list[dict[str, str]]) -> str:
    """Return the method of one row or column of panels."""
    return method_style({**runs[0], "variant": "default"}).label


def full_text(runs: list[dict[str, str]]) -> str:
    """Return a remark if the `full` line is a run of another variant than the rest of the sweep."""
    variants = {run["coverage"]: run["variant"] for run in runs}
    own = next((variant for coverage, variant in variants.items() if coverage != "full"), None)
    full = variants.get("full", own)
    return "" if full == own else f" |D| = full is the run of variant {full}, the others of {own}."


def figure7(data: StudyData) -> Figure:
    """Draw Figure 7: training score and response length by step, one line a coverage, one row a method."""
    sweep = sweep_runs(data, data.training)
    styles = coverage_styles([run["coverage"] for runs in sweep.values() for run in runs])
    with paper_style():
        figure, axes = new_figure(len(sweep), 2)
        for line, runs in zip(axes, sweep.values(), strict=True):
            for axis, column in zip(line, ("score", LENGTH), strict=True):
                title = arm_label(runs) if column == "score" else ""
                own = [styles[run["coverage"]] for run in runs]
                draw_training(axis, data.training, runs, column, title=title, styles=own)
        for panels in axes.T:
            fit_limits(panels, floor=True)
        shared_legend(figure, list(axes.flat), columns=6)
    return figure


def figure7_caption(data: StudyData) -> str:
    """Return Figure 7's caption."""
    runs = [run for group in sweep_runs(data, data.training).values() for run in group]
    rows = data.training.merge(pd.DataFrame(runs), how="inner")
    return (
        f"{data.label(runs[0]['model'])}: training score and length for |D| distinct training problems "
        f"of {data.broad}. {training_text(rows)}{full_text(runs)}"
    )


def figure8(data: StudyData) -> Figure:
    """Draw Figure 8: accuracy on the OOD benchmarks by step, one line a coverage; GRPO left, SDPO right."""
    sweep = sweep_runs(data, data.estimates)
    styles = coverage_styles([run["coverage"] for runs in sweep.values() for run in runs])
    names = data.benchmark_names(ood=True) or data.benchmark_names()
    with paper_style():
        figure, axes = new_figure(len(names), len(sweep))
        for line, name in zip(axes, names, strict=True):
            for axis, runs in zip(line, sweep.values(), strict=True):
                title = f"{arm_label(runs)}: {data.benchmark_label(name)}"
                own = [styles[run["coverage"]] for run in runs]
                draw_benchmark(axis, data, runs, name, ACCURACY, title=title, styles=own)
            fit_limits(line, floor=False)
        shared_legend(figure, list(axes.flat), columns=6)
    return figure


def figure8_caption(data: StudyData) -> str:
    """Return Figure 8's caption."""
    runs = [run for group in sweep_runs(data, data.estimates).values() for run in group]
    names = data.benchmark_names(ood=True) or data.benchmark_names()
    return (
        f"{data.label(runs[0]['model'])}: out-of-domain accuracy by step for |D| distinct training problems "
        f"of {data.broad}. {benchmark_text(data, runs, names)}{full_text(runs)}"
    )
