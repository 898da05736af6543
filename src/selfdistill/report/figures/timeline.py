"""The timeline of a study's jobs and where its cores' time went (selfdistill.report.timeline), for the report's cost section.

Above, one row a lane: each job in the colour of its rule, its start-up and imports in black at its head. Below, all of it as one
stacked bar by phase. No figure of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from selfdistill.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    paper_style,
    shared_legend,
)
from selfdistill.report.timeline import Span, lanes_of, length_of, seconds_by_phase, sessions_of, shares_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KINDS = {
    "train_base": ("base", GREY),
    "fetch_base": ("base", GREY),
    "sample_contexts": ("section 3", ORANGE),
    "train_grpo": ("GRPO", BLUE),
    "train_sdpo": ("SDPO", VERMILLION),
    "train_sft": ("SFT", SKY),
    "evaluate_base": ("evaluation", GREEN),
    "evaluate_run": ("evaluation", GREEN),
}
"""Rule -> what its jobs are called, and their colour: a method has its own in every figure."""
OTHER = ("data, numbers, figures", PURPLE)
PHASE_COLOURS = {"compute": SKY, "imports": ORANGE, "start-up": YELLOW, "between jobs": GREY}
HEIGHT = 0.8
LETTER = 0.014
"""Share of the axis for each letter of its name that a stretch of jobs of one kind needs to carry it."""
SLOTS = ((0, "left"), (38, "center"), (64, "center"), (100, "right"))
"""Where the words of the phases stand above their bar, in percent, in the order of the bar, so that no lines cross."""
MOST_LANES = 16
"""Lanes that are drawn; a cluster's further ones count in the shares alone."""


def timeline(spans: Sequence[Span]) -> Figure:
    """Return the timeline with the bar of phases; without spans a figure that says so."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with paper_style():
        sessions = sessions_of(spans)
        lanes = min(max((max(lanes_of(session)) + 1 for session in sessions), default=1), MOST_LANES)
        figure = Figure(figsize=(6.4, 2.0 + 0.32 * lanes), layout="constrained")
        FigureCanvasAgg(figure)
        if not spans:
            figure.text(0.5, 0.5, "no job has recorded its times", ha="center", va="center")
            return figure
        above, below = figure.subplots(2, 1, height_ratios=[0.32 * lanes + 0.35, 0.75])
        draw_lanes(above, sessions, lanes)
        draw_phases(below, seconds_by_phase(sessions))
        shared_legend(figure, [above])
    return figure


def draw_lanes(axis: Axes, sessions: Sequence[Sequence[Span]], lanes: int) -> None:
    """Draw every job in its lane, sessions one after the other with a dashed line where they meet."""
    whole, offset = sum(map(length_of, sessions)), 0.0
    for number, session in enumerate(sessions):
        rows, start = lanes_of(session), session[0].began
        if number:
            axis.axvline(offset, color=BLACK, linewidth=0.8, linestyle=(0, (2, 2)))
        for span, lane in zip(session, rows, strict=True):
            if lane < MOST_LANES:
                draw_job(axis, span, offset + span.began - start, lane)
        for lane in range(min(max(rows) + 1, MOST_LANES)):
            own = [span for span, row in zip(session, rows, strict=True) if row == lane]
            name_stretches(axis, own, offset - start, lane, LETTER * whole)
        offset += length_of(session)
    axis.set_xlim(0, whole)
    axis.set_ylim(lanes - 0.5, -0.5)
    axis.set_yticks(range(lanes), [f"lane {lane + 1}" for lane in range(lanes)])
    axis.set_xlabel("seconds")
    axis.grid(False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def draw_job(axis: Axes, span: Span, at: float, lane: int) -> None:
    """Draw one job: its length in its rule's colour, start-up and imports in black at the head."""
    name, colour = KINDS.get(span.rule, OTHER)
    length, phases = span.ended - span.began, span.phases
    axis.barh(lane, length, HEIGHT, left=at, color=colour, edgecolor="white", linewidth=0.3, label=name)
    head = phases["start-up"] + phases["imports"]
    axis.barh(lane, head, HEIGHT, left=at, color=BLACK, linewidth=0, label="start-up and imports")


def name_stretches(axis: Axes, jobs: Sequence[Span], shift: float, lane: int, letter: float) -> None:
    """Write the name of each long enough stretch of jobs of one kind into a lane."""
    first = 0
    for last in range(len(jobs)):
        name = KINDS.get(jobs[last].rule, OTHER)[0]
        if last + 1 < len(jobs) and KINDS.get(jobs[last + 1].rule, OTHER)[0] == name:
            continue
        begin, end = jobs[first].began + shift, jobs[last].ended + shift
        if end - begin >= letter * len(name):
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
            axis.text((begin + end) / 2, lane, name, ha="center", va="center", fontsize=6.5, bbox=box)
        first = last + 1


def draw_phases(axis: Axes, seconds: Mapping[str, float]) -> None:
    """Draw the shares of the phases as one stacked bar, each named with its share in percent."""
    left = 0.0
    for (phase, share), (slot, side) in zip(shares_of(seconds).items(), SLOTS, strict=True):
        axis.barh(
            0, 100 * share, 0.5, left=left, color=PHASE_COLOURS[phase], edgecolor="white", linewidth=0.6
        )
        line = {"arrowstyle": "-", "linewidth": 0.6, "color": BLACK, "shrinkA": 1, "shrinkB": 0}
        place = {"ha": side, "va": "center", "arrowprops": line}
        axis.annotate(f"{phase} {100 * share:.1f} %", (left + 50 * share, 0.25), (slot, 0.75), **place)
        left += 100 * share
    axis.set_xlim(0, 100)
    axis.set_ylim(-0.35, 0.95)
    axis.set_yticks([])
    axis.set_xlabel("share of all lanes' time (%)")
    axis.grid(False)
    axis.spines["left"].set_visible(False)
