"""SDPO: on-policy self-distillation (paper Eq 1, sections 5 and 6), on TRL's experimental `SDPOTrainer`.

What TRL does differently from the paper, and is set right here: the loss is a mean over the mini-batch's
tokens (TRL: mean of per-sequence means); the teacher's context strips thinking for every family (TRL's regex
misses R1's tag, which is in the prompt) and is cut on the right; top-k beyond the vocabulary is refused; the
EMA teacher is part of a checkpoint. The loss is computed from hidden states, a chunk of tokens at a time.
"""

from functools import cached_property

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from trl.experimental.sdpo import SDPOTrainer
from trl.experimental.sdpo.teacher_sync import SyncTeacherModelCallback
from trl.trainer.utils import maybe_gather_lm_head_ctx

from selfdistill.models.loading import load_model
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
from selfdistill.training.on_policy import train_on_policy
from selfdistill.training.rewards import Reward
from selfdistill.training.rollouts import RolloutMixin, compact
from selfdistill.training.teacher import TeacherContextBuilder

TEACHER_FILE = "teacher.pt"


class SelfDistillationTrainer(RolloutMixin, ResumableMixin, ShardedMixin, SDPOTrainer):
    """TRL's SDPOTrainer with the paper's loss, demonstrations and resumable EMA teacher.

    context: what the teacher sees (`vocabulary.contexts.TEACHER`); template: how the family writes its thinking;
    thinking: the switch of the teacher's prompts (the student's own is in the data set); run_seed: seed of the
    run, from which the rollout stream is derived. Everything else as TRL's trainer.
    """

    def __init__(
        self, model, *args, run_seed: int, context: str, template: str, thinking: str, **kwargs
    ) -> None:
        super().__init__(model, *args, **kwargs)
        self.run_seed = run_seed
        self._drawn_log_probs: list[list[float]] | None = None
        check_top_k(self.args.distillation_topk, self.model.config.get_text_config().vocab_size)
        check_linear_head(causal_model(self.accelerator.unwrap_model(self.model)))
        self.teacher_context_builder = TeacherContextBuilder(
            self, context=context, template=template, thinking=thinking
        )

    def _setup_teacher_model(self) -> None:
        """TRL's teacher; under FSDP2 shared out layer by layer, as the policy is."""
        moving = self.args.teacher_model_kind == "ema"
        if moving:
            check_teacher_can_move(self.accelerator)
        if not self.accelerator.is_fsdp2:
            super()._setup_teacher_model()
            return
        teacher = load_model(self.model.config._name_or_path).requires_grad_(False)
        self.teacher_model = shard_frozen(self.accelerator, teacher)
        if moving:
            self.add_callback(SyncTeacherModelCallback(self.teacher_model, self.accelerator))

    def _generate_transformers(self, prompt_ids: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        drawn = self.sample_completions(prompt_ids)
        self._drawn_log_probs = drawn.log_probs if self.draws_from_policy else None
        return prompt_ids, drawn.token_ids

    def sample_rollouts(self, inputs: list[dict]) -> dict:
        """TRL's, with the log-probabilities of the tokens as they were drawn (under the name that GRPO gives them)."""
        batch = super().sample_rollouts(inputs)
        if self._drawn_log_probs is not None and self.args.distillation_is_clip is not None:
            rows = [torch.tensor(row, device=self.accelerator.device) for row in self._drawn_log_probs]
            batch["sampling_per_token_logps"] = pad_sequence(rows, batch_first=True)
        return batch

    def _compute_rollout_logps(self, **_) -> None:
        """Nothing for the whole batch: `old_log_probs` does it for the mini-batches that need it."""

    def current_log_probs(self, batch: dict) -> torch.Tensor:
        """Log-probabilities of the completion under the policy as it is, without gradient; 0 at padding."""
        tokens, model = batch["completion_mask"].bool(), causal_model(self.policy)

        def log_probs(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            chosen = batch["completion_ids"][tokens]
            with self.accelerator.autocast():
                hidden, head = hidden_at(model, ids, mask, tokens), output_head(model)
                with maybe_gather_lm_head_ctx(*head):
                    return chunked_log_probs(hidden, head, chosen, self.temperature)

        with torch.no_grad():
            chosen = through_wrapper(self.model, self.policy, log_probs, *student_inputs(batch))
        return torch.zeros(tokens.shape, device=chosen.device).masked_scatter(tokens, chosen)

    def loss_mask(self, batch: dict) -> torch.Tensor:
        """Completion tokens of the rollouts that have a demonstration."""
        return batch["completion_mask"] * batch["self_distillation_mask"].unsqueeze(1)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None) -> torch.Tensor:
        """This micro-batch's share of the mini-batch's token mean. Rows without a demonstration are not run
        at all.
        """
        if return_outputs:
            raise ValueError("SelfDistillationTrainer does not return outputs")
        rows = inputs["self_distillation_mask"].bool()
        if not rows.any():
            rows[0] = True  # one masked row keeps the (zero) loss attached to the graph, on every process
        loss = self.summed_loss(model, compact(inputs, rows))
        return token_mean(loss, inputs["loss_tokens"], self.accelerator.num_processes)

    @cached_property
    def policy(self) -> nn.Module:
        """The policy without its distributed wrapper; kept, for accelerate looks for packages at every call."""
        return self.accelerator.unwrap_model(self.model)

    @cached_property
    def teacher(self) -> nn.Module:
        """The teacher without its distributed wrapper."""
        return self.accelerator.unwrap_model(self.teacher_model)

    def teacher_hidden(self, batch: dict, tokens: torch.Tensor) -> torch.Tensor:
        """The teacher's hidden states from which `tokens` (bool, (rows, completion)) are predicted."""

        def hidden(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            with self.accelerator.autocast():
                return hidden_at(causal_model(self.teacher), ids, mask, tokens)

        inputs = (batch["teacher_input_ids"], batch["teacher_attention_mask"])
        with torch.no_grad(), self._get_teacher_context_for_self_distillation():
            return through_wrapper(self.teacher_model, self.teacher, hidden, *inputs)

    def summed_loss(self, model, batch: dict) -> torch.Tensor:
        """Sum of the losses of a batch's loss tokens."""
        tokens = self.loss_mask(batch).bool()
        teacher_hidden = self.teacher_hidden(batch, tokens)
        student, teacher = causal_model(self.policy), causal_model(self.teacher)
        old = batch.get("old_per_token_logps")

        def loss(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            with self.accelerator.autocast():
                hidden = hidden_at(student, ids, mask, tokens)
                check_head_is_whole(student.get_output_embeddings())
                head, teacher_head = output_head(student), output_head(teacher)
                with maybe_gather_lm_head_ctx(*head, *teacher_head):
                    return chunked_distillation(
                        hidden, head, teacher_hidden, teacher_head, batch["completion_ids"][tokens],
                        None if old is None else old[tokens], self.loss_options(),
                    )[0]  # fmt: skip

        return through_wrapper(model, self.policy, loss, *student_inputs(batch))

    def loss_options(self) -> LossOptions:
        """The settings of the loss."""
        return LossOptions(
            alpha=self.args.distillation_alpha,
            top_k=self.args.distillation_topk,
            tail=self.args.distillation_add_tail,
            is_clip=self.args.distillation_is_clip,
            temperature=self.temperature,
        )

    def models(self):
        """Yield the policy, and the teacher where it moves."""
        yield from super().models()
        if self.args.teacher_model_kind == "ema":
            yield "teacher", self.teacher_model

    def save_extra_state(self, folder) -> None:
        """TRL leaves the EMA teacher out of its checkpoints; a resumed run would restart it from the base
        weights.
        """
        if self.args.teacher_model_kind == "ema":
            save_whole(self.accelerator, self.teacher_model, folder / TEACHER_FILE)

    def load_extra_state(self, folder) -> None:
        """Put the EMA teacher back to where the checkpoint left it."""
        if self.args.teacher_model_kind == "ema":
            load_whole(self.accelerator, self.teacher_model, folder / TEACHER_FILE)


def student_inputs(batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask of what the policy sees, (rows, prompt + completion)."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)


def train_sdpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one SDPO run from its base (or its last checkpoint) and write its checkpoints and records.

    reward: replaces the grader.
    """
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    train_on_policy(SelfDistillationTrainer, job, arguments, reward, **teacher_options(job))


def teacher_options(job: TrainingJob) -> dict[str, str]:
    """What the trainer is told of the teacher's prompts; thinking may be the teacher's own (appendix E: hybrid)."""
    own = job.settings.teacher_thinking
    thinking = job.thinking if own == SAME else own
    return {"context": job.run.context, "template": job.template, "thinking": thinking}
