"""GRPO with the authors' settings (paper.md 4.3; sections 5 and 6), on TRL's `GRPOTrainer`.

TRL's `dapo` loss divides by a token count of the whole generation batch. Here it gets the mini-batch's own count, so the
loss is the mean over the tokens of each optimizer mini-batch, with and without gradient accumulation.
"""

from typing import Any

import torch
from torch import nn
from trl import GRPOTrainer

from selfdistill.fast_cpu.shared_prefix import can_share
from selfdistill.seeds import derive_seed
from selfdistill.training.arguments import grpo_arguments
from selfdistill.training.checkpoints import ResumableMixin
from selfdistill.training.distributed.sharding import ShardedMixin
from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.head import causal_model, hidden_at, output_head
from selfdistill.training.loss.projection import chunked_statistics
from selfdistill.training.on_policy import train_on_policy
from selfdistill.training.rewards import Reward
from selfdistill.training.rollouts import RolloutMixin, with_loss


class GroupRelativeTrainer(RolloutMixin, ResumableMixin, ShardedMixin, GRPOTrainer):
    """TRL's GRPOTrainer with seeded sampling and an exact token mean; run_seed: the run's seed."""

    def __init__(self, *args: Any, run_seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run_seed = run_seed

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: list | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Return one completion per prompt, and the tokens' log-probabilities if the policy itself drew them."""
        if self.use_vllm:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        drawn = self.sample_completions(prompt_ids)
        return drawn.token_ids, drawn.log_probs if self.draws_from_policy else None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch of rollouts without importance weights: `_finish_mini_batch` computes them, for rows with loss."""
        correction, self.vllm_importance_sampling_correction = self.vllm_importance_sampling_correction, False
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self.vllm_importance_sampling_correction = correction

    def row_order(self, rows: int) -> torch.Tensor:
        """Return TRL's order: a permutation from the global random state, which `_prepare_inputs` seeds the same way."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.run_seed, "mini-batches", self.rollout_step))
            return torch.randperm(rows)

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Return `completion_log_probs`; at rollout time nothing.

        `old_log_probs` computes what is needed, for the rows and mini-batches that need it.
        """
        if not torch.is_grad_enabled():
            return None, None, None
        return self.completion_log_probs(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)

    def completion_log_probs(
        self,
        model: nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return (log-probabilities, entropies, auxiliary loss) as TRL does; prompts of several rows are run once if possible.

        input_ids, attention_mask: (rows, prompt + completion). Log-probabilities and entropies: (rows, logits_to_keep), 0 at
        padding.
        """
        policy = causal_model(self.accelerator.unwrap_model(self.model))
        if not can_share(policy) or self.aux_loss_enabled:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        tokens = attention_mask[:, -logits_to_keep:].bool()
        with self.accelerator.autocast():
            hidden = hidden_at(policy, input_ids, attention_mask, tokens)
            log_probs, entropies = chunked_statistics(
                hidden, output_head(policy), input_ids[:, -logits_to_keep:][tokens], self.temperature
            )
        empty = torch.zeros(tokens.shape, device=hidden.device)
        return empty.masked_scatter(tokens, log_probs), empty.masked_scatter(tokens, entropies), None

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        """Return the mixin's micro-batches with the token count by which TRL divides the loss."""
        mini_batch = super()._finish_mini_batch(mini_batch, moved)
        # TRL multiplies the count by accumulation / steps_per_generation before dividing by it
        undo = self.args.steps_per_generation / self.args.gradient_accumulation_steps
        return [batch | {"num_items_in_batch": batch["loss_tokens"] * undo} for batch in mini_batch]

    def _compute_loss(self, model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return TRL's loss on the rows whose advantage is not 0.

        If all rollouts of a group have the same score, their advantages and gradients are 0. Their tokens count in the mean,
        but the rows are not run. Several processes run one token of them, because TRL gathers metrics of all rows.
        """
        if not inputs:
            return self.no_pass()
        rows = self.has_loss(inputs)
        if self.beta == 0 and not rows.all():
            inputs = with_loss(inputs, rows, all_rows=self.accelerator.num_processes > 1)
        return super()._compute_loss(model, inputs)

    def has_loss(self, batch: dict) -> torch.Tensor:
        """Return whether the advantage of a row is not 0, (rows,), bool."""
        return batch["advantages"] != 0

    def current_log_probs(self, batch: dict) -> torch.Tensor:
        """Return the current policy's log-probabilities of the completion, (rows, completion), without gradient."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            width = batch["completion_ids"].shape[1]
            return self.completion_log_probs(self.model, ids, mask, width)[0]


def train_grpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one GRPO run from its base or last checkpoint; write its checkpoints and records; reward: replaces the grader."""
    arguments = grpo_arguments(job.settings, job.thinking, job.resume, job.seed)
    train_on_policy(GroupRelativeTrainer, job, arguments, reward)
