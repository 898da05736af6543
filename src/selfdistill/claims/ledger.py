"""The schema of a file of claims, such as config/claims.yaml. The head of that file states the rule from which all verdicts follow."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from selfdistill.study.displays import FIGURES, TABLES
from selfdistill.study.fields import Section
from selfdistill.study.methods import METHODS
from selfdistill.study.study import Study
from selfdistill.study.yaml import read_yaml, reject, validated
from selfdistill.vocabulary.interventions import FORCE, INTERVENTIONS, NONE
from selfdistill.vocabulary.roles import ROLES
from selfdistill.vocabulary.runs import BASE, SECTION_3
from selfdistill.vocabulary.words import SUBSTRING_COLUMNS

Role = Literal[ROLES]
TRAINING, WHOLE_TRAINING = "training", "whole-training"
ROLLOUTS = (TRAINING, WHOLE_TRAINING)
"""Benchmarks of the claims file that are rollouts: of the last steps of a training, of all its steps."""
NOT_EVALUATED = (SECTION_3, *ROLLOUTS)
"""Benchmarks of the claims file whose responses are not those of an evaluation."""
Benchmark = Literal[("aime24", "amc23", "narrow", "in-domain", "ood", "each", *NOT_EVALUATED)]
SHIFTS = ("shift_epistemic", "shift_other")
"""Metrics: how far training moves the frequency of an epistemic word, and of another word."""
Metric = Literal[
    (
        *("accuracy", "pass@k", "response_tokens"),
        *("epistemic_substring", "epistemic_word", "epistemic_per_1000_tokens"),
        *SHIFTS,
        *SUBSTRING_COLUMNS,
    )
]
Share = Annotated[float, Field(gt=0, le=1)]


def is_own(name: str) -> bool:
    """Return whether a claim, or the claim of a clause, is an extension of this study (`X1`, `X1a`), not one of the paper's (`C1`)."""
    return name.startswith("X")


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
    metric: Metric | None = None
    step: Share = 1.0
    intervention: Literal[(NONE, *INTERVENTIONS)] = NONE

    @model_validator(mode="after")
    def _fields(self) -> "ArmSpec":
        if (self.method == BASE) != (self.experiment is None):
            raise ValueError("`experiment` must be given for a trained arm and omitted for the base")
        if (self.method, self.intervention) == (BASE, FORCE):
            raise ValueError("a base cannot be forced to the words that it writes itself")
        return self

    def run(self) -> dict[str, str]:
        """Return the fields of a trained arm that select its run in a model."""
        fields = {"experiment", "method", "context", "teacher", "dataset", "coverage", "variant"}
        return METHODS[self.method].defaults() | self.model_dump(include=fields, exclude_none=True)


def listed(arms: ArmSpec | list[ArmSpec]) -> list[ArmSpec]:
    """Return one arm or several as a list."""
    return arms if isinstance(arms, list) else [arms]


class Divisor(Section):
    """What the effect of a part is a share of."""

    plus: ArmSpec | list[ArmSpec]
    minus: ArmSpec | list[ArmSpec] = []


class PartSpec(Section):
    """One test of a claim: the bounds within which an effect should lie, and the smallest effect of interest beyond."""

    name: str
    clause: str = ""
    metrics: list[Metric] = Field(min_length=1)
    benchmark: Benchmark
    plus: ArmSpec | list[ArmSpec]
    minus: ArmSpec | list[ArmSpec] = []
    share_of: Divisor | None = None
    relative: bool = False
    above: float | None = None
    below: float | None = None
    margin: float = Field(default=0.0, ge=0)
    counts: bool = True
    models: list[Role] = []
    also: list[Role] = []

    @model_validator(mode="after")
    def _bounds(self) -> "PartSpec":
        if self.above is None and self.below is None:
            raise ValueError("`above`, `below` or both must be given")
        if None not in (self.above, self.below) and not self.above < self.below:
            raise ValueError(f"`above` ({self.above}) must be smaller than `below` ({self.below})")
        if None not in (self.above, self.below) and self.margin:
            raise ValueError("`margin` must be omitted if both bounds are given: they are the margins")
        if self.relative and (len(listed(self.plus)), len(listed(self.minus))) != (1, 1):
            raise ValueError("a relative effect must have one `plus` and one `minus` arm")
        if self.relative and self.share_of:
            raise ValueError("`relative` and `share_of` must not be given together")
        return self

    @model_validator(mode="after")
    def _interventions(self) -> "PartSpec":
        for arm, *_ in self.weighted():
            plain = (arm.benchmark or self.benchmark) in NOT_EVALUATED or arm.step != 1
            if arm.intervention != NONE and plain:
                raise ValueError("an `intervention` needs a benchmark of evaluations and the last step")
        return self

    @model_validator(mode="after")
    def _shifts(self) -> "PartSpec":
        for arm, *_ in self.weighted() if set(self.metrics) & set(SHIFTS) else ():
            many = (arm.benchmark or self.benchmark) in (*NOT_EVALUATED, "ood")
            if many or arm.step != 1 or arm.intervention != NONE:
                raise ValueError(
                    f"{' and '.join(SHIFTS)} are measured on one benchmark, at the last step, without an `intervention`"
                )
        return self

    def weighted(self) -> list[tuple[ArmSpec, float, float]]:
        """Return the arms, each with its weight in the effect and in what that is divided by."""
        arms = [(arm, 1.0, 0.0) for arm in listed(self.plus)]
        arms += [(arm, -1.0, float(self.relative)) for arm in listed(self.minus)]
        if self.share_of:
            arms += [(arm, 0.0, 1.0) for arm in listed(self.share_of.plus)]
            arms += [(arm, 0.0, -1.0) for arm in listed(self.share_of.minus)]
        return arms


