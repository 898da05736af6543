"""GRPO: reinforcement learning with group-relative advantages (sections 5 and 6)."""

from pydantic import Field

from selfdistill.study.methods.base import Method, RolloutSettings
from selfdistill.vocabulary.looks import BLUE, Look


class GrpoSettings(RolloutSettings):
    """GRPO."""

    clip_low: float = Field(default=0.2, gt=0, description="clip of the policy ratio below 1")
    clip_high: float = Field(default=0.28, gt=0, description="clip of the policy ratio above 1")
    dual_clip: float = Field(
        default=3.0, gt=1, description="upper bound of the policy ratio for negative advantages"
    )


GRPO = Method(
    name="grpo",
    label="GRPO",
    settings=GrpoSettings,
    sections=("rl", "grpo"),
    trainer="selfdistill.training.grpo:train_grpo",
    passes=5.0,  # as SFT, and one of the old policy
    look=Look(BLUE, "o"),
)
