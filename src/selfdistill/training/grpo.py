"""GRPO with the authors' settings (paper.md 4.3; sections 5 and 6), on TRL's `GRPOTrainer`.

TRL's `dapo` loss divides by a token count that spans the whole generation batch; here it is given the
mini-batch's own count, so that the loss is the mean over the tokens of each optimizer mini-batch, with and
without gradient accumulation.
"""

import torch
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
from selfdistill.training.rollouts import RolloutMixin, compact


class GroupRelativeTrainer(RolloutMixin, ResumableMixin, ShardedMixin, GRPOTrainer):
    """TRL's GRPOTrainer with seeded sampling and an exact token mean. run_seed: the run's seed."""

    def __init__(self, model, *args, run_seed: int, **kwargs) -> None:
        super().__init__(model, *args, **kwargs)
        self.run_seed = run_seed

    def _generate_single_turn(
        self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False
    ):
        if self.use_vllm:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        drawn = self.sample_completions(prompt_ids)
        return drawn.token_ids, drawn.log_probs if self.draws_from_policy else None

    def row_order(self, rows: int) -> torch.Tensor:
        """TRL shuffles a step's rollouts with the global stream, which `_prepare_inputs` has seeded."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.run_seed, "mini-batches", self.rollout_step))
            return torch.randperm(rows)

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
    ):
        """On the transformers path, none for the whole batch at rollout time: `old_log_probs` does what
        is needed. Else log-probabilities and entropies of the completion tokens, (rows, logits_to_keep); 0 at padding.
        """
        if not torch.is_grad_enabled() and not self.use_vllm:
            return None, None, None
        return self.completion_log_probs(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)

    def completion_log_probs(self, model, input_ids, attention_mask, logits_to_keep, *args, **kwargs):
        """As TRL's `_get_per_token_logps_and_entropies`; a prompt that several rows share is run once, where that can be."""
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
        mini_batch = super()._finish_mini_batch(mini_batch, moved)
        # TRL multiplies the count by accumulation / steps_per_generation before dividing by it
        undo = self.args.steps_per_generation / self.args.gradient_accumulation_steps
        return [batch | {"num_items_in_batch": batch["loss_tokens"] * undo} for batch in mini_batch]

    def _compute_loss(self, model, inputs):
        """TRL's loss on the rows that have an advantage. A group whose rollouts all score alike has none, and no gradient: its
        rows count as tokens of the mean and are not run. (Several processes run all rows: TRL gathers a figure for each.)
        """
        rows = inputs["advantages"] != 0
        if self.beta == 0 and self.accelerator.num_processes == 1 and not rows.all():
            rows[0] |= not rows.any()  # one row keeps the (zero) loss attached to the graph
            inputs = compact(inputs, rows)
        return super()._compute_loss(model, inputs)

    def old_log_probs(self, batch: dict) -> torch.Tensor:
        """As the mixin's; what vLLM drew with is not the policy's."""
        return self.current_log_probs(batch) if self.use_vllm else super().old_log_probs(batch)

    def current_log_probs(self, batch: dict) -> torch.Tensor:
        """Log-probabilities of the completion under the policy as it is, without gradient."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            width = batch["completion_ids"].shape[1]
            return self.completion_log_probs(self.model, ids, mask, width)[0]


def train_grpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one GRPO run from its base (or its last checkpoint) and write its checkpoints and records.

    reward: replaces the grader.
    """
    arguments = grpo_arguments(job.settings, job.thinking, job.resume, job.seed)
    train_on_policy(GroupRelativeTrainer, job, arguments, reward)
