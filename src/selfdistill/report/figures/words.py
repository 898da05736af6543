"""Figure 9 (per-word counts of Table 1) and Figure 12 (shift of epistemic words against all other words).

Figure 9's number is uncertain (docs/paper.md, Fig. 9-11); the chart is the paper's `epistemic_change`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from selfdistill.report.figures.curves import draw_intervals, word_axis
from selfdistill.report.figures.paper_panels import (
    arm_key,
    draw_paper_words,
    paper_text,
    paper_title,
    words_of,
)
from selfdistill.report.study_data import CONTEXTS, StudyData, counts_text, rows_of_run, select
from selfdistill.report.style import (
    CONTEXT_COLOURS,
    CONTEXT_HATCHES,
    CONTEXT_SYMBOLS,
    LineStyle,
    method_style,
    new_figure,
    paper_style,
    shared_legend,
)
from selfdistill.vocabulary.contexts import FURTHER
from selfdistill.vocabulary.runs import SECTION_3
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ORGANISM_TEXT = (
    "In a model organism the pre-training data put this in: their responses are shortest under a solution, longer under the answer "
    "alone, longest under a hint, and none is under ỹ. The base need not keep that order."
)
GROUPS = ((True, "epistemic"), (False, "other words"))


def context_rows(data: StudyData) -> pd.DataFrame:
    """Return the section 3 estimates; FigureError if the study has none."""
    known = [*CONTEXTS, *FURTHER]
    return select(data.estimates, "section 3 estimate", benchmark=SECTION_3, context=known)


def contexts_in(rows: pd.DataFrame) -> list[str]:
    """Return the contexts of section 3 that some rows have: the paper's by richness, then those that the study asks for beside them."""
    found = set(rows["context"])
    return [context for context in (*CONTEXTS, *FURTHER) if context in found]


def context_counts(data: StudyData) -> pd.DataFrame:
    """Return the count per response of each epistemic word under each context, with its interval."""
    words = {f"substring_{word}": word for word in EPISTEMIC_WORDS}
    rows = select(context_rows(data), "word count of section 3", metric=list(words))
    return rows.assign(word=rows["metric"].map(words))


def draw_context_counts(axis: Axes, counts: pd.DataFrame, title: str) -> None:
    """Draw a group of bars per epistemic word, one bar per context."""
    contexts = contexts_in(counts)
    width = 0.84 / len(contexts)
    for rank, context in enumerate(contexts):
        rows = counts[counts["context"] == context].set_index("word").reindex(EPISTEMIC_WORDS)
        places = np.arange(len(EPISTEMIC_WORDS)) + (rank - (len(contexts) - 1) / 2) * width
        axis.bar(
            places,
            rows["estimate"],
            width=width * 0.95,
            linewidth=0.3,
            **context_bar(context),
        )
        draw_intervals(axis, places, rows, "estimate")
    word_axis(axis)
    axis.set_ylabel("count / response")
    axis.set_title(title)


def draw_words_by_context(data: StudyData, *, paper: str = "") -> tuple[Figure, str]:
    """Draw the per-word figure of Table 1: the ten epistemic words under each context, one row per model.

    paper: the display of the paper's counts (reported.yaml), a row below ours.
    """
    counts, known = context_counts(data), words_of(data, paper, "count per response")
    models = data.ordered(counts["model"].unique())
    rows = len(models) + bool(known)
    with paper_style():
        figure, axes = new_figure(rows, 1, height=2.1)
        figure.set_size_inches(6.2, 2.1 * rows + 0.3)
        for axis, model in zip(axes[:, 0], models, strict=False):
            draw_context_counts(axis, counts[counts["model"] == model], data.label(model))
        if known:
            looks = {arm_key({"context": context}): context_bar(context) for context in CONTEXTS}
            draw_paper_words(
                axes[-1, 0],
                known,
                looks,
                title=paper_title(known, known[0]["model"]),
                ylabel="count / response",
            )
        shared_legend(figure, list(axes.flat))
    bars = "; lines on bars: 95 % intervals" if counts["low"].notna().any() else ""
    caption = (
        "Epistemic words per response of the base model under each context (authors' substring count). "
        f"{ORGANISM_TEXT + ' ' if data.organism else ''}{counts_text(counts)}{bars}."
    )
    return figure, f"{caption} {paper_text(known)}".strip()


