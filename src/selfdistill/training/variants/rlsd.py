"""RLSD: the self-teacher redistributes the group advantage (`study.methods.rlsd`)."""

import torch

from selfdistill.training.job import TrainingJob
from selfdistill.training.rewards import Reward
from selfdistill.training.variants.credit import Columns, Credit, CreditTrainer, gap, train_with_credit


def redistributed(advantages: torch.Tensor, gaps: torch.Tensor, mix: float, width: float) -> torch.Tensor:
    """Return A'_t, (tokens,); advantages, gaps (u_t): (tokens,)."""
    weights = (advantages.sign() * gaps).exp().clamp(1 - width, 1 + width)
    return advantages * ((1 - mix) + mix * weights)


class RlsdTrainer(CreditTrainer):
    """GRPO with redistributed advantages."""

    def credit(self, columns: Columns) -> Credit:
        """Return the redistributed advantages, with the step's `mix`."""
        settings = self.settings
        left = 1.0 if settings.mix_steps is None else max(0.0, 1 - self.rollout_step / settings.mix_steps)
        advantages = redistributed(columns["advantages"], gap(columns), settings.mix * left, settings.width)
        return Credit(advantages)


def train_rlsd(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of RLSD; reward: replaces the grader."""
    train_with_credit(RlsdTrainer, job, reward)
