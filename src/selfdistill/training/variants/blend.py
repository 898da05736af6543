"""Blend of SDPO's and GRPO's losses (`study.methods.blend`)."""

import torch

from selfdistill.training.job import TrainingJob
from selfdistill.training.rewards import Reward
from selfdistill.training.variants.credit import Columns, Credit, CreditTrainer, train_with_credit


class BlendTrainer(CreditTrainer):
    """mix * SDPO + (1 - mix) * GRPO, each with its own mean over tokens."""

    distils = True

    def scores(self, batch: dict) -> dict[str, torch.Tensor]:
        """Return nothing: the advantages are the plain ones."""
        return {}

    def totals(self, mini_batch: list[dict]) -> dict[str, torch.Tensor]:
        """Return the number of tokens in SDPO's mean."""
        rows = [batch["completion_mask"] * self.distilled(batch).unsqueeze(1) for batch in mini_batch]
        return {"distilled_tokens": self.total(rows)}

    def credit(self, columns: Columns) -> Credit:
        """Return the plain advantages; SDPO's weight moves its mean from all tokens to the distilled ones."""
        mix = self.settings.mix
        widened = columns["loss_tokens"] / columns["distilled_tokens"].clamp(min=1)
        return Credit(columns["advantages"], policy=1 - mix, distillation=mix * widened)


def train_blend(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of the blend; reward: replaces the grader."""
    train_with_credit(BlendTrainer, job, reward)
