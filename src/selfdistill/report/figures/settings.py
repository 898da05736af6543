"""Figures 6, 15, 19 and 20: teachers (section 5.4, appendix E), pass@k (F.4), and the settings of the loss (appendix G).

Figure 15 stands for the paper's OPSD runs on Qwen3-1.7B, with this study's SDPO and Qwen3 models. Figure 19's gaps are those between GRPO
and SDPO.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from selfdistill.report.figures.captions import arms_text, benchmark_text, training_text
from selfdistill.report.figures.curves import draw_benchmark, draw_training
from selfdistill.report.figures.dynamics import draw_metrics
from selfdistill.report.study_data import ACCURACY, LENGTH, StudyData
from selfdistill.report.style import (
    LineStyle,
    method_style,
    new_figure,
    paper_style,
    shared_legend,
)
from selfdistill.vocabulary.looks import GREEN, PURPLE, SKY, VERMILLION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PASS = "pass@k"


def draw_training_and_benchmark(
    data: StudyData, *, columns: int, styles: Sequence[LineStyle] | None = None
) -> tuple[Figure, str]:
    """Draw (a) training score and length, (b) accuracy and length on the OOD benchmark; return the counts behind them.

    columns: of the legend. styles: one per run, where the runs' own do not tell them apart.
    """
    runs, name = data.runs, data.headline[-1]
    with paper_style():
        figure, axes = new_figure(2, 2)
        for axis, column in zip(axes[0], ("score", LENGTH), strict=True):
            title = "(a) training" if column == "score" else ""
            draw_training(axis, data.training, runs, column, title=title, styles=styles)
        for axis, metric in zip(axes[1], (ACCURACY, LENGTH), strict=True):
            title = f"(b) {data.benchmark_label(name)}" if metric == ACCURACY else ""
            draw_benchmark(axis, data, runs, name, metric, title=title, styles=styles)
        shared_legend(figure, list(axes.flat), columns=columns)
    return figure, f"{training_text(data.training)} {benchmark_text(data, runs, [name])}"


def draw_teachers(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 6: fixed against moving teacher."""
    figure, counts = draw_training_and_benchmark(data, columns=3)
    what = f"{data.label(data.model())}: SDPO with a fixed teacher and with one that follows the student"
    return figure, f"{what}. {counts}"


def draw_ablation(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 20: SDPO with its settings and with others of the loss."""
    figure, counts = draw_training_and_benchmark(data, columns=2, styles=distinct_styles(data.runs))
    what = f"{data.label(data.model())}: {arms_text(data.runs)}, settings of the loss varied"
    return figure, f"{what}; a variant's steps may differ. {counts}"


def distinct_styles(runs: Sequence[Mapping[str, str]]) -> list[LineStyle]:
    """Return a colour, marker and dash pattern of its own for each run: they share method and context."""
    looks = (
        (VERMILLION, "-", "^"),
        (SKY, (0, (4, 1.6)), "s"),
        (PURPLE, (0, (1, 1.2)), "v"),
        (GREEN, (0, (6, 1, 1, 1)), "D"),
    )
    return [
        LineStyle(method_style(run).label, *look)
        for run, look in zip(runs, itertools.cycle(looks), strict=False)
    ]


def draw_hybrid_teachers(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 15: accuracy, length and epistemic words by step, the hybrid teacher above and the pair that thinks below."""
    name, by_model = data.headline[-1], data.runs_by("model")
    off, on = (data.roles[role] for role in ("qwen3-nothink", "qwen3-think"))
    rows = [
        ("(a) student without thinking", by_model[off,], name),
        ("(b) thinking on for both", by_model[on,], name),
    ]
    hybrids = " and ".join(run["variant"] for run in by_model[off,] if run["variant"] != "default")
    caption = (
        f"{arms_text(data.runs)} on {data.benchmark_label(name)}: (a) {data.label(off)} taught by itself without thinking (default) "
        f"and with thinking ({hybrids}), (b) {data.label(on)} taught by itself."
    )
    return draw_metrics(data, rows, columns=3), f"{caption} {benchmark_text(data, data.runs, [name])}"


def draw_pass_at_k(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 19: pass@k by step, one row per model, one column per headline benchmark."""
    names, models = data.headline, data.runs_by("model")
    with paper_style():
        figure, axes = new_figure(len(models), len(names))
        for line, ((model,), runs) in zip(axes, models.items(), strict=True):
            for axis, name in zip(line, names, strict=True):
                draw_benchmark(
                    axis, data, runs, name, PASS, title=data.label(model) if name == names[0] else ""
                )
                axis.set_ylabel(f"{PASS}, {data.benchmark_label(name)}")
        shared_legend(figure, list(axes.flat))
    labels = " and ".join(data.benchmark_label(name) for name in names)
    what = f"Unbiased pass@k of {arms_text(data.runs)} on {labels} (left, right)"
    return figure, f"{what}. {benchmark_text(data, data.runs, names)}"
