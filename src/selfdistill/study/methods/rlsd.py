"""RLSD (arXiv 2604.03128): the self-teacher redistributes the group advantage A over the tokens of a response.

    A'_t = A [(1 - mix) + mix clip(exp(sign(A) u_t), 1 - width, 1 + width)],   u_t = log q(y_t) - log s(y_t)

and GRPO's clipped loss with A'_t. Published: mix 0.5 decayed over 50 steps, width 0.2, clip 0.2, teacher `snapshot-10`, learning
rate 1e-6, as RLCSD's authors run it. Our choices, because unknown: the decay is linear and ends at 0; responses without a
demonstration have u_t = 0, so A'_t = A.
"""

from pydantic import Field

from selfdistill.study.fields import Positive
from selfdistill.study.methods.credit import CreditSettings, credit_method
from selfdistill.vocabulary.looks import Look


class RlsdSettings(CreditSettings):
    """RLSD: the self-teacher redistributes the group advantage over the tokens of a response."""

    mix: float = Field(default=0.5, ge=0, le=1, description="share of the advantage that the teacher weights")
    mix_steps: Positive | None = Field(
        default=50, description="steps in which `mix` falls to 0 (null: it stays)"
    )
    width: float = Field(
        default=0.2, gt=0, lt=1, description="clip of the teacher's weight below and above 1"
    )


RLSD = credit_method("rlsd", "RLSD", RlsdSettings, 6.0, Look("#332288", "p", "|"))
