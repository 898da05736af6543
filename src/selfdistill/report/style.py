"""The one look of every figure: colours, line styles, markers, sizes, and how a figure becomes bytes.

A method keeps its colour in every figure of the study (Okabe-Ito palette, distinguishable under the common
colour deficiencies) and is told apart in grey by its line style and marker. Variants of a method share its
colour: a moving teacher is dashed, an override of the study is dotted. `save_figure` writes the same bytes
for the same figure: no date, no software name, fixed SVG identifiers, fonts kept as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.study.methods import METHODS
from selfdistill.vocabulary import looks, teachers
from selfdistill.vocabulary.contexts import CONTEXTS
from selfdistill.vocabulary.runs import BASE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, PANEL_HEIGHT = 3.1, 2.35
"""Inches of one panel; two panels side by side fill a text column of 6.3 inches, so 8 pt print as 8 pt."""

CONTEXT_SYMBOLS = {name: context.symbol for name, context in CONTEXTS.items()}
CONTEXT_COLOURS = {name: context.look.colour for name, context in CONTEXTS.items()}
CONTEXT_HATCHES = {name: context.look.hatch for name, context in CONTEXTS.items()}

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#333333",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "selfdistill",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class LineStyle:
    """How one method is drawn: legend label, colour, dash pattern, marker and hatch (for bars)."""

    label: str
    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str
    hatch: str = ""
    filled: bool = True

    def line(self) -> dict[str, Any]:
        """Return the keyword arguments of `Axes.plot`."""
        face = self.colour if self.filled else "white"
        shape = {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour}
        return {"color": self.colour, "linestyle": self.dashes, "label": self.label, **shape}

    def bar(self) -> dict[str, Any]:
        """Return the keyword arguments of `Axes.bar`; the hatch keeps bars apart in grey."""
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": "white", "label": self.label}


def method_style(fields: Mapping[str, Any]) -> LineStyle:
    """Return how a run is drawn, from its run fields.

    Args:
        fields: at least `method`; `context`, `teacher` and `variant` default to `none`, `fixed` and
        `default`.

    Raises:
        KeyError: a method and context that no style is declared for.
    """
    context = str(fields.get("context", "none"))
    method = None if fields["method"] == BASE else METHODS[str(fields["method"])]
    look, label = (method.look_of(context), method.label_of(context)) if method else (looks.BASE, BASE)
    hatch = look.hatch
    dashes: str | tuple[int, tuple[float, ...]] = "-"
    teacher, variant = str(fields.get("teacher", "fixed")), str(fields.get("variant", "default"))
    if teacher not in (teachers.FIXED, teachers.NONE):
        dashes, label, hatch = (0, (4, 1.6)), f"{label}, {teachers.label(teacher)}", hatch + "-"
    if variant != "default":
        dashes, label = (0, (1, 1.2)), f"{label}, {variant}"
    return LineStyle(label, look.colour, dashes, look.marker, hatch, filled=dashes == "-")


_COVERAGE_COLOURS = ("#440154", "#414487", "#2A788E", "#22A884", "#6FB83F", "#C9A50A")
_COVERAGE_MARKERS = ("o", "s", "^", "D", "v", "P")
_COVERAGE_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.2)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (6, 1, 1, 1, 1, 1)),
    "-",
)


def coverage_key(coverage: str) -> float:
    """Return the sort key of a coverage label: its number of problems, `full` last."""
    return float("inf") if coverage == "full" else float(coverage)


def coverage_styles(coverages: Sequence[str]) -> dict[str, LineStyle]:
    """Return a style for each coverage, dark to light (viridis) in increasing number of problems."""
    ordered = sorted(set(coverages), key=coverage_key)
    span = max(len(ordered) - 1, 1)
    styles = {}
    for rank, coverage in enumerate(ordered):
        place = round(rank * (len(_COVERAGE_COLOURS) - 1) / span) if len(ordered) < 6 else rank % 6
        styles[coverage] = LineStyle(
            f"|D| = {coverage}",
            _COVERAGE_COLOURS[place],
            _COVERAGE_DASHES[rank % 6],
            _COVERAGE_MARKERS[rank % 6],
        )
    return styles


@contextmanager
def paper_style() -> Iterator[None]:
    """Apply the study's look to everything drawn inside the block, and nothing outside it."""
    import matplotlib as mpl
    import seaborn as sns

    with mpl.rc_context({**sns.axes_style("ticks"), **_RC}):
        yield


def new_figure(
    rows: int, columns: int, *, height: float = PANEL_HEIGHT, **gridspec: Any
) -> tuple[Figure, Any]:
    """Return a figure of `rows` x `columns` panels and their 2-d array, outside any figure manager."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL_WIDTH * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False, **gridspec)


def shared_legend(figure: Figure, axes: Sequence[Axes], columns: int = 4, order: Sequence[str] = ()) -> None:
    """Put one legend for all panels above the figure, in at most so many columns as fit into its width.

    Every label appears once: those of `order`, then others in order of first use.
    """
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    entries = {label: found.pop(label) for label in order if label in found} | found
    for number in range(min(columns, len(entries)), 0, -1):
        legend = figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside upper center",
            ncols=number,
            handlelength=3.0,
            columnspacing=1.4,
        )
        if legend.get_window_extent().width <= 0.95 * figure.bbox.width:
            break
        if number > 1:
            legend.remove()


def save_figure(figure: Figure, path_png: Path, path_svg: Path) -> None:
    """Write a figure as PNG (200 dpi) and SVG; the same figure gives the same bytes on every run."""
    with paper_style():
        for path in (path_png, path_svg):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path_png, dpi=200, format="png", metadata={"Software": None})
        figure.savefig(path_svg, format="svg", metadata={"Date": None, "Creator": None})
