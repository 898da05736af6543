"""Figures 15, 19 and 20: hybrid teachers (appendix E), pass@k (F.4), and the settings of the loss (appendix G).

Figure 15 stands for the paper's OPSD runs on Qwen3-1.7B, with this study's SDPO and Qwen3 models. Figure 19's
gaps are those between GRPO and SDPO.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from selfdistill.report.data import ACCURACY, EPISTEMIC, LENGTH, FigureError, StudyData, runs_of, select
from selfdistill.report.figures.curves import draw_benchmark
from selfdistill.report.figures.dynamics import (
    benchmark_text,
    main_runs,
    training_and_benchmark,
    training_and_benchmark_text,
)
from selfdistill.report.style import (
    PANEL_HEIGHT,
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
TEACHER_THINKING = "hybrid"
"""Variant whose teacher thinks where its student does not (config: sdpo.teacher_thinking)."""


def hybrid_runs(data: StudyData) -> list[tuple[str, list[dict[str, str]]]]:
    """Return Figure 15's rows: the hybrid student with its homogeneous run, and the pair that thinks."""
    wanted = {"method": "sdpo", "context": "solution", "teacher": "fixed", "coverage": "full"}
    off = select(
        data.estimates,
        "hybrid run",
        model=data.role("qwen3-nothink"),
        dataset=data.broad,
        variant=["default", TEACHER_THINKING],
        **wanted,
    )
    if TEACHER_THINKING not in set(off["variant"]):
        raise FigureError(
            f"no run of the variant {TEACHER_THINKING!r}: a teacher that thinks where its student does not"
        )
    on = select(
        data.estimates,
        "homogeneous run",
        model=data.role("qwen3-think"),
        dataset=data.broad,
        variant="default",
        **wanted,
    )
    return [("(a) student without thinking", runs_of(off)), ("(b) thinking on for both", runs_of(on))]


def figure15(data: StudyData) -> Figure:
    """Draw Figure 15: accuracy, length and epistemic words by step, hybrid above and homogeneous below."""
    name = data.headline_benchmarks()[-1]
    rows = hybrid_runs(data)
    with paper_style():
        figure, axes = new_figure(len(rows), 3, height=PANEL_HEIGHT * 0.9)
        for line, (title, runs) in zip(axes, rows, strict=True):
            for axis, metric in zip(line, (ACCURACY, LENGTH, EPISTEMIC), strict=True):
                draw_benchmark(axis, data, runs, name, metric, title=title if metric == ACCURACY else "")
        shared_legend(figure, list(axes.flat), columns=3)
    return figure


def figure15_caption(data: StudyData) -> str:
    """Return Figure 15's caption."""
    name = data.headline_benchmarks()[-1]
    runs = [run for _, group in hybrid_runs(data) for run in group]
    return (
        f"SDPO (c=s, fixed teacher) on {data.benchmark_label(name)}: (a) {data.label(runs[0]['model'])} taught by itself "
        f"without thinking (default) and with thinking (hybrid), (b) {data.label(runs[-1]['model'])} taught by itself. "
        f"{benchmark_text(data, runs, [name])}"
    )


def figure19(data: StudyData) -> Figure:
    """Draw Figure 19: pass@k by step of GRPO and SDPO, one row a model, one column a headline benchmark."""
    models, names = [data.role("deepseek"), data.role("qwen3-think")], data.headline_benchmarks()
    with paper_style():
        figure, axes = new_figure(len(models), len(names))
        for line, model in zip(axes, models, strict=True):
            for axis, name in zip(line, names, strict=True):
                title = data.label(model) if name == names[0] else ""
                draw_benchmark(axis, data, main_runs(data, model), name, PASS, title=title)
                axis.set_ylabel(f"{PASS}, {data.benchmark_label(name)}")
        shared_legend(figure, list(axes.flat))
    return figure


def figure19_caption(data: StudyData) -> str:
    """Return Figure 19's caption."""
    models, names = [data.role("deepseek"), data.role("qwen3-think")], data.headline_benchmarks()
    runs = [run for model in models for run in main_runs(data, model)]
    labels = " and ".join(data.benchmark_label(name) for name in names)
    return f"Unbiased pass@k of GRPO and SDPO on {labels} (left, right). {benchmark_text(data, runs, names)}"


def ablation_runs(data: StudyData) -> list[dict[str, str]]:
    """Return Figure 20's runs: one model's SDPO (c=s) with its settings and with others of top-k and rate."""
    rows = select(
        data.training,
        "SDPO run",
        model=data.role("deepseek"),
        method="sdpo",
        context="solution",
        teacher="fixed",
        dataset=data.broad,
        coverage="full",
    )
    shown = rows["variant"].eq("default") | rows["variant"].str.match(r"(topk|lr)-")
    if rows[shown]["variant"].nunique() < 2:
        raise FigureError(f"no SDPO run of a variant topk-… or lr-… of {data.role('deepseek')}")
    return runs_of(rows[shown])


def ablation_styles(runs: list[dict[str, str]]) -> list[LineStyle]:
    """Return a colour, marker and dash of its own for each run: they share method and context."""
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


def figure20(data: StudyData) -> Figure:
    """Draw Figure 20: top-k and learning rate, (a) training score and length, (b) the OOD benchmark."""
    runs = ablation_runs(data)
    return training_and_benchmark(data, runs, columns=2, styles=ablation_styles(runs))


def figure20_caption(data: StudyData) -> str:
    """Return Figure 20's caption."""
    runs = ablation_runs(data)
    return (
        f"{data.label(runs[0]['model'])}: SDPO (c=s) with other settings of the loss; a variant's steps may differ. "
        f"{training_and_benchmark_text(data, runs)}"
    )
