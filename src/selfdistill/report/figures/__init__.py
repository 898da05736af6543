"""Every figure in the paper's form: `FIGURES[name](data) -> Figure`, `CAPTIONS[name](data) -> str`.

One function a figure, from the tidy frames of `StudyData`; `NEEDS` names the frames that each reads. A figure
whose runs the study does not have raises `FigureError`, from the figure and from its caption alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from selfdistill.report.data import KEY, FigureError, StudyData
from selfdistill.report.figures.ablations import (
    figure15,
    figure15_caption,
    figure19,
    figure19_caption,
    figure20,
    figure20_caption,
)
from selfdistill.report.figures.coverage import figure7, figure7_caption, figure8, figure8_caption
from selfdistill.report.figures.dynamics import (
    dynamics,
    dynamics_caption,
    dynamics_wide,
    dynamics_wide_caption,
    figure1,
    figure1_caption,
    figure6,
    figure6_caption,
)
from selfdistill.report.figures.estimates import OOD_MEAN, study_differences, study_estimates
from selfdistill.report.figures.words import (
    figure12,
    figure12_caption,
    figure_words,
    figure_words_caption,
    frequency_shifts,
)
from selfdistill.report.style import save_figure
from selfdistill.study import displays

if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = [
    "CAPTIONS",
    "FIGURES",
    "KEY",
    "NEEDS",
    "TITLES",
    "FigureError",
    "StudyData",
    "OOD_MEAN",
    "frequency_shifts",
    "save_figure",
    "study_differences",
    "study_estimates",
]

_SHORT = {"words": False, "benchmarks": 1}

FIGURES: dict[str, Callable[[StudyData], Figure]] = {
    "figure1": figure1,
    "figure3": partial(dynamics, role="deepseek"),
    "figure4": partial(dynamics, role="qwen3-think"),
    "figure5": partial(dynamics, role="qwen3-nothink", **_SHORT),
    "figure6": figure6,
    "figure7": figure7,
    "figure8": figure8,
    "figure9": figure_words,
    "figure12": figure12,
    "figure15": figure15,
    "figure18": partial(dynamics, role="olmo3", **_SHORT),
    "figure19": figure19,
    "figure20": figure20,
    "figure3-all": partial(dynamics_wide, role="deepseek"),
    "figure4-all": partial(dynamics_wide, role="qwen3-think"),
    "figure5-all": partial(dynamics_wide, role="qwen3-nothink"),
    "figure18-all": partial(dynamics_wide, role="olmo3"),
}

CAPTIONS: dict[str, Callable[[StudyData], str]] = {
    "figure1": figure1_caption,
    "figure3": partial(dynamics_caption, role="deepseek"),
    "figure4": partial(dynamics_caption, role="qwen3-think"),
    "figure5": partial(dynamics_caption, role="qwen3-nothink", **_SHORT),
    "figure6": figure6_caption,
    "figure7": figure7_caption,
    "figure8": figure8_caption,
    "figure9": figure_words_caption,
    "figure12": figure12_caption,
    "figure15": figure15_caption,
    "figure18": partial(dynamics_caption, role="olmo3", **_SHORT),
    "figure19": figure19_caption,
    "figure20": figure20_caption,
    "figure3-all": partial(dynamics_wide_caption, role="deepseek"),
    "figure4-all": partial(dynamics_wide_caption, role="qwen3-think"),
    "figure5-all": partial(dynamics_wide_caption, role="qwen3-nothink"),
    "figure18-all": partial(dynamics_wide_caption, role="olmo3"),
}

NEEDS: dict[str, tuple[str, ...]] = {name: display.frames for name, display in displays.FIGURES.items()}
TITLES: dict[str, str] = {name: display.title for name, display in displays.FIGURES.items()}