class ClaimSpec(Section):
    """One claim of the paper, or an extension of this study."""

    statement: str
    place: str
    reported: str = ""
    family: str
    figure: Literal[(*FIGURES, *TABLES)] | None = None
    models: list[Role] = []
    also: list[Role] = []
    average: bool = False
    clauses: dict[Annotated[str, Field(pattern=r"^[a-z]$")], str] = {}
    parts: list[PartSpec] = []
    not_run: str = ""

    @model_validator(mode="after")
    def _parts(self) -> "ClaimSpec":
        if bool(self.parts) == bool(self.not_run):
            raise ValueError("either `parts` or `not_run` (the reason) must be given")
        allowed = list(self.clauses) or [""]
        if unknown := [part.clause for part in self.parts if part.clause not in allowed]:
            raise ValueError(f"unknown clause {unknown[0]!r}; allowed: {', '.join(map(repr, allowed))}")
        counted = {part.clause for part in self.parts if part.counts}
        if self.parts and (idle := [clause for clause in allowed if clause not in counted]):
            raise ValueError(f"clause {idle[0]!r} has no part that counts")
        return self

    def models_of(self, part: PartSpec) -> list[tuple[tuple[Role, ...], bool]]:
        """Return the roles that a part is tested in, together or one by one, each with whether it counts; () if the arms name theirs.

        With `average` the mean over the models counts, and each of them is shown.
        """
        own = part.models or self.models
        wanted = [((model,), part.counts) for model in own]
        if self.average and len(own) > 1:
            wanted = [(tuple(own), part.counts)] + [((model,), False) for model in own]
        wanted += [((model,), False) for model in part.also or ([] if part.models else self.also)]
        return wanted or [((), part.counts)]


class Ledger(Section):
    """A whole file of claims."""

    alpha: float = Field(gt=0, lt=1)
    families: dict[str, str]
    margins: dict[str, float] = {}
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
            if claim.models_of(part)[0][0] == () and any(arm.model is None for arm, *_ in part.weighted()):
                reject(
                    path,
                    f"claims.{name}.parts.{index}",
                    "`models` must be given unless every arm has a `model`",
                    ROLES,
                )
    check_shifts(path, ledger)
    return ledger


def check_shifts(path: Path, ledger: Ledger) -> None:
    """Raise StudyError if the parts measure the word shifts of two trained runs of a model: each would sign the base's words its own way."""
    first: dict[Role, tuple[dict[str, str], str]] = {}
    parts = {
        f"claims.{name}.parts.{index}": (claim, part)
        for name, claim in ledger.claims.items()
        for index, part in enumerate(claim.parts)
        if SHIFTS[0] in part.metrics
    }
    for key, (claim, part) in parts.items():
        roles = {role for together, _ in claim.models_of(part) for role in together}
        for run, role in ((arm.run(), arm.model) for arm, *_ in part.weighted() if arm.method != BASE):
            for model in sorted([role] if role else roles):
                known, place = first.setdefault(model, (run, key))
                if known != run:
                    problem = f"`{SHIFTS[0]}` of {model} must be of one trained run, {place} has another"
                    reject(path, key, problem)


def ledger_of(study: Study) -> Ledger:
    """Return the claims that a study is judged by; raise StudyError as `load_ledger` does, and if it names no file of its folder."""
    if not study.ledger.is_file():
        names = sorted(path.name for path in study.ledger.parent.glob("claims*.yaml"))
        reject(study.path, "claims", f"no such file: {study.ledger}", names, study.file.claims)
    return load_ledger(study.ledger)
