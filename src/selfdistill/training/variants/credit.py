"""Trainer of methods that combine the group advantage A with the self-teacher's log-probabilities.

A method is one function, `credit`: from the columns of the loss tokens it returns the advantage of every token, its weight in
GRPO's clipped loss, and its weight in the distillation loss. The mini-batch's loss is

    1 / N  sum_t [ policy_t max(-A_t min(r_t, dual), -A_t clip(r_t, 1 - low, 1 + high)) + distillation_t D(s_t, q_t) ]

with N all completion tokens of the mini-batch, as in GRPO, r_t the ratio to the policy that drew the token, and D the chunked
loss of SDPO. The group advantages are GRPO's: reward minus the group's mean. The teacher scores the tokens of a step as it is when
they are drawn, and u_t = log q(y_t) - log s(y_t) takes s from then too, as an advantage does (our choice).
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from trl.trainer.utils import maybe_gather_lm_head_ctx

from selfdistill.study.methods.credit import CreditSettings
from selfdistill.training.distributed.sharding import check_head_is_whole
from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.chunked import chunked_distillation
from selfdistill.training.loss.head import causal_model, hidden_at, output_head, through_wrapper
from selfdistill.training.loss.projection import chunked_log_probs
from selfdistill.training.rewards import Reward
from selfdistill.training.rollouts import with_loss
from selfdistill.training.sdpo import student_inputs, train_distilled
from selfdistill.training.variants.scores import ScoringTrainer

Columns = dict[str, torch.Tensor]
"""Columns of the loss tokens of a pass, (tokens,) each, and numbers of the whole mini-batch."""


class Credit(NamedTuple):
    """What a method makes of the tokens of a pass: advantages, and weights in the two losses, (tokens,) or one number."""

    advantages: torch.Tensor
    policy: torch.Tensor | float = 1.0
    distillation: torch.Tensor | float = 0.0


def group_advantages(rewards: torch.Tensor, group: int) -> torch.Tensor:
    """Return rewards minus the mean of their group, (rows,), as TRL's GRPO; rewards: (rows,), in groups of `group` neighbours."""
    return rewards - rewards.view(-1, group).mean(dim=1).repeat_interleave(group)


def clipped_loss(
    log_probs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, settings: CreditSettings
) -> torch.Tensor:
    """Return GRPO's clipped loss of every token, (tokens,); all arguments (tokens,), old: of the policy that drew the tokens."""
    ratio = (log_probs - old).exp()
    clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    return -torch.min(ratio.clamp(max=settings.dual_clip) * advantages, clipped * advantages)


def gap(columns: Columns) -> torch.Tensor:
    """Return u_t = log q(y_t) - log s(y_t), (tokens,); 0 in rollouts without a demonstration, which have no teacher."""
    difference = columns["teacher_log_probs"] - columns["old_per_token_logps"]
    return torch.where(columns["self_distillation_mask"] > 0, difference, 0.0)


def token_columns(batch: dict[str, Any], tokens: torch.Tensor) -> Columns:
    """Return the columns of the chosen tokens, (rows, completion), bool; those of rows are repeated, single numbers stay."""
    columns = {}
    for name, value in batch.items():
        if not torch.is_tensor(value) or value.ndim == 0:
            columns[name] = value
        elif value.shape == tokens.shape:
            columns[name] = value[tokens]
        elif value.shape == tokens.shape[:1]:
            columns[name] = value.repeat_interleave(tokens.sum(1))
    return columns


