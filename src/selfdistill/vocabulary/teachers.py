"""SDPO's teachers: `fixed` (the base), `ema-RATE` (follows the student by RATE per optimizer update, 0 < RATE < 1), or
`snapshot-STEPS` (the student as it was at the last multiple of STEPS training steps; the base before that).
"""

import re

NONE, FIXED = "none", "fixed"
"""No teacher; the base model."""
SNAPSHOT = "snapshot-"
PATTERN = r"fixed|ema-0?\.[0-9]*[1-9][0-9]*|snapshot-[1-9][0-9]*"
"""Regular expression of all teachers (constraint of the wildcard)."""
FORMS = (FIXED, "ema-RATE (0 < RATE < 1)", "snapshot-STEPS")
"""The allowed forms, as error messages show them."""


def is_teacher(name: str) -> bool:
    """Return whether a name is that of a teacher."""
    return re.fullmatch(PATTERN, name) is not None


def update_rate(teacher: str) -> float:
    """Return the rate at which a teacher follows the student (0 for `fixed`, 1 for a snapshot); raise ValueError for an unknown
    name.
    """
    if not is_teacher(teacher):
        raise ValueError(f"unknown teacher {teacher!r}; allowed: {', '.join(FORMS)}")
    if teacher.startswith(SNAPSHOT):
        return 1.0
    return 0.0 if teacher == FIXED else float(teacher.removeprefix("ema-"))


def updates_between(teacher: str, updates_per_step: int) -> int:
    """Return the optimizer updates after which a teacher follows the student each time."""
    steps = teacher.removeprefix(SNAPSHOT)
    return int(steps) * updates_per_step if steps != teacher else 1


def label(teacher: str) -> str:
    """Return the label of a moving teacher in figures.

    >>> label("ema-0.05"), label("snapshot-10")
    ('EMA 0.05', 'snapshot 10')
    """
    return teacher.replace("ema-", "EMA ").replace(SNAPSHOT, "snapshot ")
