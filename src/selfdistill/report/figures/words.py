"""Figure 9 (per-word counts of Table 1) and Figure 12 (shift of epistemic words against all other words).

Figure 9's number is uncertain (paper.md, Fig. 9-11); the chart is the paper's `epistemic_change`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from selfdistill.grading.epistemic import counts_by_problem, frequency_shift
from selfdistill.report.data import CONTEXTS, StudyData, base_run, counts_text, rows_of_run, runs_of, select
from selfdistill.report.figures.curves import draw_intervals
from selfdistill.report.style import (
    CONTEXT_COLOURS,
    CONTEXT_HATCHES,
    CONTEXT_SYMBOLS,
    method_style,
    new_figure,
    paper_style,
    shared_legend,
)
from selfdistill.statistics import group_shifts, last_step
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ORGANISM_TEXT = (
    "In a model organism it is the pre-training data that make a richer context shorten the base's answers."
)
GROUPS = ((True, "epistemic"), (False, "other words"))


def context_rows(data: StudyData) -> pd.DataFrame:
    """Return the section 3 estimates; FigureError if the study has none."""
    return select(data.estimates, "section 3 estimate", benchmark="section-3", context=list(CONTEXTS))


def context_counts(data: StudyData) -> pd.DataFrame:
    """Return the count per response of each epistemic word under each context, with its interval."""
    words = {f"substring_{word}": word for word in EPISTEMIC_WORDS}
    rows = select(context_rows(data), "word count of section 3", metric=list(words))
    return rows.assign(word=rows["metric"].map(words))


def draw_context_counts(axis: Axes, counts: pd.DataFrame, title: str) -> None:
    """Draw a group of bars for each epistemic word, one bar a context."""
    contexts = [context for context in CONTEXTS if context in set(counts["context"])]
    width = 0.84 / len(contexts)
    for rank, context in enumerate(contexts):
        rows = counts[counts["context"] == context].set_index("word").reindex(EPISTEMIC_WORDS)
        places = np.arange(len(EPISTEMIC_WORDS)) + (rank - (len(contexts) - 1) / 2) * width
        axis.bar(
            places,
            rows["estimate"],
            width=width * 0.95,
            facecolor=CONTEXT_COLOURS[context],
            edgecolor="white",
            hatch=CONTEXT_HATCHES[context],
            linewidth=0.3,
            label=CONTEXT_SYMBOLS[context],
        )
        draw_intervals(axis, places, rows, "estimate")
    axis.set_xticks(
        range(len(EPISTEMIC_WORDS)), EPISTEMIC_WORDS, rotation=30, ha="right", rotation_mode="anchor"
    )
    axis.set_ylabel("count / response")
    axis.set_title(title)
    axis.grid(visible=False, axis="x")


def figure_words(data: StudyData) -> Figure:
    """Draw the per-word figure of Table 1: the ten epistemic words under each context, one row a model."""
    counts = context_counts(data)
    models = data.ordered(counts["model"].unique())
    with paper_style():
        figure, axes = new_figure(len(models), 1, height=2.1)
        figure.set_size_inches(6.2, 2.1 * len(models) + 0.3)
        for axis, model in zip(axes[:, 0], models, strict=True):
            draw_context_counts(axis, counts[counts["model"] == model], data.label(model))
        shared_legend(figure, list(axes.flat))
    return figure


def figure_words_caption(data: StudyData) -> str:
    """Return the caption of `figure_words`."""
    counts = context_counts(data)
    bars = "; lines on bars: 95 % intervals" if counts["low"].notna().any() else ""
    return (
        "Epistemic words per response of the base model under four contexts (authors' substring count). "
        f"{ORGANISM_TEXT + ' ' if data.organism else ''}{counts_text(counts)}{bars}."
    )


def frequency_shifts(samples: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """Return the word shift of every on-policy run of the samples at its last step, on one benchmark.

    Returns: epistemic.frequency_shift's columns with the KEY fields, n_problems, k and n_seeds, and for the
        word's group (epistemic or not) statistics.group_shifts' columns, the same on each of its rows; responses
        of all seeds are pooled, intervals are over problems. Empty if no run has both its own and its base's
        samples there.
    """
    rows = samples[samples["benchmark"] == benchmark]
    start = cache(lambda model: counts_by_problem(rows_of_run(rows, base_run(model))))
    frames = []
    for run in runs_of(rows[rows["method"].isin(["grpo", "sdpo"])]):
        own, base = last_step(rows_of_run(rows, run)), rows_of_run(rows, base_run(run["model"]))
        if len(base):
            problems, seeds = own["problem_id"].nunique(), own["seed"].nunique()
            counts = {"n_problems": problems, "k": len(own) // (problems * seeds), "n_seeds": seeds}
            groups = group_intervals(counts_by_problem(own), start(run["model"]))
            shift = frequency_shift(base, own).merge(groups, on="is_epistemic")
            frames.append(shift.assign(**run, **counts))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def group_intervals(trained: pd.DataFrame, start: pd.DataFrame) -> pd.DataFrame:
    """Return mean shift and mean absolute shift of epistemic and of other words with intervals over problems.

    trained, start: epistemic.counts_by_problem of a run and of its base.
    """
    words = trained.columns.union(start.columns).union(pd.Index(EPISTEMIC_WORDS))
    problems = trained.index.intersection(start.index)
    aligned = [frame.reindex(index=problems, columns=words, fill_value=0.0) for frame in (trained, start)]
    flags = words.isin(EPISTEMIC_WORDS)
    shifts = group_shifts(*aligned, {"epistemic": flags, "other": ~flags})
    return shifts.assign(is_epistemic=shifts["group"] == "epistemic").drop(columns="group")


def shift_runs(data: StudyData) -> dict[str, list[dict[str, str]]]:
    """Return Figure 12's runs by model: GRPO and fixed-teacher SDPO on the whole broad data set."""
    rows = select(
        data.shift,
        "frequency shift",
        method=["grpo", "sdpo"],
        context=["none", *CONTEXTS],
        teacher=["none", "fixed"],
        dataset=data.broad,
        coverage="full",
        variant="default",
    )
    runs: dict[str, list[dict[str, str]]] = {}
    for run in runs_of(rows):
        runs.setdefault(run["model"], []).append(run)
    return {model: runs[model] for model in data.ordered(runs)}


