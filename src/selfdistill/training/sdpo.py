"""SDPO: on-policy self-distillation (paper Eq 1, sections 5 and 6), on TRL's experimental `SDPOTrainer`.

What TRL does differently from the paper, and is set right here: the loss is a mean over the mini-batch's
tokens (TRL: mean of per-sequence means); the teacher's context strips thinking for every family (TRL's regex
misses R1's tag, which is in the prompt) and is cut on the right; top-k beyond the vocabulary is refused; the
EMA teacher is part of a checkpoint.
"""

import torch
from trl.experimental.sdpo import SDPOTrainer

from selfdistill.training.arguments import sdpo_arguments
from selfdistill.training.job import TrainingJob
from selfdistill.training.losses import check_top_k, distillation_loss, token_log_probs, token_mean
from selfdistill.training.on_policy import train_on_policy
from selfdistill.training.resume import ResumableMixin
from selfdistill.training.rewards import Reward
from selfdistill.training.rollouts import RolloutMixin, compact
from selfdistill.training.teacher import TeacherContextBuilder

TEACHER_FILE = "teacher.pt"


class SelfDistillationTrainer(RolloutMixin, ResumableMixin, SDPOTrainer):
    """TRL's SDPOTrainer with the paper's loss, demonstrations and resumable EMA teacher.

    context: what the teacher sees (`teacher.CONTEXTS`); template: how the family writes its thinking;
    thinking: the switch of the teacher's prompts (the student's own is in the data set); run_seed: seed of the
    run, from which the rollout stream is derived. Everything else as TRL's trainer.
    """

    def __init__(
        self, model, *args, run_seed: int, context: str, template: str, thinking: str, **kwargs
    ) -> None:
        super().__init__(model, *args, **kwargs)
        self.run_seed = run_seed
        check_top_k(self.args.distillation_topk, self.model.config.get_text_config().vocab_size)
        self.teacher_context_builder = TeacherContextBuilder(
            self, context=context, template=template, thinking=thinking
        )

    def _generate_transformers(self, prompt_ids: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        return prompt_ids, self.sample_completions(prompt_ids)

    def _compute_rollout_logps(self, **_) -> None:
        """Nothing for the whole batch: `add_old_log_probs` does it for the mini-batches that need it."""

    def add_old_log_probs(self, batch: dict) -> None:
        """Log-probabilities of the completion tokens before the first update of this step."""
        if self.args.distillation_is_clip is None:
            return
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            logits = self._forward_logits(self.model, ids, mask, batch["completion_ids"].shape[1])
            batch["old_per_token_logps"] = token_log_probs(logits.float(), batch["completion_ids"])

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
        batch = compact(inputs, rows)
        logits = self._compute_teacher_student_logits(model, self.teacher_model, batch)
        tokens = logits.loss_mask.bool()
        old = batch.get("old_per_token_logps")
        losses = distillation_loss(
            logits.student_logits[tokens],
            logits.teacher_logits[tokens],
            logits.completion_ids[tokens],
            None if old is None else old[tokens],
            alpha=self.args.distillation_alpha,
            top_k=self.args.distillation_topk,
            tail=self.args.distillation_add_tail,
            is_clip=self.args.distillation_is_clip,
        )
        return token_mean(losses, inputs["loss_tokens"], self.accelerator.num_processes)

    def save_extra_state(self, folder) -> None:
        """TRL leaves the EMA teacher out of its checkpoints; a resumed run would restart it from the base
        weights.
        """
        if self.args.teacher_model_kind == "ema":
            state = self.accelerator.get_state_dict(self.teacher_model)
            if self.is_world_process_zero():
                torch.save(state, folder / TEACHER_FILE)

    def load_extra_state(self, folder) -> None:
        """Put the EMA teacher back to where the checkpoint left it."""
        if self.args.teacher_model_kind == "ema":
            state = torch.load(folder / TEACHER_FILE, map_location=self.accelerator.device, weights_only=True)
            self.accelerator.unwrap_model(self.teacher_model).load_state_dict(state)


def train_sdpo(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one SDPO run from its base (or its last checkpoint) and write its checkpoints and records.

    reward: replaces the grader.
    """
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    train_on_policy(SelfDistillationTrainer, job, arguments, reward, **teacher_options(job))


def teacher_options(job: TrainingJob) -> dict[str, str]:
    """What the trainer is told of the teacher's prompts; thinking may be the teacher's own (appendix E: hybrid)."""
    own = job.settings.teacher_thinking
    thinking = job.thinking if own == "same" else own
    return {"context": job.run.context, "template": job.template, "thinking": thinking}
