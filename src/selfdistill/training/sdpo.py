"""SDPO: on-policy self-distillation (paper Eq 1, sections 5 and 6), on TRL's experimental `SDPOTrainer`.

TRL differs from the paper; changed here: the loss is a mean over the mini-batch's tokens (TRL: mean of per-sequence
means); the teacher's context strips thinking for every model family (TRL's regex misses R1's opening tag, which is in
the prompt) and is truncated on the right; a top-k larger than the vocabulary is an error; the EMA teacher is part of a
checkpoint; the losses of tokens that vLLM drew have importance weights, as GRPO's. The loss is computed from hidden states,
one chunk of tokens at a time.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from trl.experimental.sdpo import SDPOTrainer
from trl.experimental.sdpo.teacher_sync import SyncTeacherModelCallback
from trl.trainer.utils import maybe_gather_lm_head_ctx

from selfdistill.models.loading import load_model
from selfdistill.records.files import write_text
from selfdistill.study.methods.sdpo import SAME
from selfdistill.training.arguments import sdpo_arguments
from selfdistill.training.checkpoints import ResumableMixin
from selfdistill.training.distributed.sharding import (
    ShardedMixin,
    check_head_is_whole,
    check_teacher_can_move,
    load_whole,
    save_whole,
    shard_frozen,
)
from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.chunked import LossOptions, chunked_distillation
from selfdistill.training.loss.head import (
    causal_model,
    check_linear_head,
    hidden_at,
    output_head,
    through_wrapper,
)
from selfdistill.training.loss.losses import check_top_k, token_mean
from selfdistill.training.loss.projection import chunked_log_probs
from selfdistill.training.loss.targets import Target
from selfdistill.training.on_policy import train_on_policy
from selfdistill.training.rewards import Reward
from selfdistill.training.rollouts import RolloutMixin, with_loss
from selfdistill.training.teacher import TeacherContextBuilder

TEACHER_FILE, METHOD_FILE = "teacher.pt", "method.json"


class SelfDistillationTrainer(RolloutMixin, ResumableMixin, ShardedMixin, SDPOTrainer):
    """TRL's SDPOTrainer with the paper's loss, demonstrations and resumable EMA teacher.

    context: what the teacher sees (`vocabulary.contexts.TEACHER`); template: model family, which sets how thinking is
    written; thinking: switch of the teacher's prompts (the student's prompts have their own); run_seed: the run's seed,
    from which the rollout stream is derived. Other arguments: TRL's.
    """

    def __init__(
        self, *args: Any, run_seed: int, context: str, template: str, thinking: str, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.run_seed = run_seed
        self._drawn_log_probs: list[list[float]] | None = None
        check_top_k(self.args.distillation_topk, self.model.config.get_text_config().vocab_size)
        check_linear_head(causal_model(self.accelerator.unwrap_model(self.model)))
        self.teacher_context_builder = TeacherContextBuilder(
            self, context=context, template=template, thinking=thinking
        )

    def _setup_teacher_model(self) -> None:
        """Set up TRL's teacher; under FSDP2 it is sharded layer by layer, like the policy."""
        moving = self.args.teacher_model_kind == "ema"
        if moving:
            check_teacher_can_move(self.accelerator)
        if not self.accelerator.is_fsdp2:
            super()._setup_teacher_model()
            return
        config = self.model.config
        teacher = load_model(config._name_or_path, attention=config._attn_implementation)
        teacher.requires_grad_(False)
        self.teacher_model = shard_frozen(self.accelerator, teacher)
        if moving:
            self.add_callback(SyncTeacherModelCallback(self.teacher_model, self.accelerator))

    def _generate_vllm(self, prompt_ids: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        """Return (prompt ids, completion ids), and keep the log-probabilities with which vLLM drew the tokens."""
        drawn = super()._generate_vllm(prompt_ids)
        self._drawn_log_probs = self.vllm_generation.llm.drawn_log_probs
        return drawn

    def _generate_transformers(self, prompt_ids: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        """Return (prompt ids, completion ids), and keep the log-probabilities if the policy itself drew the tokens."""
        drawn = self.sample_completions(prompt_ids)
        self._drawn_log_probs = drawn.log_probs if self.draws_from_policy else None
        return prompt_ids, drawn.token_ids

    def _prepare_training_batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch; the teacher's contexts get the problems, in the place that TRL has for feedback.

        A data set from elsewhere has no such columns: the question is the id then, and no context sees answers.
        """
        problems = [
            {
                "problem_id": row.get("problem_id", row["prompt"][-1]["content"]),
                "answers": row.get("answers", ()),
            }
            for row in inputs
        ]
        rows = [row | {"privileged_context": own} for row, own in zip(inputs, problems, strict=True)]
        return super()._prepare_training_batch(rows)

    def sample_rollouts(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with the log-probabilities of sampling, (rows, completion), under GRPO's name for them."""
        batch = super().sample_rollouts(inputs)
        weighted = self.use_vllm or self.args.distillation_is_clip is not None
        if self._drawn_log_probs is not None and weighted:
            rows = [torch.tensor(row, device=self.accelerator.device) for row in self._drawn_log_probs]
            batch["sampling_per_token_logps"] = pad_sequence(rows, batch_first=True)
        return batch

    def _compute_rollout_logps(self, **_: Any) -> None:
        """Compute nothing for the whole batch: `old_log_probs` serves the mini-batches that need it."""

    def current_log_probs(self, batch: dict) -> torch.Tensor:
        """Return the current policy's log-probabilities of the completion, (rows, completion), without gradient; 0 at padding."""
        tokens, model = batch["completion_mask"].bool(), causal_model(self.policy)

        def log_probs(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """Return the log-probabilities of the chosen tokens, (tokens,)."""
            chosen = batch["completion_ids"][tokens]
            with self.accelerator.autocast():
                hidden, head = hidden_at(model, ids, mask, tokens), output_head(model)
                with maybe_gather_lm_head_ctx(*head):
                    return chunked_log_probs(hidden, head, chosen, self.temperature)

        with torch.no_grad():
            chosen = through_wrapper(self.model, self.policy, log_probs, *student_inputs(batch))
        return torch.zeros(tokens.shape, device=chosen.device).masked_scatter(tokens, chosen)

    def has_loss(self, batch: dict) -> torch.Tensor:
        """Return whether a rollout has a demonstration, (rows,), bool."""
        return batch["self_distillation_mask"].bool()

    def loss_mask(self, batch: dict) -> torch.Tensor:
        """Return the mask of completion tokens of rollouts with a demonstration, (rows, completion)."""
        return batch["completion_mask"] * batch["self_distillation_mask"].unsqueeze(1)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return this micro-batch's share of the mini-batch's token mean.

        Rows without a demonstration are not run; if no row has one, one token of one row is.
        """
        if return_outputs:
            raise ValueError("SelfDistillationTrainer does not return outputs")
        if not inputs:
            return self.no_pass()
        loss = self.summed_loss(model, with_loss(inputs, self.has_loss(inputs)))
        return token_mean(loss, inputs["loss_tokens"], self.accelerator.num_processes)

    @cached_property
    def policy(self) -> nn.Module:
        """Return the policy without its distributed wrapper (cached, because accelerate's look-up is slow)."""
        return self.accelerator.unwrap_model(self.model)

    @cached_property
    def teacher(self) -> nn.Module:
        """Return the teacher without its distributed wrapper."""
        return self.accelerator.unwrap_model(self.teacher_model)

    def teacher_hidden(self, batch: dict, tokens: torch.Tensor) -> torch.Tensor:
        """Return the teacher's hidden states that predict `tokens`, (rows, completion), bool: (chosen tokens, hidden)."""

        def hidden(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """Return the hidden states inside the wrapper's forward pass."""
            with self.accelerator.autocast():
                return hidden_at(causal_model(self.teacher), ids, mask, tokens)

        inputs = (batch["teacher_input_ids"], batch["teacher_attention_mask"])
        with torch.no_grad(), self._get_teacher_context_for_self_distillation():
            return through_wrapper(self.teacher_model, self.teacher, hidden, *inputs)

    def target(self, batch: dict, tokens: torch.Tensor) -> Target | None:
        """Return what the student is drawn to at `tokens`, (rows, completion), bool, None for the teacher's distribution."""
        return None

    def summed_loss(self, model: nn.Module, batch: dict) -> torch.Tensor:
        """Return the sum of the token losses of a batch; model: the policy with its distributed wrapper."""
        tokens = self.loss_mask(batch).bool()
        return self.token_losses(model, batch, tokens, drawn_weights(batch, tokens))[0]

    def token_losses(
        self, model: nn.Module, batch: dict, tokens: torch.Tensor, weights: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (the weighted sum of the losses of the chosen tokens, these losses without gradient, (tokens,)).

        tokens: (rows, completion), bool; weights: (tokens,), default 1.
        """
        teacher_hidden, target = self.teacher_hidden(batch, tokens), self.target(batch, tokens)
        student, teacher = causal_model(self.policy), causal_model(self.teacher)
        old = batch.get("old_per_token_logps")
        old = None if old is None else old[tokens]

        def losses(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """Return sum and losses inside the wrapper's forward pass."""
            with self.accelerator.autocast():
                hidden = hidden_at(student, ids, mask, tokens)
                check_head_is_whole(student.get_output_embeddings())
                head, teacher_head = output_head(student), output_head(teacher)
                with maybe_gather_lm_head_ctx(*head, *teacher_head):
                    return chunked_distillation(
                        hidden, head, teacher_hidden, teacher_head, batch["completion_ids"][tokens],
                        old, self.loss_options(), weights=weights, target=target,
                    )  # fmt: skip

        return through_wrapper(model, self.policy, losses, *student_inputs(batch))

    def loss_options(self) -> LossOptions:
        """Return the settings of the loss."""
        return LossOptions(
            alpha=self.args.distillation_alpha,
            top_k=self.args.distillation_topk,
            tail=self.args.distillation_add_tail,
            is_clip=self.args.distillation_is_clip,
            temperature=self.temperature,
        )

    def models(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the policy, and the teacher if it is updated."""
        yield from super().models()
        if self.args.teacher_model_kind == "ema":
            yield "teacher", self.teacher_model

    def method_state(self) -> dict[str, Any]:
        """Return what a method knows of the steps so far, for JSON; a checkpoint keeps it."""
        return {}

    def restore_method_state(self, state: dict[str, Any]) -> None:
        """Restore what `method_state` returned."""

    def save_extra_state(self, folder: Path) -> None:
        """Save the method's state, and the EMA teacher: TRL's checkpoints lack it, so a resumed run would restart it from the base."""
        state = self.method_state()
        if state and self.is_world_process_zero():
            write_text(folder / METHOD_FILE, json.dumps(state))
        if self.args.teacher_model_kind == "ema":
            save_whole(self.accelerator, self.teacher_model, folder / TEACHER_FILE)

    def load_extra_state(self, folder: Path) -> None:
        """Restore the method's state and the EMA teacher of a checkpoint."""
        if self.method_state():
            self.restore_method_state(json.loads((folder / METHOD_FILE).read_text(encoding="utf-8")))
        if self.args.teacher_model_kind == "ema":
            load_whole(self.accelerator, self.teacher_model, folder / TEACHER_FILE)


def drawn_weights(batch: dict, tokens: torch.Tensor) -> torch.Tensor | None:
    """Return the importance weights of the chosen tokens, (tokens,), if others than the policy drew them; tokens: (rows, completion)."""
    weights = batch.get("importance_sampling_ratio")
    return None if weights is None else weights[tokens]


def student_inputs(batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask of the policy's inputs, (rows, prompt + completion)."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)


def train_sdpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one SDPO run from its base or last checkpoint; write its checkpoints and records; reward: replaces the grader."""
    train_distilled(SelfDistillationTrainer, job, reward)


def train_distilled(
    trainer: type[SelfDistillationTrainer], job: TrainingJob, reward: Reward | None, **options: Any
) -> None:
    """Train one run with a trainer that has a self-teacher; options: keyword arguments of the trainer beside those of its teacher."""
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    train_on_policy(trainer, job, arguments, reward, **teacher_options(job), **options)


def teacher_options(job: TrainingJob) -> dict[str, str]:
    """Return the trainer's options for teacher prompts; the teacher may have its own thinking switch (appendix E: hybrid)."""
    own = job.settings.teacher_thinking
    thinking = job.thinking if own == SAME else own
    return {"context": job.run.context, "template": job.template, "thinking": thinking}
