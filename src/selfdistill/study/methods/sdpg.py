"""SDPG (arXiv 2606.04036): the clipped policy gradient, a KL divergence to the self-teacher, and an anchor to the base.

    L = GRPO(A / std) + beta KL(s_t || q_t) + alpha (log s(y_t) - log ref(y_t))^2 / 2

with the KL over the whole vocabulary and no gradient through q. Published: alpha (here `anchor`) and beta 1e-3, beta warmed up and
decayed, the teacher sees the answer only (context `answer-only`), learning rate 1e-6, 8 responses per prompt, batch 128, 4,096 tokens.
Our choices, because unknown: A / (std + 1e-4) with the group's sample standard deviation; beta rises linearly during the warm-up
of the learning rate and falls linearly to 0 after it; all three parts are sums over tokens divided by all tokens of an optimizer
mini-batch, the KL's over responses with a demonstration; the reference is the base, so the teacher must be `fixed`.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from selfdistill.study.methods.credit import CreditSettings, credit_method
from selfdistill.study.methods.sdpo import check_teacher_thinking
from selfdistill.study.yaml import known
from selfdistill.vocabulary.looks import Look
from selfdistill.vocabulary.teachers import FIXED

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study


class SdpgSettings(CreditSettings):
    """SDPG: policy gradient, a divergence to the self-teacher, and an anchor to the base; `alpha`, `top_k`, `tail`, `is_clip` have no effect."""

    beta: float = Field(default=1e-3, ge=0, description="highest weight of the divergence to the teacher")
    anchor: float = Field(default=1e-3, ge=0, description="weight of half the squared log-ratio to the base")


def check_sdpg(study: "Study", key: str, entry: "RunGrid") -> None:
    """Raise StudyError for a teacher that moves, because it is also the reference, and for thinking switches that do not exist."""
    known(study.path, f"{key}.teachers", entry.teachers, [FIXED])
    check_teacher_thinking(study, key, entry)


SDPG = credit_method("sdpg", "SDPG", SdpgSettings, 7.0, Look("#44AA99", "<", "*"), check_sdpg)
