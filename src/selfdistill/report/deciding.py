"""The effects that decide the claims and their clauses, each beside the paper's, which is computed by the same formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from selfdistill.claims.elsewhere import readings_text
from selfdistill.claims.verdicts import NOT_REPRODUCED
from selfdistill.report.forest import Kind, PaperNumber, Record, Row, members_of, row_of
from selfdistill.report.paper_numbers import (
    PaperLevels,
    levels_of,
    paper_levels,
    relative_change,
    roles_of,
)


def leading_part(parts: Sequence[Record], verdict: str) -> Record | None:
    """Return the part that decides a claim or clause: of those that count, the one that holds least; None if none has an effect.

    That is the one with the smallest p(against) if the verdict is `not reproduced`, else the largest p(for); without verdicts the first.
    """
    counted = [part for part in parts if part["counts"] and part["effect"] is not None]
    if verdict == NOT_REPRODUCED:
        judged = [part for part in counted if part["p_against"] is not None]
        return min(judged, key=lambda part: part["p_against"], default=None)
    return max(counted, key=lambda part: part["p_for"] or 0.0, default=None)


def paper_number(part: Record, kind: Kind, levels: PaperLevels) -> PaperNumber | None:
    """Return the effect of the paper's levels, by the formula of ours; None if its divisor is 0.

    The error is linearised in the levels, whose errors may add up.
    """
    arms = list(zip(part["arms"], levels.values, levels.errors, strict=True))
    divisor = sum(arm["over"] * level for arm, level, _ in arms)
    if not any(arm["over"] for arm in part["arms"]):
        divisor = 1.0
    if not divisor:
        return None
    value = sum(arm["weight"] * level for arm, level, _ in arms) / divisor
    error = sum(abs(arm["weight"] - value * arm["over"]) * half for arm, _, half in arms) / abs(divisor)
    return PaperNumber(value * kind.scale, error * kind.scale, levels.mark, part["model"], levels.benchmark)


def with_paper(
    row: Row, parts: Sequence[Record], reported: pd.DataFrame, levels: pd.DataFrame, roles: Mapping[str, str]
) -> Row:
    """Return a row with the paper's effects; a claim of our own has none. parts: its part, or those of the models of an average."""
    if row.own:
        return row
    found = [paper_number(part, row.kind, one) for part in parts for one in levels_of(part, levels, roles)]
    notes = [relative_change(part, reported, roles) for part in parts]
    known = tuple(one for one in found if one is not None)
    return replace(row, paper=known, note="; ".join(filter(None, notes)))


def deciding_rows(record: Record, reported: pd.DataFrame) -> dict[str, Row | str]:
    """Return name of a claim (`C5`) or of its clause (`C7a`) -> the row of the part that decides it, with its verdict and the paper's number.

    A clause that was not run has its reason instead. reported: config/reported.yaml as a frame.
    """
    levels, roles = paper_levels(reported), roles_of(record)
    rows: dict[str, Row | str] = {}
    for claim in record["claims"]:
        for clause in claim["clauses"]:
            name = claim["name"] + clause["name"]
            own = [part for part in claim["parts"] if part["clause"] == clause["name"]]
            part = leading_part(own, clause["verdict"])
            if part is None:
                rows[name] = clause["reason"]
                continue
            others = readings_text([one for one in claim["elsewhere"] if one["clause"] == clause["name"]])
            shown = {
                "claim": name,
                "verdict": clause["verdict"],
                "reason": clause["reason"],
                "elsewhere": others,
            }
            row = replace(row_of(claim, part), **shown)
            rows[name] = with_paper(row, members_of(claim, part) or [part], reported, levels, roles)
    return rows
