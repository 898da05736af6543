"""Measured richness: nats that a context tells about the model's own correct responses, with intervals over problems."""

import pandas as pd

from selfdistill.statistics.groups import estimates
from selfdistill.vocabulary.runs import DRAW, SECTION_3
from selfdistill.vocabulary.token_classes import POSITIONS

AT = {position: f"nats_{position}" for position in POSITIONS}
"""Position class -> metric: nats per response at its tokens of that class; the classes add up to `nats`."""
RICHNESS_METRICS = ("nats", "nats_per_token", *AT.values())
RICHNESS_GROUP = ("model", "context", "written")


def richness_estimates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the richness of every context: means per response and per token, and what of them is at each position class.

    rows: records.schemas.richness_schema. Columns: RICHNESS_GROUP, metric, estimate, low, high and counts, as `statistics.estimates`. The
    responses from which the contexts are made are left out, and so is a problem without another correct response; empty if nothing is left.
    """
    others = rows[~rows["source"]] if len(rows) else rows
    return (
        estimates(responses_of(others), RICHNESS_GROUP, RICHNESS_METRICS) if len(others) else pd.DataFrame()
    )


def responses_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per response and context: its keys, tokens, nats, and nats at each position class (0 where it has none)."""
    keys = [*RICHNESS_GROUP, *DRAW, "problem_id", "sample_index"]
    totals = rows.groupby(keys, observed=True)[["tokens", "nats"]].sum()
    at = rows.pivot_table("nats", keys, "position", aggfunc="sum", fill_value=0.0, observed=True)
    at = at.reindex(columns=POSITIONS, fill_value=0.0).rename(columns=AT)
    return totals.join(at).reset_index().assign(benchmark=SECTION_3)
