"""Which parts of a plan share trainings: in a study of several seeds of one base, their draws tell of the same runs."""

from collections.abc import Hashable, Sequence

from selfdistill.claims.selection import PlannedPart
from selfdistill.vocabulary.runs import BASE


def linked_runs(parts: Sequence[PlannedPart]) -> list[frozenset[Hashable] | None]:
    """Return, for each part, the runs that it has in common with others, directly or through further parts; None for a part of several bases."""
    linked: list[frozenset[Hashable]] = []
    for part in parts:
        if part.base:
            own = runs_of(part)
            touching = [runs for runs in linked if runs & own]
            linked = [*(runs for runs in linked if runs not in touching), own.union(*touching)]
    return [next(runs for runs in linked if runs_of(part) <= runs) if part.base else None for part in parts]


def runs_of(part: PlannedPart) -> frozenset[Hashable]:
    """Return the trained runs of a part, of which each draw is one training; all of its runs if none is trained."""
    trained = frozenset(tuple(arm.run.values()) for arm in part.arms if arm.run["method"] != BASE)
    return trained or frozenset(tuple(arm.run.values()) for arm in part.arms)
