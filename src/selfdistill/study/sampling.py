"""How responses are drawn and evaluated: sections `benchmarks`, `section_3` and `off_policy` of a study file."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from selfdistill.study.fields import GraderName, Name, Positive, Section
from selfdistill.vocabulary.contexts import FURTHER, PAPER_CONTEXTS
from selfdistill.vocabulary.interventions import INTERVENTIONS


def above_zero(value: float) -> float:
    """A temperature; 0 would divide by zero, so the message names what gives the likeliest token."""
    if value <= 0:
        raise ValueError("must be above 0 (`top_k: 1` is greedy decoding)")
    return value


Temperature = Annotated[float, AfterValidator(above_zero)]


class SamplingSettings(Section):
    """How responses are drawn, in section 3 and in evaluation."""

    temperature: Temperature = Field(description="temperature; for greedy decoding write `top_k: 1`")
    top_p: float = Field(default=1.0, gt=0, le=1, description="probability mass of nucleus sampling")
    top_k: int = Field(default=0, ge=0, description="number of tokens to sample from (0: all)")
    max_new_tokens: Positive = Field(description="maximum response length in tokens")


class BenchmarkSettings(SamplingSettings):
    """Evaluation of checkpoints on benchmarks."""

    names: list[str] = Field(min_length=1, description="keys of benchmarks.yaml, in display order")
    problems: Positive | None = Field(default=None, description="problems per benchmark (null: all)")
    samples: Positive = Field(description="responses per problem, the k of avg@k")
    last_samples: Positive | None = Field(
        default=None,
        description="responses per problem of a base and after training (null: as many as at other checkpoints)",
    )
    also: dict[Name, list[str]] = Field(
        default={},
        description="training set: further benchmarks for its runs and their bases; "
        "not part of figures, tables and the OOD mean",
    )
    every_checkpoint: dict[Name, list[str]] = Field(
        default={},
        description="benchmark: experiments whose runs are evaluated on it at every checkpoint, other runs before and after "
        "training only ([]: all runs); every run at every checkpoint on a benchmark that is not named here",
    )
    grader: GraderName = Field(
        default="strict",
        description="grader of boxed answers (docs/grading.md), from which every number is made",
    )
    graders_beside: list[GraderName] = Field(
        default=[], description="other graders: what changes under each is shown beside (`snakemake regrade`)"
    )
    roles: dict[Literal["aime24", "amc23", "narrow"], Name] = Field(
        default={},
        description="benchmark of the paper's claims: the benchmark that stands for it (claims.yaml); of `aime24` and `amc23` "
        "the first is the one that is harder for the base models",
    )
    interventions: list[Literal[INTERVENTIONS]] = Field(
        default=[],
        description="interventions on the epistemic words, under which the runs of the table `interventions` and their bases are evaluated "
        "again after training (`ban`: never sampled, `force`: at each token at least as likely as under the base, `neutral`: another word "
        "is written in their place; vllm: `ban` only)",
    )
    headline: list[str] = Field(
        default=[],
        max_length=2,
        description="the benchmarks of panels (b) and (c) of Figs. 3 and 4; the last is that of Fig. 12",
    )

    def samples_at(self, last: bool) -> int:
        """Return the number of responses per problem at the last evaluated step of a run (a base has one), or at an earlier one."""
        return self.last_samples or self.samples if last else self.samples


class Selection(Section):
    """Problems that a model solves sometimes, with its responses to them."""

    problems: Positive = Field(description="number of problems to keep")
    samples: Positive = Field(description="responses per problem and context")
    solve_rate: list[Positive] = Field(
        min_length=2,
        max_length=2,
        description="number of correct responses, of `samples`, of the problems to keep: [lowest, highest]",
    )
    pool: Positive = Field(description="maximum number of problems to try")
    batch: Positive = Field(default=64, description="problems per batch")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        low, high = self.solve_rate
        if not low <= high <= self.samples:
            raise ValueError(
                f"solve_rate {self.solve_rate} must be [lowest, highest] within 1 to samples ({self.samples})"
            )
        if self.pool < self.problems:
            raise ValueError(f"pool ({self.pool}) must be at least problems ({self.problems})")
        return self


class Section3Settings(Selection):
    """Section 3: the same problems under several contexts."""

    models: list[str] = Field(min_length=1, description="keys of models.yaml")
    dataset: str = Field(description="training set that the problems are drawn from")
    max_new_tokens: Positive | None = Field(
        default=None, description="maximum response length in tokens (null: as in `benchmarks`)"
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="number of tokens to sample from (null: as in `benchmarks`; 0: all)"
    )
    further: list[Literal[FURTHER]] = Field(
        default=[], description="contexts under which problems are answered too, beside the paper's four"
    )

    @model_validator(mode="after")
    def _further(self) -> "Section3Settings":
        """Refuse contexts that some kept problem cannot have."""
        if len(set(self.further)) < len(self.further):
            raise ValueError(f"further {self.further} lists a context twice")
        if "wrong-solution" in self.further and self.solve_rate[1] == self.samples:
            raise ValueError(
                f"wrong-solution needs a wrong response: solve_rate {self.solve_rate} must end below samples ({self.samples})"
            )
        if "other-solution" in self.further and self.problems == 1:
            raise ValueError("other-solution needs problems of at least 2")
        return self


class OffPolicySettings(Section):
    """Section 4: the model's own correct responses, as many on the same problems for each context."""

    contexts: Annotated[list[Literal[PAPER_CONTEXTS]], AfterValidator(sorted)] = Field(
        min_length=1, description="contexts under which the responses were written in section 3"
    )
    trajectories: Positive = Field(description="maximum number of examples per context")
    per_problem: Positive = Field(default=1, description="maximum examples per problem")
