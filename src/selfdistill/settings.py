"""Typed sections of the study files: models, benchmarks, data sets, training settings. `study` puts them
together.

Every key of config/*.yaml is a field here or in `study`, described once; config/README.md is held against
them by a test. The authors' values are in paper.md 4 and stand in config/paper.yaml; no default of this file
is taken for the paper's.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from selfdistill.data_settings import HubSource, SubsetFile
from selfdistill.section import Name, Positive, Rate, Section, Share

Context = Literal["unguided", "answer-only", "regeneration", "solution"]
"""What a response was written under in section 3, by growing information."""
Template = Literal["r1", "qwen3", "olmo3"]


def above_zero(value: float) -> float:
    """A temperature; 0 would divide by zero, so the message names what gives the likeliest token."""
    if value <= 0:
        raise ValueError("must be above 0 (`top_k: 1` gives the likeliest token)")
    return value


Temperature = Annotated[float, AfterValidator(above_zero)]


# ---- models.yaml


class OrganismBase(Section):
    """A tiny base model that the DAG trains from scratch (the mini study)."""

    source: Literal["organism"] = Field(description="`organism`: trained from scratch in the DAG")
    architecture: Literal["qwen2", "qwen3", "olmo3"] = Field(
        description="transformers architecture, mirrors a family of the paper"
    )
    template: Template = Field(
        description="chat template: where the opening think tag stands (r1: in the prompt; olmo3: nowhere)"
    )
    hidden_size: Positive = Field(description="width")
    layers: Positive = Field(description="number of layers")
    heads: Positive = Field(description="attention heads")
    intermediate_size: Positive = Field(description="width of the feed-forward part")
    steps: Positive = Field(description="updates of pre-training")
    batch_size: Positive = Field(description="documents an update")
    learning_rate: Rate = Field(description="peak learning rate of AdamW")
    style: dict[str, Share] = Field(
        default={}, description="habits and flaws of the pre-training responses (organism.traces.Style)"
    )
    acceptance: dict[str, list[float | None]] = Field(
        default={},
        description="figure: [lowest, highest], null for open; the base's rule fails where one is missed",
    )
    seed: int = Field(
        default=0, ge=0, description="seed of the base; all runs of a study start from the same base"
    )

    @model_validator(mode="after")
    def _bounds(self) -> "OrganismBase":
        for name, bounds in self.acceptance.items():
            if len(bounds) != 2:
                raise ValueError(f"acceptance.{name} must be [lowest, highest], not {bounds}")
        return self


class HubBase(Section):
    """Released weights, fetched once by the rule fetch_base."""

    source: Literal["hub"] = Field(description="`hub`: a repository of the Hugging Face hub")
    repo_id: str = Field(min_length=1, description="repository, such as `Qwen/Qwen3-8B`")
    revision: str = Field(
        default="main", description="commit or tag; pin a commit for a study to be repeatable"
    )
    template: Template = Field(description="family of the chat template")


class PackageBase(Section):
    """Weights inside an installed Python package."""

    source: Literal["package"] = Field(description="`package`: a file of an installed Python package")
    file: str = Field(pattern="^package://", description="GGUF file, `package://NAME/PATH`")
    end_of_turn: str = Field(min_length=1, description="token that ends a response")
    template: Template = Field(description="family of the chat template")


BaseSpec = Annotated[OrganismBase | HubBase | PackageBase, Field(discriminator="source")]


class SamplingOverride(Section):
    """Sampling of one model where it differs from the study's."""

    temperature: Temperature | None = Field(default=None, description="temperature")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(default=None, description="nucleus mass")
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="top-k cut; 0 switches it off"
    )


class ModelSpec(Section):
    """A base with its thinking switch: what the paper's figures call a model."""

    base: str = Field(description="key of `bases`")
    thinking: Literal["prompt-tag", "on", "off", "none"] = Field(
        description="prompt-tag: in the prompt; on, off: the template's switch (quote them); none: no tags"
    )
    label: str = Field(default="", description="name in figures and tables")
    stands_for: str = Field(default="", description="the model of the paper that it stands for")
    sampling: SamplingOverride = Field(
        default=SamplingOverride(), description="sampling where it differs from the study's"
    )


ROLES = ("deepseek", "qwen3-think", "qwen3-nothink", "olmo3")
"""The paper's model settings, one figure each: 5.1 (Fig. 3), 5.2 (Fig. 4), 5.3 (Fig. 5), F.3 (Fig. 18)."""


