"""docs/recommendations.md: every advice with the verdicts and effects that it rests on, from the published ledgers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from selfdistill.claims.elsewhere import readings_text
from selfdistill.claims.recommendations import Recommendation, Recommendations
from selfdistill.claims.verdicts import NOT_RUN
from selfdistill.report.claims_page import effect_text, verdict_text
from selfdistill.report.deciding import leading_part
from selfdistill.report.forest import Record, row_of


class Evidence(NamedTuple):
    """The verdict on a clause, and what it rests on in words; place: page and anchor of its claim."""

    verdict: str
    text: str = ""
    place: str = ""


def evidence_of(records: Mapping[str, Record]) -> dict[str, Evidence]:
    """Return name of a clause (`C7a`; `C5` for a claim without) -> its evidence; records: page of a ledger -> its record."""
    return {
        claim["name"] + clause["name"]: Evidence(
            clause["verdict"], measured(claim, clause), f"{page}#{claim['name'].lower()}"
        )
        for page, record in records.items()
        for claim in record["claims"]
        for clause in claim["clauses"]
    }


def measured(claim: Record, clause: Record) -> str:
    """Return the effect that decides a clause, of which models and benchmark, and how many measurements of others are for and against it."""
    part = leading_part([one for one in claim["parts"] if one["clause"] == clause["name"]], clause["verdict"])
    effect = f"{row_of(claim, part).name}: {effect_text(part)}" if part else clause["reason"]
    others = readings_text([one for one in claim["elsewhere"] if one["clause"] == clause["name"]])
    return effect + (f"; elsewhere {others}" if others else "")


def advice_lines(
    advice: Recommendation, clauses: Mapping[str, Sequence[str]], evidence: Mapping[str, Evidence]
) -> list[str]:
    """Return an advice as an item of a list, with one item for each clause that it rests on."""
    names = [one for name in advice.rests_on for one in clauses.get(name, [name])]
    known = {name: evidence.get(name, Evidence(NOT_RUN)) for name in names}
    lines = [f"- **{advice.text(one.verdict for one in known.values())}**"]
    for name, one in known.items():
        link = f"[{name}]({one.place})" if one.place else name
        lines.append(f"    - {link} {verdict_text(one.verdict)}" + (f": {one.text}" if one.text else ""))
    return lines


def recommendations_text(
    found: Recommendations, clauses: Mapping[str, Sequence[str]], records: Mapping[str, Record]
) -> str:
    """Return the page's body in Markdown.

    clauses: claim -> its clauses (`claims.recommendations.clause_names`); records: page of a ledger -> its record.
    """
    evidence = evidence_of(records)
    lines = []
    for situation in found.situations:
        lines += [f"## {situation.title}", ""]
        for advice in situation.advice:
            lines += advice_lines(advice, clauses, evidence)
        lines.append("")
    lines += ["## What remains unknown at scale", "", *(f"- {text}" for text in found.unknown)]
    return "\n".join(lines)
