"""How responses are drawn and evaluated: sections `benchmarks`, `section_3` and `off_policy` of a study file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from selfdistill.study.fields import Name, Positive, Section
from selfdistill.vocabulary.contexts import SECTION_3


def above_zero(value: float) -> float:
    """A temperature; 0 would divide by zero, so the message names what gives the likeliest token."""
    if value <= 0:
        raise ValueError("must be above 0 (`top_k: 1` gives the likeliest token)")
    return value


Temperature = Annotated[float, AfterValidator(above_zero)]


class SamplingSettings(Section):
    """How responses are drawn, in section 3 and in evaluation."""

    temperature: Temperature = Field(description="temperature; for the likeliest token write `top_k: 1`")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus mass")
    top_k: int = Field(default=0, ge=0, description="top-k cut; 0 switches it off")
    max_new_tokens: Positive = Field(description="longest response in tokens")


class BenchmarkSettings(SamplingSettings):
    """Evaluation: every checkpoint on every benchmark."""

    names: list[str] = Field(min_length=1, description="keys of benchmarks.yaml, in display order")
    problems: Positive | None = Field(
        default=None, description="problems a benchmark; null for all that it has"
    )
    samples: Positive = Field(description="k of avg@k: responses a problem")
    also: dict[Name, list[str]] = Field(
        default={},
        description="training set: benchmarks that its runs and the bases of their models are evaluated on too; "
        "no part of figures, tables and the OOD mean",
    )
    headline: list[str] = Field(
        default=[], max_length=2, description="the two benchmarks of the panels (b) and (c) of Figs. 3 and 4"
    )


class Section3Settings(Section):
    """Section 3: the same problems under several contexts."""

    models: list[str] = Field(min_length=1, description="models")
    dataset: str = Field(description="training set that the problems are drawn from")

    problems: Positive = Field(description="problems kept")
    samples: Positive = Field(description="responses a problem and context")
    solve_rate: list[Positive] = Field(
        min_length=2, max_length=2, description="keep problems solved [lowest, highest] times of `samples`"
    )
    pool: Positive = Field(description="problems tried at most")
    batch: Positive = Field(default=64, description="problems tried at a time")

    max_new_tokens: Positive | None = Field(
        default=None, description="longest response where it differs from the benchmarks'"
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="top-k cut where it differs from the benchmarks'"
    )

    @model_validator(mode="after")
    def _bounds(self) -> "Section3Settings":
        low, high = self.solve_rate
        if not low <= high <= self.samples:
            raise ValueError(
                f"solve_rate {self.solve_rate} must be [lowest, highest] within 1 to samples ({self.samples})"
            )
        if self.pool < self.problems:
            raise ValueError(f"pool ({self.pool}) must be at least problems ({self.problems})")
        return self


class OffPolicySettings(Section):
    """Section 4: the model's own correct responses, as many on the same problems for each context."""

    contexts: list[Literal[SECTION_3]] = Field(
        min_length=1, description="contexts under which the responses were written in section 3"
    )
    trajectories: Positive = Field(description="examples at most")
    per_problem: Positive = Field(default=1, description="examples a problem at most")
