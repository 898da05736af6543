"""Blend: SDPO's and GRPO's losses side by side, L = mix * L_SDPO + (1 - mix) * L_GRPO.

Our own baseline, with no published form: each loss keeps its own mean over tokens (SDPO's over those of rollouts with a
demonstration, GRPO's over all), so that mix = 1 is SDPO and mix = 0 is GRPO on the same mini-batch. The grid of `mix` is made by
variants.
"""

from pydantic import Field

from selfdistill.study.methods.credit import CreditSettings, credit_method
from selfdistill.vocabulary.looks import Look


class BlendSettings(CreditSettings):
    """Blend: SDPO's and GRPO's losses side by side."""

    mix: float = Field(default=0.5, ge=0, le=1, description="weight of SDPO's loss; GRPO's has the rest")


BLEND = credit_method("blend", "Blend", BlendSettings, 6.0, Look("#882255", ">", "\\"))