def spread(values: pd.Series, width: float) -> np.ndarray:
    """Return sideways offsets that keep points of a strip apart: by rank, so the same on every run."""
    ranks = np.argsort(np.argsort(values.to_numpy(), kind="stable"), kind="stable")
    return ((ranks * 0.618034) % 1.0 - 0.5) * width


def draw_shift(axis: Axes, data: StudyData, runs: list[dict[str, str]], title: str) -> None:
    """Draw each word's shift as a point, epistemic words left and all others right, one strip a run."""
    width = 0.8 / len(runs)
    for rank, run in enumerate(runs):
        style, rows = method_style(run), rows_of_run(data.shift, run)
        for place, (flag, _) in enumerate(GROUPS):
            own = rows[rows["is_epistemic"] == flag]
            words = own.groupby("word", observed=True)["shift"].mean()
            centre = place + (rank - (len(runs) - 1) / 2) * width
            label = style.label if flag else f"_{style.label}"
            axis.scatter(
                centre + spread(words, width * 0.5),
                words,
                s=14 if flag else 8,
                color=style.colour,
                marker=style.marker,
                alpha=0.85 if flag else 0.5,
                linewidth=0,
                label=label,
            )
            group = own.iloc[0]
            axis.hlines(
                group["mean"], centre - width * 0.38, centre + width * 0.38, color="#222222", linewidth=1.6
            )
            axis.vlines(centre, group["mean_low"], group["mean_high"], color="#222222", linewidth=1.0)
            text = f"{group['mean']:+.2f}".replace("-", "−") if flag else f"{group['size']:.2f}"
            axis.annotate(
                text,
                (centre, words.max()),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=6.5,
                bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
            )
    axis.axhline(0, color="#333333", linewidth=0.8)
    axis.set_xticks(range(len(GROUPS)), [name for _, name in GROUPS])
    axis.set_ylabel("shift per response")
    axis.set_title(title)
    axis.grid(visible=False, axis="x")
    axis.margins(y=0.14)


def figure12(data: StudyData) -> Figure:
    """Draw Figure 12: how far training moves the frequency of epistemic words and of all other words."""
    runs = shift_runs(data)
    columns = min(len(runs), 2)
    lines = -(-len(runs) // columns)
    with paper_style():
        figure, axes = new_figure(lines, columns)
        panels = list(axes.flat)
        for axis, (model, own) in zip(panels, runs.items(), strict=False):
            draw_shift(axis, data, own, data.label(model))
        for axis in panels[len(runs) :]:
            axis.remove()
        shared_legend(figure, panels[: len(runs)], columns=3)
    return figure


def figure12_caption(data: StudyData) -> str:
    """Return Figure 12's caption."""
    runs = [run for group in shift_runs(data).values() for run in group]
    rows = pd.concat([rows_of_run(data.shift, run) for run in runs])
    words = rows.drop_duplicates("word").groupby("is_epistemic", observed=True)["word"].count()
    return (
        f"Change of each word's frequency after training against base: {words.get(True, 0)} epistemic words "
        f"and {words.get(False, 0)} other words; lines: means with 95 % intervals over problems; numbers: mean shift of "
        f"the former, mean absolute shift of the latter; {counts_text(rows)}. {ratio_text(data, runs)}"
    )


def ratio_text(data: StudyData, runs: list[dict[str, str]]) -> str:
    """Return how many times further SDPO (c=s) moves an epistemic word than another word, for each model."""
    parts = []
    for run in runs:
        rows = rows_of_run(data.shift, run)
        sizes = rows.drop_duplicates("is_epistemic").set_index("is_epistemic")
        if run["context"] == "solution" and set(sizes.index) == {True, False} and sizes.loc[False, "size"]:
            ratio = sizes.loc[True, "size"] / sizes.loc[False, "size"]
            inside = ", ".join(f"{sizes.loc[True, key]:.2f}" for key in ("size_low", "size_high"))
            outside = ", ".join(f"{sizes.loc[False, key]:.2f}" for key in ("size_low", "size_high"))
            parts.append(
                f"{data.label(run['model'])} {ratio:.1f} ({sizes.loc[True, 'size']:.2f} [{inside}] against "
                f"{sizes.loc[False, 'size']:.2f} [{outside}])"
            )
    return (
        f"SDPO (c=s) moves an epistemic word so many times further than another: {'; '.join(parts)}."
        if parts
        else ""
    )
