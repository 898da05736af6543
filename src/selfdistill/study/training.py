"""Settings of the training methods: sections `training` and `variants` of a study file.

The authors' values are in docs/paper.md 4 and stand in config/paper.yaml; no default of this file is taken for the paper's.
"""

from typing import Annotated, Literal

from pydantic import Field

from selfdistill.study.fields import Positive, Rate, Section


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
