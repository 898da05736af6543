"""The schema of config/elsewhere.yaml: what others have measured since, with its reading for each claim. It enters no verdict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from selfdistill.claims.ledger import Ledger
from selfdistill.study.fields import Section
from selfdistill.study.yaml import read_yaml, reject, validated
from selfdistill.vocabulary.marks import ELSEWHERE_MARKS

Level = float | Annotated[list[float], Field(min_length=2, max_length=2)] | None
"""One number, or the smallest and largest of several."""
READINGS = {"supports": "for", "against": "against", "mixed": "mixed", "silent": "silent"}
"""Reading of a measurement -> its short form for readers."""
LEVELS = {"base": "base", "self_distillation": "self-distillation", "grpo": "GRPO"}


class Measurement(Section):
    """One measurement of others. readings: claim or clause -> what it means for it."""

    who: str
    source: Annotated[str, Field(pattern=r"^(\d{4}\.\d{5}|[\w.-]+/[\w.-]+(#\d+)?)$")]
    model: str
    setting: str
    benchmark: str
    quantity: str
    base: Level = None
    self_distillation: Level = None
    grpo: Level = None
    mark: Literal[(*ELSEWHERE_MARKS,)]
    readings: dict[str, Literal[(*READINGS,)]] = Field(min_length=1)
    note: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> "Measurement":
        if self.self_distillation is None and not self.note:
            raise ValueError("`self_distillation` or a `note` must be given")
        for name in LEVELS:
            level = getattr(self, name)
            if isinstance(level, list) and level != sorted(level):
                raise ValueError(f"`{name}` must be [smallest, largest], not {level}")
        return self

    @property
    def link(self) -> str:
        """Return the address of the source."""
        if "/" not in self.source:
            return f"https://arxiv.org/abs/{self.source}"
        return f"https://github.com/{self.source.replace('#', '/issues/')}"

    @property
    def text(self) -> str:
        """Return what was measured and found, with its mark, in one line."""
        levels = ((label, getattr(self, name)) for name, label in LEVELS.items())
        numbers = ", ".join(f"{label} {level_text(level)}" for label, level in levels if level is not None)
        found = f": {numbers}" if numbers else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.model}, {self.setting}; {self.benchmark}, {self.quantity}{found}{note} [{self.mark}]"


class Elsewhere(Section):
    """The whole of config/elsewhere.yaml."""

    entries: list[Measurement]

    def of_claim(self, claim: str) -> list[dict[str, str]]:
        """Return the readings for a claim and its clauses: clause, reading, who, text, source and link of each."""
        return [
            {"clause": place.removeprefix(claim), "reading": reading, "who": one.who, "text": one.text}
            | {"source": one.source, "link": one.link}
            for one in self.entries
            for place, reading in one.readings.items()
            if place.rstrip("abcdefghijklmnopqrstuvwxyz") == claim
        ]


def level_text(level: float | Sequence[float]) -> str:
    """Return a level for readers: `51.9`, or `60.9 to 62.3`."""
    return f"{level:g}" if isinstance(level, float | int) else " to ".join(f"{one:g}" for one in level)


def readings_text(readings: Sequence[Mapping[str, Any]]) -> str:
    """Return how many readings are for and against a claim: `2 for, 1 against`; `""` for none."""
    counts = Counter(one["reading"] for one in readings)
    return ", ".join(f"{counts[name]} {short}" for name, short in READINGS.items() if counts[name])


def load_elsewhere(path: str | Path, ledger: Ledger | None = None) -> Elsewhere:
    """Return the checked file; raise StudyError with the file, the key and the allowed values.

    ledger: if given, a reading must name one of its claims; where the claim has clauses, one of them.
    """
    path = Path(path)
    elsewhere = validated(Elsewhere, read_yaml(path), path)
    if ledger is None:
        return elsewhere
    allowed = [name + clause for name, claim in ledger.claims.items() for clause in claim.clauses or [""]]
    for index, entry in enumerate(elsewhere.entries):
        for place in entry.readings:
            if place not in allowed:
                reject(
                    path, f"entries.{index}.readings", f"unknown claim or clause {place!r}", allowed, place
                )
    return elsewhere
