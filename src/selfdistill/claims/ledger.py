"""The typed claims file: what config/claims.yaml may say. Its head explains the rule; nothing else makes a verdict."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from selfdistill.study.displays import FIGURES, TABLES
from selfdistill.study.fields import Section
from selfdistill.study.methods import METHODS
from selfdistill.study.yaml import read_yaml, reject, validated
from selfdistill.vocabulary.roles import ROLES
from selfdistill.vocabulary.runs import BASE

Role = Literal[ROLES]
Benchmark = Literal["aime24", "amc23", "narrow", "in-domain", "ood", "each", "section-3", "training"]
Share = Annotated[float, Field(gt=0, le=1)]


class ArmSpec(Section):
    """Which run an effect is made of; what is left out is the method's default (see `Method.defaults`)."""

    method: Literal[(BASE, *METHODS)]
    experiment: str | None = None
    context: str | None = None
    teacher: str | None = None
    dataset: Literal["broad", "narrow"] = "broad"
    coverage: str = "full"
    variant: str | None = None
    model: Role | None = None
    benchmark: Benchmark | None = None
    step: Share = 1.0

    @model_validator(mode="after")
    def _experiment(self) -> "ArmSpec":
        if (self.method == BASE) != (self.experiment is None):
            raise ValueError("a trained arm names its experiment, and the base none")
        return self


class PartSpec(Section):
    """One test of a claim: where an effect is said to lie."""

    name: str
    metrics: list[str] = Field(min_length=1)
    benchmark: Benchmark
    plus: ArmSpec | list[ArmSpec]
    minus: ArmSpec | list[ArmSpec] = []
    relative: bool = False
    above: float | None = None
    below: float | None = None
    counts: bool = True
    models: list[Role] = []
    also: list[Role] = []

    @model_validator(mode="after")
    def _bounds(self) -> "PartSpec":
        if self.above is None and self.below is None:
            raise ValueError("needs `above`, `below` or both")
        if None not in (self.above, self.below) and not self.above < self.below:
            raise ValueError(f"above ({self.above}) must be smaller than below ({self.below})")
        if self.relative and (len(self.positive), len(self.negative)) != (1, 1):
            raise ValueError("a relative effect has one plus and one minus arm")
        return self

    @property
    def positive(self) -> list[ArmSpec]:
        """The arms that are added."""
        return self.plus if isinstance(self.plus, list) else [self.plus]

    @property
    def negative(self) -> list[ArmSpec]:
        """The arms that are subtracted."""
        return self.minus if isinstance(self.minus, list) else [self.minus]


class ClaimSpec(Section):
    """One claim of the paper (or of this study: extension)."""

    statement: str
    place: str
    reported: str = ""
    family: str
    figure: Literal[(*FIGURES, *TABLES)] | None = None
    models: list[Role] = []
    also: list[Role] = []
    parts: list[PartSpec] = []
    not_run: str = ""

    @model_validator(mode="after")
    def _parts(self) -> "ClaimSpec":
        if bool(self.parts) == bool(self.not_run):
            raise ValueError("needs `parts`, or the reason why it is `not_run`")
        return self

    def models_of(self, part: PartSpec) -> list[tuple[str | None, bool]]:
        """Settings that a part is tested in, each with whether it counts; (None, True) if its arms name their own."""
        wanted = [(model, part.counts) for model in part.models or self.models]
        wanted += [(model, False) for model in part.also or ([] if part.models else self.also)]
        return wanted or [(None, part.counts)]


class Ledger(Section):
    """config/claims.yaml."""

    alpha: float = Field(gt=0, lt=1)
    families: dict[str, str]
    arms: dict[str, ArmSpec] = {}
    claims: dict[Annotated[str, Field(pattern=r"^[CX][1-9][0-9]*$")], ClaimSpec]


def load_ledger(path: str | Path) -> Ledger:
    """Read and check a claims file; raises StudyError with the file, the key and what is allowed."""
    path = Path(path)
    ledger = validated(Ledger, read_yaml(path), path)
    for name, claim in ledger.claims.items():
        if claim.family not in ledger.families:
            reject(
                path,
                f"claims.{name}.family",
                f"{claim.family!r} is not declared",
                ledger.families,
                claim.family,
            )
        for index, part in enumerate(claim.parts):
            arms = [*part.positive, *part.negative]
            if claim.models_of(part)[0][0] is None and any(arm.model is None for arm in arms):
                reject(
                    path,
                    f"claims.{name}.parts.{index}",
                    "names no models, and not every arm names its own",
                    ROLES,
                )
    return ledger
