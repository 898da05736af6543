"""RLCSD (arXiv 2606.11709): the contrast of a right hint with wrong ones corrects the group advantage A of single tokens.

    e_t = log q_right(y_t) - log mean_k q_wrong,k(y_t),   r_t = clip(scale mix tanh(e_t / tau), -2, 2)
    selected: |r_t| > delta,   A'_t = A + r_t, kept on the side of A: not below 0 if A > 0, not above 0 if A < 0
    L = mean over the tokens not selected of GRPO(A) + eta * mean over the selected tokens of GRPO(A')

Published: tau 0.02, scale (beta) 1, mix (lambda) 0.5, delta 0.02, eta 1, K up to 4 wrong hints, teacher `snapshot-10`, clip 0.2,
learning rate 1e-6. Our choices, because unknown: a wrong hint is a failed response of the same group, other than the own one, in the
prompt that a right one has, so a run's context must show a right response whole; the first K in the group's order; a response that
lacks either kind of hint, or has A = 0, has r_t = 0; both means are over the completion tokens of an optimizer mini-batch.
"""

from pydantic import Field

from selfdistill.study.fields import Positive, Rate
from selfdistill.study.methods.credit import CreditSettings, credit_method
from selfdistill.vocabulary.looks import Look


class RlcsdSettings(CreditSettings):
    """RLCSD: the contrast of a right hint with wrong ones corrects the advantage of single tokens."""

    tau: Rate = Field(default=0.02, description="nats of contrast at which its effect levels off")
    scale: float = Field(default=1.0, ge=0, description="scale of the correction")
    mix: float = Field(default=0.5, ge=0, le=1, description="weight of the correction")
    delta: float = Field(
        default=0.02, ge=0, description="size of a correction above which a token is selected"
    )
    eta: float = Field(default=1.0, ge=0, description="weight of the mean over selected tokens")
    wrong_hints: Positive = Field(default=4, description="most wrong hints per response (K)")


RLCSD = credit_method(
    "rlcsd",
    "RLCSD",
    RlcsdSettings,
    10.0,
    Look("#AA4499", "8", "o"),
    contexts=("solution", "solution-random", "solution-shortest"),
)
