"""SRPO: wrong responses with a demonstration are distilled, all others are trained by GRPO (`study.methods.srpo`)."""

import torch

from selfdistill.training.job import TrainingJob
from selfdistill.training.rewards import Reward
from selfdistill.training.variants.credit import Columns, Credit, CreditTrainer, train_with_credit


class SrpoTrainer(CreditTrainer):
    """SDPO on wrong responses with a demonstration, GRPO on the others."""

    distils = True

    def distilled(self, batch: dict) -> torch.Tensor:
        """Return whether a row is wrong and has a demonstration, (rows,), bool."""
        return super().distilled(batch) & (batch["rewards"] < self.settings.success_threshold)

    def scored(self, batch: dict) -> torch.Tensor:
        """Return the distilled rows, (rows,), bool."""
        return self.distilled(batch)

    def totals(self, mini_batch: list[dict]) -> dict[str, torch.Tensor]:
        """Return the mean of exp(-beta H) over the distilled tokens."""
        masks = [batch["completion_mask"] * self.distilled(batch).unsqueeze(1) for batch in mini_batch]
        sureness = [
            (-self.settings.beta * batch["teacher_entropies"]).exp() * mask
            for batch, mask in zip(mini_batch, masks, strict=True)
        ]
        return {"mean_sureness": self.total(sureness) / self.total(masks).clamp(min=1)}

    def credit(self, columns: Columns) -> Credit:
        """Return plain advantages, and each token's weight in the loss of its response."""
        distilled = self.distilled(columns)
        sureness = (-self.settings.beta * columns["teacher_entropies"]).exp() / columns["mean_sureness"]
        weights = torch.where(distilled, sureness, 0.0)
        return Credit(columns["advantages"], policy=~distilled, distillation=weights)


def train_srpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of SRPO; reward: replaces the grader."""
    train_with_credit(SrpoTrainer, job, reward)
