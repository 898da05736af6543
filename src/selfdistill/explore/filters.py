"""Filters of runs and rows, and the error for what is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from selfdistill.vocabulary.runs import RUN_FIELDS, Run


class ResultsError(LookupError):
    """Results that are not there: names what is missing, what is there, and the command that makes it."""


def as_values(value: Any) -> list[Any]:
    """Return a filter's value or values as a list."""
    return list(value) if isinstance(value, list | tuple | set) else [value]


def split_filters(filters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return filters that choose runs, and those that choose rows."""
    of_runs = {name: value for name, value in filters.items() if name in (*RUN_FIELDS, "experiment")}
    return of_runs, {name: value for name, value in filters.items() if name not in of_runs}


def filter_rows(
    frame: pd.DataFrame, what: str, filters: Mapping[str, Any], allowed: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the rows that have the filters' values.

    Raises ResultsError for an unknown column, and where nothing is left: the column at which the last row
    went, with the values that it had before.
    """
    names = list(allowed) if allowed is not None else list(frame.columns)
    for name, value in filters.items():
        if name not in names:
            raise ResultsError(f"no filter {name!r}; there are: {', '.join(names)}")
        chosen = frame[frame[name].isin(as_values(value))]
        if chosen.empty:
            there = ", ".join(sorted(str(other) for other in frame[name].unique())[:20])
            earlier = list(filters)[: list(filters).index(name)]
            after = (
                " with " + ", ".join(f"{other}={filters[other]!r}" for other in earlier) if earlier else ""
            )
            raise ResultsError(f"no {what} has {name}={value!r}; the {what}s{after} have: {there}")
        frame = chosen
    return frame.reset_index(drop=True)


def as_runs(frame: pd.DataFrame) -> list[Run]:
    """Return the runs of a frame that has the run fields."""
    rows = frame[list(RUN_FIELDS)].drop_duplicates().to_dict("records")
    return [Run.from_fields(row) for row in rows]
