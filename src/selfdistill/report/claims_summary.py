"""The ledger in three sentences and in counts."""

from selfdistill.claims.ledger import is_own
from selfdistill.claims.verdicts import (
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    VERDICTS,
)
from selfdistill.report.forest import Record


def claims_counted(record: Record) -> list[Record]:
    """Return the paper's claims, or the study's own if it has none of these."""
    return [one for one in record["claims"] if not is_own(one["name"])] or record["claims"]


def summary_sentences(record: Record) -> list[str]:
    """Return three sentences from the ledger: how many claims hold, which do not, what was not run or stays open."""
    claims = claims_counted(record)
    whose = "the study's own" if is_own(claims[0]["name"]) else "the paper's"
    names = {
        verdict: [claim["name"] for claim in claims if claim["verdict"] == verdict] for verdict in VERDICTS
    }
    tested = len(claims) - len(names[NOT_RUN])

    def listed(verdict: str) -> str:
        found = ", ".join(names[verdict])
        return f"{len(names[verdict])}" + (f" ({found})" if found else "")

    if tested and len(names[NO_VERDICT]) == tested:
        return [
            f"Of {whose} {len(claims)} claims this study shows the effects of {tested}.",
            "It has one replicate, so there is no verdict: a base and a training are one draw, and another may differ.",
            f"Not run: {listed(NOT_RUN)}.",
        ]
    single = f" no verdict: {listed(NO_VERDICT)};" if names[NO_VERDICT] else ""
    return [
        f"Of {whose} {len(claims)} claims this study tests {tested}, and {listed(REPRODUCED)} are reproduced; in part: {listed(PARTLY)}.",
        f"Not reproduced: {listed(NOT_REPRODUCED)}; their effects lie outside of what is claimed, or are too small to be of interest.",
        f"Inconclusive at this number of problems and replicates: {listed(INCONCLUSIVE)};{single} not run: {listed(NOT_RUN)}.",
    ]


def counts_of(record: Record) -> dict[str, int]:
    """Return how many claims have each verdict: of the paper's, or of the study's own if it has none of these."""
    found = [claim["verdict"] for claim in claims_counted(record)]
    return {verdict: found.count(verdict) for verdict in VERDICTS}