def roles_by_thinking(thinking: Mapping[str, str]) -> dict[str, str]:
    """Map the paper's settings to models by their thinking switch; the first model of a kind is taken.

    thinking: model key -> `prompt-tag` | `on` | `off` | `none` (config/models.yaml).
    """
    names = dict(zip(("prompt-tag", "on", "off", "none"), ROLES, strict=True))
    roles: dict[str, str] = {}
    for model, switch in thinking.items():
        roles.setdefault(names[switch], model)
    return roles


class Models(Section):
    """config/models.yaml."""

    bases: dict[Name, BaseSpec] = Field(description="weights")
    models: dict[Name, ModelSpec] = Field(description="models of the studies")


# ---- benchmarks.yaml and data sets


class OrganismDataset(Section):
    """A training problem set of the mini task."""

    source: Literal["organism"] = Field(description="`organism`: chains, made by organism.chains")
    types: dict[str, Rate] = Field(min_length=1, description="type of chain: weight")
    problems: Positive = Field(description="distinct problems of the full set")
    coverages: list[Positive | Literal["full"]] = Field(
        min_length=1, description="sizes of the nested subsets, and `full`"
    )


class HubDataset(HubSource):
    """A training problem set of the Hugging Face hub."""

    problems: Positive | None = Field(
        default=None, description="keep the first so many distinct problems; null for all"
    )
    coverages: list[Positive | Literal["full"]] = Field(
        min_length=1, description="sizes of the nested subsets, and `full`"
    )
    subsets: dict[Positive, SubsetFile] = Field(
        default={}, description="coverage: file of that subset; the others are drawn with `data_seed`"
    )


DatasetSpec = Annotated[OrganismDataset | HubDataset, Field(discriminator="source")]


class BenchmarkEntry(Section):
    """What every benchmark has."""

    label: str = Field(description="name in figures and tables")
    ood: bool = Field(
        description="whether its problems are of another distribution than the training problems"
    )
    paper: str = Field(default="", description="what it stands for in the paper")
    role: Literal["aime24", "amc23", "narrow"] | None = Field(
        default=None, description="the benchmark of the paper's claims that it is or stands for (claims.yaml)"
    )


class OrganismBenchmark(BenchmarkEntry):
    """Held-out problems of the mini task."""

    source: Literal["organism"] = Field(description="`organism`: chains, made by organism.chains")
    types: dict[str, Rate] = Field(min_length=1, description="type of chain: weight")
    problems: Positive | None = Field(
        default=None, description="number of problems where it differs from the study's"
    )


class HubBenchmark(BenchmarkEntry, HubSource):
    """A benchmark of the Hugging Face hub."""


BenchmarkSpec = Annotated[OrganismBenchmark | HubBenchmark, Field(discriminator="source")]


class Benchmarks(Section):
    """config/benchmarks.yaml."""

    benchmarks: dict[Name, BenchmarkSpec] = Field(description="benchmarks of the studies")


# ---- sections of a study file


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


class RichnessSettings(Section):
    """How section 3 selects and answers its problems."""

    problems: Positive = Field(description="problems kept")
    samples: Positive = Field(description="responses a problem and context")
    solve_rate: list[Positive] = Field(
        min_length=2, max_length=2, description="keep problems solved [lowest, highest] times of `samples`"
    )
    pool: Positive = Field(description="problems tried at most")
    batch: Positive = Field(default=64, description="problems tried at a time")

    @model_validator(mode="after")
    def _bounds(self) -> "RichnessSettings":
        low, high = self.solve_rate
        if not low <= high <= self.samples:
            raise ValueError(
                f"solve_rate {self.solve_rate} must be [lowest, highest] within 1 to samples ({self.samples})"
            )
        if self.pool < self.problems:
            raise ValueError(f"pool ({self.pool}) must be at least problems ({self.problems})")
        return self


class Section3Settings(RichnessSettings):
    """Section 3: the same problems under four contexts."""

    models: list[str] = Field(min_length=1, description="models")
    dataset: str = Field(description="training set that the problems are drawn from")
    max_new_tokens: Positive | None = Field(
        default=None, description="longest response where it differs from the benchmarks'"
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="top-k cut where it differs from the benchmarks'"
    )


class OffPolicySettings(Section):
    """Section 4: the model's own correct responses, as many on the same problems for each context."""

    contexts: list[Context] = Field(
        min_length=1, description="contexts under which the responses were written in section 3"
    )
    trajectories: Positive = Field(description="examples at most")
    per_problem: Positive = Field(default=1, description="examples a problem at most")


