"""SDPO whose teacher sees a schedule of contexts: each rollout of a step has a level, and its context is that of the level."""

import random
from statistics import fmean
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from selfdistill.grading.epistemic import count_word
from selfdistill.seeds import derive_seed
from selfdistill.study.methods.schedule import ADAPTIVE, DILUTED, ScheduleSettings
from selfdistill.training.controller import Controller
from selfdistill.training.job import TrainingJob
from selfdistill.training.records import CONTEXT_LEVEL
from selfdistill.training.rewards import Reward
from selfdistill.training.sdpo import SelfDistillationTrainer, train_distilled
from selfdistill.training.teacher import RolloutBatch, TeacherContextBuilder, user_turns


def levels_of_step(settings: ScheduleSettings, step: int, rows: int, seed: int) -> list[int]:
    """Return the level of each of a step's `rows` rollouts under `diluted` or `annealed`; 0 is the run's own context.

    step: from 0; seed: of the step's draws. Between two levels a rollout has the leaner one with the fraction as probability.
    """
    draws, leanest = random.Random(derive_seed(seed, "levels")), len(settings.leaner)
    if settings.rule == DILUTED:
        return [0 if draws.random() < settings.share else leanest for _ in range(rows)]
    place = leanest * step / max(settings.steps - 1, 1)
    lower = int(place)
    return [lower + (draws.random() < place - lower) for _ in range(rows)]


class ScheduledContextBuilder(TeacherContextBuilder):
    """TeacherContextBuilder that chooses a context for each rollout."""

    def __init__(self, *args: Any, settings: ScheduleSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.contexts = (self.context, *settings.leaner)
        self.controller = Controller(settings, len(self.contexts))

    def user_turns(self, batch: RolloutBatch) -> list[str | None]:
        """Return the teacher's user turn for every rollout, None without a demonstration."""
        everywhere = self.levels(batch)
        # all processes make the same contexts, because some are made of the rollouts of all
        turns = {level: user_turns(self.contexts[level], batch) for level in sorted(set(everywhere))}
        own = everywhere[batch.first : batch.first + len(batch.rewards)]
        self.level = fmean(everywhere)
        return [turns[level][row] for row, level in enumerate(own)]

    def build(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        """Return the teacher's inputs, and log the mean level of the step's rollouts."""
        inputs = super().build(*args, **kwargs)
        self.last_metrics |= {CONTEXT_LEVEL: self.level}
        return inputs

    def levels(self, batch: RolloutBatch) -> list[int]:
        """Return the level of each rollout of all processes."""
        if self.settings.rule != ADAPTIVE:
            rows = len(batch.rewards) * PartialState().num_processes
            return levels_of_step(self.settings, self.trainer.rollout_step, rows, batch.seed)
        texts = map(batch.text, range(len(batch.rewards)))
        words = [sum(count_word(text).values()) for text in texts]
        everyone = gather_object(list(zip(batch.problems, batch.rewards, words, strict=True)))
        return [self.controller.choose(*zip(*everyone, strict=True))] * len(everyone)


class ScheduledTrainer(SelfDistillationTrainer):
    """SelfDistillationTrainer with a schedule of contexts; the controller is part of a checkpoint."""

    def __init__(self, *args: Any, settings: ScheduleSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = {name: kwargs[name] for name in ("context", "template", "thinking")}
        self.teacher_context_builder = ScheduledContextBuilder(self, settings=settings, **options)

    def method_state(self) -> dict[str, Any]:
        """Return the controller's state."""
        return self.teacher_context_builder.controller.state()

    def restore_method_state(self, state: dict[str, Any]) -> None:
        """Restore the controller."""
        self.teacher_context_builder.controller.restore(state)


def train_schedule(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run from its base or last checkpoint; write its checkpoints and records; reward: replaces the grader."""
    train_distilled(ScheduledTrainer, job, reward, settings=job.settings)
