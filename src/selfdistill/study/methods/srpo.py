"""SRPO (arXiv 2604.02288): wrong responses with a demonstration are distilled, all others are trained by GRPO.

    w_t = exp(-beta H(q_t)) / mean of these,   L = (sum of GRPO over its tokens + sum of w_t D(s_t, q_t) over the distilled) / all tokens

with H the teacher's entropy in nats and D the loss of SDPO. Published: beta 1, batch 32, 8 responses per prompt, learning rate 5e-6. Our
choices, because unknown: the mean and `all tokens` are those of an optimizer mini-batch; a response is wrong below
`success_threshold`.
"""

from pydantic import Field

from selfdistill.study.methods.credit import CreditSettings, credit_method
from selfdistill.vocabulary.looks import Look


class SrpoSettings(CreditSettings):
    """SRPO: wrong responses with a demonstration are distilled, all others trained by GRPO."""

    beta: float = Field(default=1.0, ge=0, description="how fast the weight falls with the teacher's entropy")


SRPO = credit_method("srpo", "SRPO", SrpoSettings, 7.0, Look("#999933", "H", "O"))
