"""The schema of config/recommendations.yaml: what to do in a situation, by the verdicts on the claims that it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from selfdistill.claims.ledger import Ledger
from selfdistill.claims.verdicts import NOT_REPRODUCED, REPRODUCED
from selfdistill.study.fields import Section
from selfdistill.study.yaml import read_yaml, reject, validated


class Recommendation(Section):
    """What to do if all that it rests on is reproduced, if something is not reproduced, and while it is open.

    rests_on: claims or clauses; a claim stands for its clauses. of: what it is about, if the text does not say so.
    """

    rests_on: list[str] = Field(min_length=1)
    holds: str
    fails: str
    open: str
    of: str = ""

    def text(self, verdicts: Iterable[str]) -> str:
        """Return the advice for the verdicts on the clauses that it rests on."""
        found = set(verdicts)
        said = self.fails if NOT_REPRODUCED in found else self.holds if found == {REPRODUCED} else self.open
        return f"{self.of}: {said[0].lower()}{said[1:]}" if self.of else said


class Situation(Section):
    """What a practitioner has at hand, and what to do."""

    title: str
    advice: list[Recommendation] = Field(min_length=1)


class Recommendations(Section):
    """The whole file. unknown: what no study answers yet."""

    situations: list[Situation] = Field(min_length=1)
    unknown: list[str]


def clause_names(ledgers: Iterable[Ledger]) -> dict[str, list[str]]:
    """Return claim -> names of its clauses (`C7a`, `C7b`; `C5` for a claim without), of all files of claims."""
    return {
        name: [name + clause for clause in claim.clauses or [""]]
        for ledger in ledgers
        for name, claim in ledger.claims.items()
    }


def load_recommendations(path: str | Path, clauses: Mapping[str, Sequence[str]]) -> Recommendations:
    """Return the checked file; raise StudyError with the file, the key and the allowed values.

    clauses: of `clause_names`; what an advice rests on is a claim of theirs, or a clause of one.
    """
    path = Path(path)
    found = validated(Recommendations, read_yaml(path), path)
    allowed = sorted({*clauses, *(one for own in clauses.values() for one in own)})
    for place, situation in enumerate(found.situations):
        for index, advice in enumerate(situation.advice):
            for name in advice.rests_on:
                if name not in allowed:
                    key = f"situations.{place}.advice.{index}.rests_on"
                    reject(path, key, f"unknown claim or clause {name!r}", allowed, name)
    return found
