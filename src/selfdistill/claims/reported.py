"""The schema of config/reported.yaml: the numbers that the paper reports, each with how well it is known. They enter no verdict."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from selfdistill.study.displays import FIGURES, TABLES
from selfdistill.study.fields import Section
from selfdistill.study.methods import METHODS
from selfdistill.study.yaml import known, read_yaml, validated
from selfdistill.vocabulary.contexts import CONTEXTS, NONE
from selfdistill.vocabulary.marks import MARKS
from selfdistill.vocabulary.runs import BASE
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

NOT_DRAWN = ("figure17",)
"""Figures of the paper of which numbers are known and that this project does not draw; the report lists them at the end of its figures."""
PLACES = (*FIGURES, *TABLES, *NOT_DRAWN)


class Measure(NamedTuple):
    """What a quantity of reported.yaml measures: the metric, its scale, the place in training (0: start, 1: end), the benchmark."""

    metric: str
    scale: float = 1.0
    at: float = 1.0
    benchmark: str = ""


UNKNOWN = "unknown benchmark"
"""Benchmark of a level of which the paper does not say on which problems it was measured."""
MEASURES = {
    "score": Measure("accuracy"),
    "accuracy": Measure("accuracy", 0.01),
    "acc@16": Measure("accuracy"),
    "acc@16 at start": Measure("accuracy", at=0.0),
    "acc@16 at end": Measure("accuracy"),
    "acc@16 (%) at start": Measure("accuracy", 0.01, 0.0),
    "acc@16 (%) at end": Measure("accuracy", 0.01),
    "acc@16 (%) at end, about": Measure("accuracy", 0.01),
    "avg@16 (%)": Measure("accuracy", 0.01),
    "avg@16 (%), best within 5 h": Measure("accuracy", 0.01),
    "training score": Measure("accuracy", benchmark="training"),
    "training score, start and end": Measure("accuracy", benchmark="training"),
    "length": Measure("response_tokens"),
    "length (tokens)": Measure("response_tokens"),
    "length (tokens), start and end": Measure("response_tokens"),
    # the panel of GRPO may not show the quantity that the panel of SDPO shows (docs/paper.md, Fig. 7): compared with itself only
    "length (tokens) at end, about": Measure("response_tokens", benchmark=UNKNOWN),
    "epistemic": Measure("epistemic_substring"),
    "count per response": Measure("substring"),
}
"""Quantities of reported.yaml that are a level of one arm; changes, shifts and sizes of data sets are not."""
NOT_LEVELS = (
    *("relative change (%)", "relative change (%), about", "change (points), about"),
    *("change in count per response", "change in count per response, about"),
    *("mean shift of the epistemic words", "mean absolute shift of other words"),
    *("length (tokens), about", "accuracy and length"),
    *("questions", "types", "relation"),
)
"""All other quantities of reported.yaml."""


class ReportedEntry(Section):
    """One number, curve (`steps`, `values`), count per word or statement of the paper.

    place: the display of ours beside which it is shown; paper: the place in the paper; value: None if it is unknown; error: half width.
    """

    place: str
    paper: str
    quantity: str
    mark: Literal[(*MARKS,)]
    dataset: str = ""
    model: str = ""
    method: Literal[(BASE, *METHODS)] | None = None
    context: Literal[(NONE, *CONTEXTS)] | None = None
    teacher: str | None = None
    coverage: str | None = None
    benchmark: str | None = None
    value: float | None = None
    error: Annotated[float, Field(ge=0)] = 0.0
    steps: list[int] = []
    values: list[float] = []
    words: dict[Literal[EPISTEMIC_WORDS], float] = {}
    text: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> "ReportedEntry":
        if not self.model_fields_set & {"value", "steps", "words", "text"}:
            raise ValueError("`value`, `steps`, `words` or `text` must be given")
        if len(self.steps) != len(self.values):
            raise ValueError(f"{len(self.steps)} `steps` must have as many `values`, not {len(self.values)}")
        return self


class Reported(Section):
    """The whole of config/reported.yaml; marks: what each mark means, for its readers."""

    marks: dict[Literal[(*MARKS,)], str] = {}
    entries: list[ReportedEntry]


def reported_entries(path: str | Path) -> list[ReportedEntry]:
    """Return the checked entries of the file; raise StudyError with the file, the key and the allowed values."""
    path = Path(path)
    entries = validated(Reported, read_yaml(path), path).entries
    for index, entry in enumerate(entries):
        known(path, f"entries.{index}.place", [entry.place], PLACES)
        known(path, f"entries.{index}.quantity", [entry.quantity], (*MEASURES, *NOT_LEVELS))
    return entries
