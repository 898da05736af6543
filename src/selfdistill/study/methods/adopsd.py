"""AD-OPSD (arXiv 2607.10805): where the student is unsure and the teacher strongly disagrees, the target leans on the clean base.

    risk_t = s(y_t) max(0, -u_t),   u_t = log q(y_t) - log s(y_t)
    target = (1 - share) q + share b  at positions that are among the 20 % of the highest entropy and of these among those of the highest risk,
    q elsewhere;   L = D(s, target)

with D of SDPO and b the frozen base with the question only. Published, known from the abstract only: the risk, the 20 %, and that the
target is mixed with b. Our choices, because unknown: share 0.5; the risky half of the unsure positions, those without any risk never; the
entropy is the student's; both ranks are over the loss tokens of an optimizer mini-batch, with student and teacher as they are when it is
drawn, so that a split into passes changes nothing; the base is the teacher's weights without a context, so the teacher must be `fixed`.
"""

from pydantic import Field

from selfdistill.study.methods.sdpo import SdpoSettings
from selfdistill.study.methods.target import check_fixed, target_method
from selfdistill.vocabulary.looks import Look


class AdopsdSettings(SdpoSettings):
    """AD-OPSD: the target leans on the base where the student is unsure and the teacher strongly disagrees."""

    unsure: float = Field(
        default=0.2, gt=0, le=1, description="share of the tokens, those of the highest entropy"
    )
    risky: float = Field(
        default=0.5, gt=0, le=1, description="share of the unsure tokens, those of the highest risk"
    )
    base_share: float = Field(default=0.5, ge=0, le=1, description="share of the base in the target there")


ADOPSD = target_method("adopsd", "AD-OPSD", AdopsdSettings, 9.0, Look("#997700", "v", "oo"), (check_fixed,))
