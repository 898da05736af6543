"""RLCSD: the contrast of a right hint with wrong ones corrects the advantage of single tokens (`study.methods.rlcsd`)."""

import math
from typing import Any

import torch

from selfdistill.models.prompts import reprompt_user_turn
from selfdistill.study.methods.rlcsd import RlcsdSettings
from selfdistill.training.job import TrainingJob
from selfdistill.training.rewards import Reward
from selfdistill.training.teacher import failures, written
from selfdistill.training.variants.credit import Columns, Credit, CreditTrainer, train_with_credit

TEACHER = ("teacher_input_ids", "teacher_attention_mask", "self_distillation_mask")


def corrections(contrast: torch.Tensor, settings: RlcsdSettings) -> torch.Tensor:
    """Return r_t, (tokens,); contrast (e_t): (tokens,)."""
    return (settings.scale * settings.mix * (contrast / settings.tau).tanh()).clamp(-2, 2)


def corrected(advantages: torch.Tensor, correction: torch.Tensor) -> torch.Tensor:
    """Return A'_t, (tokens,): A + r_t on the side of A, 0 where A is 0; both arguments: (tokens,)."""
    side = advantages.sign()
    return side * (side * (advantages + correction)).clamp(min=0)


def mean_of_wrong(log_probs: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return log mean_k q_wrong,k(y_t), (rows, completion), -inf without any; log_probs: (hints, rows, completion), shown: (hints, rows)."""
    hidden = torch.where(shown.unsqueeze(-1), log_probs, -math.inf)
    return hidden.logsumexp(0) - shown.sum(0).log().unsqueeze(-1)


class RlcsdTrainer(CreditTrainer):
    """GRPO with corrected advantages of selected tokens."""

    def _prepare_training_batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch with one teacher input per wrong hint, under the names of SDPO's with the prefix `wrong_K_`."""
        batch, builder = super()._prepare_training_batch(inputs), self.teacher_context_builder
        questions = [row["prompt"][-1]["content"] for row in inputs]
        rollouts = builder.rollouts(questions, batch, batch["rewards"].tolist(), inputs)
        for number in range(self.settings.wrong_hints):
            turns = written(reprompt_user_turn, questions, failures(rollouts, number))
            built = builder.inputs(questions, turns, batch)
            batch |= {f"wrong_{number}_{name}": built[name] for name in TEACHER}
        return batch

    def scores(self, batch: dict) -> dict[str, torch.Tensor]:
        """Return the contrast e_t, (rows, completion), 0 in rows without both kinds of hints; remove the wrong hints' inputs."""
        log_probs, shown = [], []
        for number in range(self.settings.wrong_hints):
            hint = {name: batch.pop(f"wrong_{number}_{name}") for name in TEACHER}
            rows = self.scored(batch) & hint["self_distillation_mask"].bool()
            log_probs.append(self.teacher_scores(batch | hint, rows)["teacher_log_probs"])
            shown.append(rows)
        right = super().scores(batch)["teacher_log_probs"]
        wrong = mean_of_wrong(torch.stack(log_probs), torch.stack(shown))
        return {"contrast": torch.where(wrong.isfinite(), right - wrong, 0.0)}

    def totals(self, mini_batch: list[dict]) -> dict[str, torch.Tensor]:
        """Return the number of selected tokens."""
        corrected_by = [corrections(batch["contrast"], self.settings) for batch in mini_batch]
        selected = [
            (correction.abs() > self.settings.delta) * batch["completion_mask"]
            for correction, batch in zip(corrected_by, mini_batch, strict=True)
        ]
        return {"selected_tokens": self.total(selected)}

    def credit(self, columns: Columns) -> Credit:
        """Return corrected advantages of selected tokens, and weights that make the means over both kinds of tokens."""
        correction = corrections(columns["contrast"], self.settings)
        chosen = correction.abs() > self.settings.delta
        count, tokens = columns["selected_tokens"], columns["loss_tokens"]
        means = [tokens / number.clamp(min=1) for number in (tokens - count, count)]
        advantages = torch.where(chosen, corrected(columns["advantages"], correction), columns["advantages"])
        return Credit(advantages, policy=torch.where(chosen, self.settings.eta * means[1], means[0]))


def train_rlcsd(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of RLCSD; reward: replaces the grader."""
    train_with_credit(RlcsdTrainer, job, reward)
