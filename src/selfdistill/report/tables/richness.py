"""The table of measured richness: nats that each context tells about the base's own correct responses, and where."""

from __future__ import annotations

import pandas as pd

from selfdistill.report.study_data import CONTEXTS, StudyData, as_cell, select
from selfdistill.report.style import CONTEXT_SYMBOLS
from selfdistill.report.tables.form import NO_VALUE, Entry, TableParts, counts_note, ours
from selfdistill.statistics.richness import AT


def richness_table(data: StudyData) -> TableParts:
    """Return nats per response, per token and per position class; y unguided, and in one column written under the context."""
    rows = []
    models = select(data.richness, "richness", metric="nats")["model"].unique()
    for model in data.ordered(models):
        for context in CONTEXTS[1:]:
            unguided = {"model": model, "context": context, "written": CONTEXTS[0]}
            row = {
                "Model": Entry(data.label(model)),
                "Context": Entry(f"{context} ({CONTEXT_SYMBOLS[context]})"),
                "Nats per response": entry(data.richness, "nats", 2, **unguided),
                "Nats per token": entry(data.richness, "nats_per_token", 3, **unguided),
            }
            for position, metric in AT.items():
                row[f"At {position}"] = entry(data.richness, metric, 2, **unguided)
            own = {**unguided, "written": context}
            rows.append({**row, "Own words: nats": entry(data.richness, "nats", 2, **own)})
    note = (
        "Mean of log p(y | x, c) - log p(y | x) in nats, y a correct response of the base to the question alone, in the last column one "
        "written under the context; without the response from which the context is made. Position classes add up to nats per response. "
        f"{counts_note(rows)}"
    )
    return rows, note


def entry(frame: pd.DataFrame, metric: str, digits: int, **fields: str) -> Entry:
    """Return one number of the estimates with its interval, or no value."""
    rows = frame[frame["metric"] == metric]
    for name, value in fields.items():
        rows = rows[rows[name] == value]
    return ours(as_cell(rows.iloc[0]), digits) if len(rows) else Entry(NO_VALUE)
