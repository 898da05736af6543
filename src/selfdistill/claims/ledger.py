"""The schema of config/claims.yaml. The head of that file states the rule from which all verdicts follow."""

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
    """Which run an effect uses; omitted fields have the method's defaults (`Method.defaults`)."""

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
            raise ValueError("`experiment` must be given for a trained arm and omitted for the base")
        return self


class PartSpec(Section):
    """One test of a claim: the bounds within which an effect should lie."""

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
            raise ValueError("`above`, `below` or both must be given")
        if None not in (self.above, self.below) and not self.above < self.below:
            raise ValueError(f"`above` ({self.above}) must be smaller than `below` ({self.below})")
        if self.relative and (len(self.positive), len(self.negative)) != (1, 1):
            raise ValueError("a relative effect must have one `plus` and one `minus` arm")
        return self

    @property
    def positive(self) -> list[ArmSpec]:
        """Return the arms that are added."""
        return self.plus if isinstance(self.plus, list) else [self.plus]

    @property
    def negative(self) -> list[ArmSpec]:
        """Return the arms that are subtracted."""
        return self.minus if isinstance(self.minus, list) else [self.minus]


class ClaimSpec(Section):
    """One claim of the paper, or an extension of this study."""

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
            raise ValueError("either `parts` or `not_run` (the reason) must be given")
        return self

    def models_of(self, part: PartSpec) -> list[tuple[str | None, bool]]:
        """Return the roles in which a part is tested, each with whether it counts; a role is None if the arms name theirs."""
        wanted = [(model, part.counts) for model in part.models or self.models]
        wanted += [(model, False) for model in part.also or ([] if part.models else self.also)]
        return wanted or [(None, part.counts)]


class Ledger(Section):
    """The whole of config/claims.yaml."""

    alpha: float = Field(gt=0, lt=1)
    families: dict[str, str]
    arms: dict[str, ArmSpec] = {}
    claims: dict[Annotated[str, Field(pattern=r"^[CX][1-9][0-9]*$")], ClaimSpec]


def load_ledger(path: str | Path) -> Ledger:
    """Return the checked claims file; raise StudyError with the file, the key and the allowed values."""
    path = Path(path)
    ledger = validated(Ledger, read_yaml(path), path)
    for name, claim in ledger.claims.items():
        if claim.family not in ledger.families:
            reject(
                path,
                f"claims.{name}.family",
                f"unknown family {claim.family!r}",
                ledger.families,
                claim.family,
            )
        for index, part in enumerate(claim.parts):
            arms = [*part.positive, *part.negative]
            if claim.models_of(part)[0][0] is None and any(arm.model is None for arm in arms):
                reject(
                    path,
                    f"claims.{name}.parts.{index}",
                    "`models` must be given unless every arm has a `model`",
                    ROLES,
                )
    return ledger
