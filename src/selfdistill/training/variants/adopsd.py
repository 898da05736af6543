"""AD-OPSD: the target leans on the base where the student is unsure and the teacher strongly disagrees (`study.methods.adopsd`)."""

from typing import Any

import torch

from selfdistill.study.methods.adopsd import AdopsdSettings
from selfdistill.training.distributed.exchange import PROMPT_THEN_COMPLETION
from selfdistill.training.job import TrainingJob
from selfdistill.training.loss.targets import Target, mixed
from selfdistill.training.rewards import Reward
from selfdistill.training.sdpo import student_inputs, train_distilled
from selfdistill.training.variants.scores import ScoringTrainer, least_of_highest


def risks(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return s(y_t) max(0, -u_t); student, teacher: log-probabilities of the tokens, any one shape."""
    return student.exp() * (student - teacher).clamp(min=0)


class AdopsdTrainer(ScoringTrainer):
    """SelfDistillationTrainer whose target is partly the base's; settings: those of the run."""

    def __init__(self, *args: Any, settings: AdopsdSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        """Return the mixin's micro-batches with the base's share at each token, (rows, completion)."""
        mini_batch, settings = super()._finish_mini_batch(mini_batch, moved), self.settings
        entropies, risk = zip(*map(self.doubts, mini_batch), strict=True)
        tokens = [self.loss_mask(batch).bool() for batch in mini_batch]
        entropy_of_all, risk_of_all = self.everywhere(entropies, tokens), self.everywhere(risk, tokens)
        unsure = least_of_highest(entropy_of_all, settings.unsure)
        risky = least_of_highest(risk_of_all[entropy_of_all >= unsure], settings.risky)
        chosen = [(h >= unsure) & (r >= risky) & (r > 0) for h, r in zip(entropies, risk, strict=True)]
        shares = [settings.base_share * own * mask for own, mask in zip(chosen, tokens, strict=True)]
        return [batch | {"base_share": share} for batch, share in zip(mini_batch, shares, strict=True)]

    def doubts(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (the student's entropy, the risk) of every token, (rows, completion) each; 0 in rows without loss."""
        rows = self.has_loss(batch)
        scores = self.policy_scores(batch, rows) | self.teacher_scores(batch, rows)
        return scores["policy_entropies"], risks(scores["policy_log_probs"], scores["teacher_log_probs"])

    def target(self, batch: dict, tokens: torch.Tensor) -> Target:
        """Return the mixture of teacher and base."""
        own = dict(zip(PROMPT_THEN_COMPLETION, student_inputs(batch), strict=True))
        base = self.teacher_hidden(batch | own, tokens)

        def logits(student: torch.Tensor, *mixture: torch.Tensor) -> torch.Tensor:
            """Return the target's logits of a chunk."""
            return mixed(*mixture)

        return Target(logits, [base], [batch["base_share"][tokens]], copies=1)


def train_adopsd(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of AD-OPSD; reward: replaces the grader."""
    train_distilled(AdopsdTrainer, job, reward, settings=job.settings)