class SftSettings(Section):
    """Off-policy self-distillation (section 4)."""

    learning_rate: Rate = Field(description="learning rate of AdamW")
    epochs: Positive = Field(description="passes over the data")
    batch_size: Positive = Field(description="examples an update")
    micro_batch: Positive | None = Field(
        default=None, description="rows a device and pass; null for the whole batch"
    )
    schedule: Literal["cosine", "constant", "constant_with_warmup", "linear"] = Field(
        default="cosine", description="learning rate schedule"
    )
    warmup_steps: int = Field(default=0, ge=0, description="updates of warm-up")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    adam_beta2: float = Field(default=0.999, gt=0, lt=1, description="second moment's decay")
    max_tokens: Positive | None = Field(default=None, description="cut examples here; null for no cut")


class RolloutSettings(Section):
    """What GRPO and SDPO share (sections 5 and 6)."""

    steps: Positive = Field(description="rollout batches")
    prompts: Positive = Field(description="prompts a step")
    rollouts: Annotated[int, Field(ge=2)] = Field(description="responses a prompt")
    updates_per_step: Positive = Field(description="optimizer updates a step")
    max_prompt_tokens: Positive = Field(description="longer prompts are left out")
    max_new_tokens: Positive = Field(description="longest response in tokens")
    temperature: Rate = Field(description="temperature of the rollouts")
    checkpoint_every: Positive = Field(
        description="keep (and resume from) a checkpoint every so many steps, and the last"
    )
    learning_rate: Rate = Field(description="learning rate of AdamW, constant after the warm-up")
    warmup_steps: int = Field(default=10, ge=0, description="steps of warm-up")
    weight_decay: float = Field(default=0.01, ge=0, description="weight decay")
    adam_beta2: float = Field(default=0.999, gt=0, lt=1, description="second moment's decay")
    micro_batch: Positive | None = Field(
        default=None, description="rows a device and pass; null for the whole mini-batch"
    )
    backend: Literal["transformers", "vllm"] = Field(
        default="transformers", description="generation of the rollouts; taken from the study"
    )
    vllm_memory: float = Field(
        default=0.3, gt=0, lt=1, description="share of the device memory for vLLM beside the trainer"
    )


class GrpoSettings(RolloutSettings):
    """GRPO."""

    clip_low: float = Field(default=0.2, gt=0, description="lower clip of the policy ratio")
    clip_high: float = Field(default=0.28, gt=0, description="upper clip of the policy ratio")
    dual_clip: float = Field(default=3.0, gt=1, description="bound of the ratio for negative advantages")
    rollout_is_clip: float = Field(
        default=2.0, gt=0, description="truncation of the importance weights of vLLM's rollouts"
    )


class SdpoSettings(RolloutSettings):
    """SDPO: on-policy self-distillation."""

    alpha: float = Field(
        description="generalised Jensen-Shannon divergence between KL (0) and reverse KL (1)", ge=0, le=1
    )
    top_k: Positive = Field(description="tokens of the student's distribution that the loss sees")
    tail: bool = Field(description="one more bucket for the rest of the distribution")
    is_clip: float | None = Field(
        default=2.0, description="clip of the ratio to the policy that generated; null for none"
    )
    success_threshold: float = Field(
        default=0.5, description="score from which a sibling counts as a demonstration"
    )
    max_reprompt_tokens: Positive | None = Field(
        default=None, description="cut the teacher's prompt here, on the right"
    )
    teacher_thinking: Literal["same", "on", "off"] = Field(
        default="same",
        description="thinking switch of the teacher's prompt: the student's, or its own (quote `on` and `off`; "
        "appendix E: `on` for a student with thinking off is the hybrid)",
    )


METHOD_SETTINGS = {"sft": SftSettings, "grpo": GrpoSettings, "sdpo": SdpoSettings}
"""Method -> its settings."""

METHOD_SECTIONS = {"sft": ("sft",), "grpo": ("rl", "grpo"), "sdpo": ("rl", "sdpo")}
"""Method -> the sections of `training` that make its settings, later ones over earlier ones."""


class ResourceSettings(Section):
    """What a job of a stage asks of the machine or the cluster."""

    threads: Positive = Field(default=1, description="CPU cores")
    mem_mb: Positive = Field(default=2000, description="memory in MB")
    runtime: Positive = Field(default=120, description="wall time in minutes")
    gpus: int = Field(default=0, ge=0, description="GPUs")
    accelerate: Name | None = Field(
        default=None,
        description="file of accelerate/ by which a training job (`sft`, `rl`) is shared out to its GPUs, such as "
        "`fsdp`; null for one process",
    )
    processes: Positive | None = Field(
        default=None, description="processes of a job with `accelerate`; null for one a GPU"
    )

    @property
    def process_count(self) -> int:
        """Processes of a training job: one, or with `accelerate` one a GPU if not said otherwise."""
        return (self.processes or self.gpus) if self.accelerate else 1