def context_bar(context: str) -> dict[str, Any]:
    """Return the keyword arguments of `Axes.bar` of a context; the hatch keeps bars apart in grey."""
    look = {"facecolor": CONTEXT_COLOURS[context], "hatch": CONTEXT_HATCHES[context], "edgecolor": "white"}
    return look | {"label": CONTEXT_SYMBOLS[context]}


def spread(values: pd.Series, width: float) -> np.ndarray:
    """Return sideways offsets that keep points of a strip apart: by rank, so the same on every run."""
    ranks = np.argsort(np.argsort(values.to_numpy(), kind="stable"), kind="stable")
    return ((ranks * 0.618034) % 1.0 - 0.5) * width


def draw_shift(axis: Axes, data: StudyData, runs: Sequence[Mapping[str, str]], title: str) -> None:
    """Draw each word's shift as a point, epistemic words left and all others right, one strip per run."""
    width = 0.8 / len(runs)
    for rank, run in enumerate(runs):
        rows = rows_of_run(data.shift, run)
        for place, (flag, _) in enumerate(GROUPS):
            centre = place + (rank - (len(runs) - 1) / 2) * width
            draw_strip(axis, rows[rows["is_epistemic"] == flag], method_style(run), centre, width, flag)
    axis.axhline(0, color="#333333", linewidth=0.8)
    axis.set_xticks(range(len(GROUPS)), [name for _, name in GROUPS])
    axis.set_ylabel("shift per response")
    axis.set_title(title)
    axis.grid(visible=False, axis="x")
    axis.margins(y=0.14)


def draw_strip(
    axis: Axes, rows: pd.DataFrame, style: LineStyle, centre: float, width: float, epistemic: bool
) -> None:
    """Draw one group of words of one run: a point per word, the mean with its interval, and its number."""
    words, group = rows.groupby("word", observed=True)["shift"].mean(), rows.iloc[0]
    look = {"s": 14, "alpha": 0.85} if epistemic else {"s": 8, "alpha": 0.5}
    look |= {"color": style.colour, "marker": style.marker, "linewidth": 0}
    label = style.label if epistemic else f"_{style.label}"
    axis.scatter(centre + spread(words, width * 0.5), words, label=label, **look)
    half = width * 0.38
    axis.hlines(group["mean"], centre - half, centre + half, color="#222222", linewidth=1.6)
    axis.vlines(centre, group["mean_low"], group["mean_high"], color="#222222", linewidth=1.0)
    text = f"{group['mean']:+.2f}".replace("-", "−")
    box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
    place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
    axis.annotate(text, (centre, words.max()), fontsize=6.5, bbox=box, **place)


def draw_word_shifts(data: StudyData) -> tuple[Figure, str]:
    """Draw Figure 12: how far training moves the frequency of epistemic words and of all other words, one panel per model."""
    models = data.runs_by("model")
    columns = min(len(models), 2)
    with paper_style():
        figure, axes = new_figure(-(-len(models) // columns), columns)
        panels = list(axes.flat)
        for axis, ((model,), runs) in zip(panels, models.items(), strict=False):
            draw_shift(axis, data, runs, data.label(model))
        for axis in panels[len(models) :]:
            axis.remove()
        shared_legend(figure, panels[: len(models)], columns=3)
    return figure, shifts_caption(data)


def shifts_caption(data: StudyData) -> str:
    """Return the caption of `draw_word_shifts`."""
    rows = data.shift
    words = rows.drop_duplicates("word").groupby("is_epistemic", observed=True)["word"].count()
    return (
        f"Change of each word's frequency after training against base: {words.get(True, 0)} epistemic words "
        f"and {words.get(False, 0)} other words; lines and numbers: means, with 95 % intervals over problems only, not over "
        f"draws; {counts_text(rows)}. {ratio_text(data, data.runs)}"
    )


def ratio_text(data: StudyData, runs: Sequence[Mapping[str, str]]) -> str:
    """Return per model how many times further SDPO (c=s) moves an epistemic word than another word."""
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
        f"Ratio of the mean absolute shift of epistemic words to that of other words under SDPO (c=s): {'; '.join(parts)}."
        if parts
        else ""
    )
