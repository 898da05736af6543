"""Purified OPSD: the target is the base, moved by what question and reference say together (`study.methods.purified`)."""

from typing import Any

import torch

from selfdistill.models.prompts import reference_user_turn
from selfdistill.study.methods.purified import PurifiedSettings
from selfdistill.training.distributed.exchange import PROMPT_THEN_COMPLETION
from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.targets import Target, purified
from selfdistill.training.rewards import Reward
from selfdistill.training.sdpo import SelfDistillationTrainer, student_inputs, train_distilled
from selfdistill.training.teacher import context_function, written

REFERENCE = "reference_"
"""Prefix of the inputs of the teacher that sees the reference only."""


class PurifiedTrainer(SelfDistillationTrainer):
    """SelfDistillationTrainer with two more passes of the teacher; settings: those of the run."""

    def __init__(self, *args: Any, settings: PurifiedSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    def _prepare_training_batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with the teacher's inputs without the question, under the usual names with a prefix."""
        batch, builder = super()._prepare_training_batch(inputs), self.teacher_context_builder
        questions = [row["prompt"][-1]["content"] for row in inputs]
        rollouts = builder.rollouts(questions, batch, batch["rewards"].tolist(), inputs)
        turns = written(reference_user_turn, questions, context_function(builder.context)(rollouts))
        built = builder.inputs(questions, turns, batch)
        return batch | {REFERENCE + name: built[name] for name in PROMPT_THEN_COMPLETION}

    def target(self, batch: dict, tokens: torch.Tensor) -> Target:
        """Return the purified target, from the teacher's hidden states with the reference only and with the question only."""
        prompts = ([batch[REFERENCE + name] for name in PROMPT_THEN_COMPLETION], student_inputs(batch))
        hidden = [
            self.teacher_hidden(batch | dict(zip(PROMPT_THEN_COMPLETION, own, strict=True)), tokens)
            for own in prompts
        ]

        def logits(student: torch.Tensor, *teachers: torch.Tensor) -> torch.Tensor:
            """Return the target's logits of a chunk."""
            return purified(*teachers, width=self.settings.width, beta=self.settings.beta)

        return Target(logits, hidden)


def train_purified(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of Purified OPSD; reward: replaces the grader."""
    train_distilled(PurifiedTrainer, job, reward, settings=job.settings)
