"""projPS: distillation within three groups of tokens whose masses stay the student's (`study.methods.projps`)."""

from functools import cached_property, partial
from typing import Any

import torch

from selfdistill.study.methods.projps import ProjpsSettings
from selfdistill.training.contrast import whole_word_ids
from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.targets import Target, within_groups
from selfdistill.training.rewards import Reward
from selfdistill.training.sdpo import SelfDistillationTrainer, train_distilled
from selfdistill.vocabulary.words import EPISTEMIC_WORDS


class ProjpsTrainer(SelfDistillationTrainer):
    """SelfDistillationTrainer whose target has the student's masses of the groups; settings: those of the run."""

    def __init__(self, *args: Any, settings: ProjpsSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    @cached_property
    def groups(self) -> tuple[torch.Tensor, ...]:
        """Return the ids of the epistemic and of the confident words."""
        return tuple(
            torch.tensor(
                whole_word_ids(self._tokenizer, words), dtype=torch.long, device=self.accelerator.device
            )
            for words in (EPISTEMIC_WORDS, self.settings.confident_words)
        )

    def target(self, batch: dict, tokens: torch.Tensor) -> Target:
        """Return the target of the groups."""
        return Target(partial(within_groups, groups=self.groups), copies=2)


def train_projps(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of projPS; reward: replaces the grader."""
    train_distilled(ProjpsTrainer, job, reward, settings=job.settings)
