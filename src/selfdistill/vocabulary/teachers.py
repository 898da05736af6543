"""SDPO's teachers: `fixed` (the base) or `ema-RATE` (follows the student by RATE per optimizer update, 0 < RATE < 1)."""

import re

NONE, FIXED = "none", "fixed"
"""No teacher; the base model."""
PATTERN = r"fixed|ema-0?\.[0-9]*[1-9][0-9]*"
"""Regular expression of all teachers (constraint of the wildcard)."""
FORMS = (FIXED, "ema-RATE (0 < RATE < 1)")
"""The allowed forms, as error messages show them."""


def is_teacher(name: str) -> bool:
    """Return whether a name is that of a teacher."""
    return re.fullmatch(PATTERN, name) is not None


def update_rate(teacher: str) -> float:
    """Return the rate at which a teacher follows the student (0 for `fixed`); raise ValueError for an unknown name."""
    if not is_teacher(teacher):
        raise ValueError(f"unknown teacher {teacher!r}; allowed: {', '.join(FORMS)}")
    return 0.0 if teacher == FIXED else float(teacher.removeprefix("ema-"))


def label(teacher: str) -> str:
    """Return the label of a moving teacher in figures.

    >>> label("ema-0.05")
    'EMA 0.05'
    """
    return teacher.replace("ema-", "EMA ")
