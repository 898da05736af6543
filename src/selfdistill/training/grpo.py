"""GRPO with the authors' settings (paper.md 4.3; sections 5 and 6), on TRL's `GRPOTrainer`.

TRL's `dapo` loss divides by a token count that spans the whole generation batch; here it is given the
mini-batch's own count, so that the loss is the mean over the tokens of each optimizer mini-batch, with and
without gradient accumulation.
"""

import torch
from trl import GRPOTrainer

from selfdistill.seeds import derive_seed
from selfdistill.training.arguments import grpo_arguments
from selfdistill.training.job import TrainingJob
from selfdistill.training.on_policy import train_on_policy
from selfdistill.training.resume import ResumableMixin
from selfdistill.training.rewards import Reward
from selfdistill.training.rollouts import RolloutMixin
from selfdistill.training.sharding import ShardedMixin


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
        return self.sample_completions(prompt_ids), None

    def row_order(self, rows: int) -> torch.Tensor:
        """TRL shuffles a step's rollouts with the global stream, which `_prepare_inputs` has seeded."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.run_seed, "mini-batches", self.rollout_step))
            return torch.randperm(rows)

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        """On the transformers path, none for the whole batch at rollout time: `add_old_log_probs` does what
        is needed.
        """
        if not torch.is_grad_enabled() and not self.use_vllm:
            return None, None, None
        return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        mini_batch = super()._finish_mini_batch(mini_batch, moved)
        # TRL multiplies the count by accumulation / steps_per_generation before dividing by it
        undo = self.args.steps_per_generation / self.args.gradient_accumulation_steps
        return [batch | {"num_items_in_batch": batch["loss_tokens"] * undo} for batch in mini_batch]

    def add_old_log_probs(self, batch: dict) -> None:
        """Log-probabilities of the completion tokens before the first update (TRL has them already with
        vLLM).
        """
        if "old_per_token_logps" in batch:
            return
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            batch["old_per_token_logps"], _, _ = super()._get_per_token_logps_and_entropies(
                self.model, ids, mask, batch["completion_ids"].shape[1]
            )


def train_grpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one GRPO run from its base (or its last checkpoint) and write its checkpoints and records.

    reward: replaces the grader.
    """
    arguments = grpo_arguments(job.settings, job.thinking, job.resume, job.seed)
    train_on_policy(GroupRelativeTrainer, job, arguments, reward)
