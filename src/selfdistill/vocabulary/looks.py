"""Colours, markers and hatches that distinguish runs and contexts (Okabe-Ito palette, safe for colour-blind readers)."""

from dataclasses import dataclass

GREY, BLACK = "#7A7A7A", "#000000"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"


@dataclass(frozen=True)
class Look:
    """Colour, marker of lines and hatch of bars."""

    colour: str
    marker: str
    hatch: str = ""


BASE = Look(GREY, "s")
"""Look of a model before training."""