class CreditTrainer(ScoringTrainer):
    """Base of the methods; settings: those of the run's method. A method overrides `credit`, and what else it needs.

    distils: whether it gives weight to the distillation loss.
    """

    distils = False

    def __init__(self, *args: Any, settings: CreditSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    def credit(self, columns: Columns) -> Credit:
        """Return what the method makes of the tokens of a pass."""
        raise NotImplementedError

    def penalty(self, log_probs: torch.Tensor, columns: Columns) -> torch.Tensor | float:
        """Return a loss of every token beside the two, (tokens,) or one number; log_probs: (tokens,), the policy's, with gradient."""
        return 0.0

    def scores(self, batch: dict) -> dict[str, torch.Tensor]:
        """Return columns that `credit` needs and that do not depend on the policy's updates, (rows, completion)."""
        return self.teacher_scores(batch, self.scored(batch))

    def totals(self, mini_batch: list[dict]) -> dict[str, torch.Tensor]:
        """Return numbers of the whole mini-batch, of all processes, that `credit` needs."""
        return {}

    def total(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Return the sum of some tensors and over all processes, a single number."""
        return self.accelerator.gather(torch.stack([part.sum() for part in parts]).sum()).sum()

    def _prepare_training_batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with GRPO's advantages: TRL's SDPO divides them by 1.0001."""
        batch = super()._prepare_training_batch(inputs)
        batch["advantages"] = self.advantages(batch["rewards"])
        return batch

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the advantages of rollouts, (rows,); rewards: (rows,)."""
        return group_advantages(rewards, self.num_generations)

    def loss_mask(self, batch: dict) -> torch.Tensor:
        """Return the mask of completion tokens in the mean, (rows, completion): all, as in GRPO."""
        return batch["completion_mask"]

    def has_loss(self, batch: dict) -> torch.Tensor:
        """Return whether the advantage of a row is not 0, (rows,), bool, or it is distilled."""
        rows = batch["advantages"] != 0
        return rows | self.distilled(batch) if self.distils else rows

    def distilled(self, batch: dict) -> torch.Tensor:
        """Return whether a row has a distillation loss, (rows,), bool: all with a demonstration."""
        return batch["self_distillation_mask"].bool()

    def scored(self, batch: dict) -> torch.Tensor:
        """Return the rows whose tokens the teacher scores, (rows,), bool: those with a loss and a demonstration."""
        return self.has_loss(batch) & batch["self_distillation_mask"].bool()

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        """Return the mixin's micro-batches with the teacher's scores and the mini-batch's numbers."""
        mini_batch = super()._finish_mini_batch(mini_batch, moved)
        mini_batch = [batch | self.scores(batch) for batch in mini_batch]
        numbers = self.totals(mini_batch)
        return [batch | numbers for batch in mini_batch]

    def distilled_hidden(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (which completion tokens are distilled, (rows, completion), bool; the teacher's hidden states of these)."""
        rows = self.distilled(batch)
        part = with_loss(batch, rows)
        tokens = part["completion_mask"].bool() & self.distilled(part).unsqueeze(1)
        return batch["completion_mask"].bool() & rows.unsqueeze(1), self.teacher_hidden(part, tokens)

    def summed_loss(self, model: nn.Module, batch: dict) -> torch.Tensor:
        """Return the sum of the token losses of a batch; model: the policy with its distributed wrapper."""
        tokens, student = self.loss_mask(batch).bool(), causal_model(self.policy)
        chosen = batch["completion_ids"][tokens]
        taught, teacher_hidden = self.distilled_hidden(batch) if self.distils else (None, None)

        def loss(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """Return the summed loss inside the wrapper's forward pass."""
            with self.accelerator.autocast():
                hidden = hidden_at(student, ids, mask, tokens)
                check_head_is_whole(student.get_output_embeddings())
                head, teacher_head = output_head(student), output_head(causal_model(self.teacher))
                with maybe_gather_lm_head_ctx(*head, *teacher_head):
                    log_probs = chunked_log_probs(hidden, head, chosen, self.temperature)
                    columns = {"old_per_token_logps": log_probs.detach()} | token_columns(batch, tokens)
                    credit, old = self.credit(columns), columns["old_per_token_logps"]
                    drawn = columns.get("importance_sampling_ratio", 1.0)
                    losses = (
                        credit.policy * drawn * clipped_loss(log_probs, old, credit.advantages, self.settings)
                    )
                    total = (losses + self.penalty(log_probs, columns)).sum()
                    if not self.distils:
                        return total
                    part = taught[tokens]
                    weights = (credit.distillation * drawn * torch.ones_like(log_probs)).detach()[part]
                    return total + chunked_distillation(
                        hidden[part], head, teacher_hidden, teacher_head, chosen[part],
                        old[part], self.loss_options(), weights=weights,
                    )[0]  # fmt: skip

        return through_wrapper(model, self.policy, loss, *student_inputs(batch))


def train_with_credit(trainer: type[CreditTrainer], job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run from its base or last checkpoint; write its checkpoints and records; reward: replaces the grader."""
    train_distilled(trainer, job, reward, settings=job.settings)
