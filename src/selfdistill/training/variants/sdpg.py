"""SDPG: the policy gradient, a divergence to the self-teacher, and an anchor to the base (`study.methods.sdpg`)."""

import torch

from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.chunked import LossOptions
from selfdistill.training.rewards import Reward
from selfdistill.training.sdpo import student_inputs
from selfdistill.training.variants.credit import (
    Columns,
    Credit,
    CreditTrainer,
    group_advantages,
    train_with_credit,
)


def warmed_and_decayed(step: int, warmup: int, steps: int) -> float:
    """Return the share of beta in a step (from 0): up linearly during the warm-up, then down linearly, to 0 after the last step.

    >>> [warmed_and_decayed(step, 2, 6) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / (steps - warmup)


class SdpgTrainer(CreditTrainer):
    """GRPO with scaled advantages, a reverse KL divergence and an anchor."""

    distils = True

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return group advantages divided by the group's standard deviation, (rows,)."""
        spread = rewards.view(-1, self.num_generations).std(dim=1).repeat_interleave(self.num_generations)
        return group_advantages(rewards, self.num_generations) / (spread + 1e-4)

    def has_loss(self, batch: dict) -> torch.Tensor:
        """Return True for every row, (rows,), bool: each has an anchor."""
        return torch.ones_like(batch["advantages"], dtype=torch.bool)

    def loss_options(self) -> LossOptions:
        """Return those of KL(s || q) over the whole vocabulary."""
        return LossOptions(alpha=1.0, top_k=None, tail=False, is_clip=None, temperature=self.temperature)

    def scores(self, batch: dict) -> dict[str, torch.Tensor]:
        """Return the base's log-probabilities of the completion without a context, (rows, completion)."""
        ids, mask = student_inputs(batch)
        plain = batch | {"teacher_input_ids": ids, "teacher_attention_mask": mask}
        scores = self.teacher_scores(plain, self.has_loss(batch))
        return {"reference_log_probs": scores["teacher_log_probs"]}

    def credit(self, columns: Columns) -> Credit:
        """Return the scaled advantages, and beta as the weight of the divergence."""
        settings = self.settings
        share = warmed_and_decayed(self.rollout_step, settings.warmup_steps, settings.steps)
        return Credit(columns["advantages"], distillation=settings.beta * share)

    def penalty(self, log_probs: torch.Tensor, columns: Columns) -> torch.Tensor:
        """Return the anchor of every token, (tokens,)."""
        return self.settings.anchor * (log_probs - columns["reference_log_probs"]).square() / 2


def train_sdpg(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of SDPG; reward: replaces the grader."""
    train_with_credit(SdpgTrainer, job, reward)
