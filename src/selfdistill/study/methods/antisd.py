"""AntiSD (arXiv 2605.11609): the self-teacher's signal with the sign reversed, on top of the group advantage A.

    A_t = A - weight phi(u_t),   phi(u) = (softplus(u) - log 2) / 2,   u_t = log q(y_t) - log s(y_t)

and GRPO's clipped loss with A_t. A gate with hysteresis sets weight to 0 when the median entropy of the teacher falls below 0.93
of its mean in the warm-up, and back when it reaches that mean; weight is 0 in the warm-up of five steps. Published: weight 0.5,
the teacher sees a verified peer rollout (context `solution`), 200 steps; all known from a reader's notes only. Our choices,
because unknown: the median is over the tokens of an optimizer mini-batch that have a demonstration, and the gate moves with every
mini-batch, before its update; a mini-batch without a demonstration leaves it as it is; the teacher is the run's (`snapshot-1` is
the policy that drew the rollouts).
"""

from pydantic import Field

from selfdistill.study.methods.credit import CreditSettings, credit_method
from selfdistill.vocabulary.looks import Look


class AntisdSettings(CreditSettings):
    """AntiSD: the self-teacher's signal reversed, on top of the group advantage."""

    weight: float = Field(default=0.5, ge=0, description="weight of the reversed signal")
    gate_low: float = Field(
        default=0.93, ge=0, le=1, description="share of the warm-up's entropy below which the gate closes"
    )
    gate_warmup_steps: int = Field(
        default=5,
        ge=0,
        description="steps without the signal, whose entropy the gate compares with (0: no gate)",
    )


ANTISD = credit_method("antisd", "AntiSD", AntisdSettings, 6.0, Look("#117733", "d", "-"))
