"""The registry of training methods: one line each."""

from selfdistill.study.methods.adopsd import ADOPSD
from selfdistill.study.methods.antisd import ANTISD
from selfdistill.study.methods.base import Method, RolloutSettings
from selfdistill.study.methods.blend import BLEND
from selfdistill.study.methods.grpo import GRPO
from selfdistill.study.methods.positions import POSITIONS
from selfdistill.study.methods.projps import PROJPS
from selfdistill.study.methods.purified import PURIFIED
from selfdistill.study.methods.rlcsd import RLCSD
from selfdistill.study.methods.rlsd import RLSD
from selfdistill.study.methods.schedule import SCHEDULE
from selfdistill.study.methods.sdpg import SDPG
from selfdistill.study.methods.sdpo import SDPO
from selfdistill.study.methods.sft import SFT
from selfdistill.study.methods.sft_matched import SFT_MATCHED
from selfdistill.study.methods.srpo import SRPO

CREDIT = (BLEND, RLSD, ANTISD, RLCSD, SRPO, SDPG)
"""Methods that combine GRPO's advantage with the self-teacher."""
TARGET = (PROJPS, PURIFIED, ADOPSD)
"""Methods that distil from a cleaned target instead of the self-teacher's own distribution."""

__all__ = [
    "METHODS",
    "OFF_POLICY",
    "ON_POLICY",
    "SECTIONS",
    "STAGES",
    "TRAINING_RULES",
    "Method",
    "RolloutSettings",
]

METHODS: dict[str, Method] = {
    method.name: method for method in (SFT, GRPO, SDPO, SCHEDULE, POSITIONS, *CREDIT, *TARGET, SFT_MATCHED)
}
"""Every training method by its name, in the order of figures and tables."""
ON_POLICY = tuple(name for name, method in METHODS.items() if method.on_policy)
OFF_POLICY = tuple(name for name in METHODS if name not in ON_POLICY)
SECTIONS = tuple(dict.fromkeys(section for method in METHODS.values() for section in method.sections))
"""Sections of `training` and of variants."""
STAGES = tuple(dict.fromkeys(method.stage for method in METHODS.values()))
"""Stages whose jobs train."""
TRAINING_RULES = frozenset(method.rule for method in METHODS.values())
"""Rules whose jobs train."""
