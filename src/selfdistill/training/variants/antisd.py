"""AntiSD: the self-teacher's signal reversed, behind a gate on the teacher's entropy (`study.methods.antisd`)."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.nn.functional import softplus

from selfdistill.training.job import TrainingJob
from selfdistill.training.rewards import Reward
from selfdistill.training.variants.credit import Columns, Credit, CreditTrainer, gap, train_with_credit


def reversed_signal(gaps: torch.Tensor) -> torch.Tensor:
    """Return -phi(u_t), (tokens,); gaps (u_t): (tokens,)."""
    return (math.log(2) - softplus(gaps)) / 2


@dataclass
class EntropyGate:
    """A gate with hysteresis; total, count: of the medians seen in the warm-up; is_open: its state."""

    total: float = 0.0
    count: int = 0
    is_open: bool = True

    def open_for(self, median: float | None, warming_up: bool, low: float) -> bool:
        """Return whether the signal passes, after a mini-batch with this median entropy (None: it has no such token)."""
        if warming_up:
            if median is not None:
                self.total, self.count = self.total + median, self.count + 1
            return False
        if median is not None and self.count:
            reference = self.total / self.count
            self.is_open = median >= (low * reference if self.is_open else reference)
        return self.is_open


class AntisdTrainer(CreditTrainer):
    """GRPO with the reversed signal added to its advantages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = EntropyGate()

    def has_loss(self, batch: dict) -> torch.Tensor:
        """Return whether a row has an advantage or a demonstration, (rows,), bool."""
        return (batch["advantages"] != 0) | batch["self_distillation_mask"].bool()

    def totals(self, mini_batch: list[dict]) -> dict[str, torch.Tensor]:
        """Return the weight of the signal: that of the settings if the gate is open, else 0."""
        settings, found = self.settings, []
        for batch in mini_batch:
            tokens = batch["completion_mask"].bool() & self.scored(batch).unsqueeze(1)
            found += batch["teacher_entropies"][tokens].tolist()
        entropies = torch.tensor(gather_object(found))
        median = entropies.median().item() if len(entropies) else None
        warming_up = self.rollout_step < settings.gate_warmup_steps
        is_open = self.gate.open_for(median, warming_up, settings.gate_low)
        weight = settings.weight if is_open else 0.0
        return {"signal_weight": torch.tensor(weight, device=self.accelerator.device)}

    def credit(self, columns: Columns) -> Credit:
        """Return the advantages with the reversed signal."""
        return Credit(columns["advantages"] + columns["signal_weight"] * reversed_signal(gap(columns)))

    def method_state(self) -> dict[str, Any]:
        """Return the state of the gate."""
        return asdict(self.gate)

    def restore_method_state(self, state: dict[str, Any]) -> None:
        """Restore the gate."""
        self.gate = EntropyGate(**state)


def train_antisd(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run of AntiSD; reward: replaces the grader."""
    train_with_credit(AntisdTrainer, job, reward)
