"""Panels with the paper's own curves, digitised, in the form of ours: same colours, markers and orientation, axes of their own.

A shaded ground and the title tell them from ours. What they draw are the entries of config/reported.yaml that hold a curve or a count per word,
with the error of reading as a band; nothing is filled in between or beyond the points that are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from selfdistill.claims.reported import MEASURES
from selfdistill.report.figures.curves import AXIS_LABELS, finish, word_axis
from selfdistill.report.style import LineStyle, method_style
from selfdistill.report.tables.reported import reported_rows
from selfdistill.vocabulary.contexts import NONE
from selfdistill.vocabulary.marks import MARKS
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from selfdistill.report.study_data import StudyData

GROUND = "#FBF4E4"
"""Behind every panel of the paper."""


def curves_of(data: StudyData, place: str, metric: str, **fields: str) -> list[Mapping[str, Any]]:
    """Return the entries of a display that hold a curve of a metric, those with these fields; [] if there are none."""
    return [
        entry
        for entry in entries_of(data, place, **fields)
        if entry.get("steps") and measured(entry) == metric
    ]


def measured(entry: Mapping[str, Any]) -> str:
    """Return the metric of an entry, `""` if it is no level of an arm."""
    measure = MEASURES.get(entry["quantity"])
    return measure.metric if measure else ""


def words_of(data: StudyData, place: str, quantity: str) -> list[Mapping[str, Any]]:
    """Return the entries of a display that hold a number per word, of quantities that begin so; [] if there are none."""
    return [
        entry
        for entry in entries_of(data, place)
        if entry.get("words") and entry["quantity"].startswith(quantity)
    ]


def entries_of(data: StudyData, place: str, **fields: str) -> list[Mapping[str, Any]]:
    """Return the reported entries of a display with these fields."""
    rows = reported_rows(data, place)
    entries = [row.to_dict() for _, row in rows.iterrows()]
    return [one for one in entries if all(one.get(name) == value for name, value in fields.items())]


def run_of_entry(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the run fields of an entry that decide how it is drawn; SDPO sees the solution where nothing else is said."""
    context = entry.get("context") or ("solution" if entry["method"] == "sdpo" else NONE)
    return {"method": entry["method"], "context": context, "teacher": entry.get("teacher") or "fixed"}


def paper_panel(axis: Axes, title: str) -> None:
    """Give a panel the look of the paper's: ground and title."""
    axis.set_facecolor(GROUND)
    axis.set_title(title, fontstyle="italic")


def draw_paper_curves(
    axis: Axes,
    entries: Sequence[Mapping[str, Any]],
    metric: str,
    *,
    title: str = "",
    ylabel: str = "",
    styles: Mapping[str, LineStyle] | None = None,
    floor: bool = True,
) -> None:
    """Draw curves of the paper by step, with their error as a band.

    A curve of which only start and end are known is a thin line. styles: coverage -> style, where the lines of a panel are coverages.
    floor: whether the axis begins at zero.
    """
    for entry in entries:
        measure = MEASURES[entry["quantity"]]
        style = styles[entry["coverage"]] if styles else method_style(run_of_entry(entry))
        steps, values = np.array(entry["steps"]), np.array(entry["values"]) * measure.scale
        thin = {"linestyle": "-", "linewidth": 0.5} if len(steps) == 2 else {}
        axis.plot(steps, values, markevery=max(len(steps) // 8, 1), **style.line() | thin)
        if entry.get("error") and not thin:
            half = entry["error"] * measure.scale
            axis.fill_between(
                steps, values - half, values + half, color=style.colour, alpha=0.16, linewidth=0
            )
    finish(axis, title, ylabel or AXIS_LABELS[metric], floor=floor)
    paper_panel(axis, title)
    if entries and max(len(entry["steps"]) for entry in entries) == 1:
        axis.set_xlim(0, 1.03 * max(entry["steps"][0] for entry in entries))


def draw_paper_words(
    axis: Axes,
    entries: Sequence[Mapping[str, Any]],
    bars: Mapping[str, Mapping[str, Any]],
    *,
    title: str,
    ylabel: str,
) -> None:
    """Draw a group of bars per word, each where ours stands; a question mark where the paper's number is unknown.

    bars: key of an arm (`arm_key`) -> keyword arguments of `Axes.bar`, in the order of the bars.
    """
    width = 0.82 / max(len(bars), 1)
    for rank, (key, look) in enumerate(bars.items()):
        words = words_of_arm(entries, key)
        places = {word: at + (rank - (len(bars) - 1) / 2) * width for at, word in enumerate(EPISTEMIC_WORDS)}
        known = [word for word in EPISTEMIC_WORDS if word in words]
        heights = [words[word] for word in known]
        axis.bar([places[word] for word in known], heights, width=width * 0.95, linewidth=0.3, **look)
        for word in EPISTEMIC_WORDS:
            if word not in words:
                place = (places[word], 0)
                axis.annotate("?", place, (0, 2), textcoords="offset points", ha="center", fontsize=6.5)
    axis.axhline(0, color="#333333", linewidth=0.8)
    word_axis(axis)
    axis.set_ylabel(ylabel)
    paper_panel(axis, title)


def arm_key(fields: Mapping[str, Any]) -> str:
    """Return the arm of a run or of an entry of section 3 by method and context."""
    return f"{fields.get('method') or 'base'} {fields.get('context') or NONE}"


def words_of_arm(entries: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """Return word -> number over all entries of an arm."""
    found: dict[str, float] = {}
    for entry in entries:
        if arm_key(entry) == key:
            found |= entry["words"]
    return found


def paper_title(entries: Sequence[Mapping[str, Any]], *what: str) -> str:
    """Return the title of panels of the paper, `the paper: GRPO, AIME24 (digitised)`; what: beside the benchmark, if there is one."""
    shown = ", ".join(filter(None, (*what, *dict.fromkeys(entry.get("benchmark") for entry in entries))))
    how = "digitised" if "D" in {entry["mark"] for entry in entries} else "the authors' numbers"
    return f"the paper: {shown} ({how})"


def paper_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence of a caption on the panels of the paper: which model, what is digitised, with what error; `""` for no entries."""
    if not entries:
        return ""
    frame = pd.DataFrame(entries)
    marks = [f"[{mark}] {meaning}" for mark, meaning in MARKS.items() if mark in set(frame["mark"])]
    halves = [f"{one['quantity'].partition(',')[0]} ±{one['error']:g}" for one in entries if one.get("error")]
    read = f"; error of reading: {', '.join(dict.fromkeys(halves))}" if halves else ""
    models, places = (", ".join(dict.fromkeys(frame[name])) for name in ("model", "paper"))
    lengths = {len(one["steps"]) for one in entries if one.get("steps")}
    ends = " Thin lines: only start and end are known." if 2 in lengths else ""
    ends += " Single points: only the end is known." if 1 in lengths else ""
    ends += " ?: unknown." if any(one.get("words") for one in entries) else ""
    return f"Shaded panels: the paper's {places}, {models}, on axes of their own; {'; '.join(marks)}{read}.{ends}"
