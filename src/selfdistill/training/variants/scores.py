"""SDPO's trainer with log-probabilities and entropies of completion tokens, before the updates of a mini-batch."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from trl.trainer.utils import maybe_gather_lm_head_ctx

from selfdistill.training.loss.head import causal_model, hidden_at, output_head, through_wrapper
from selfdistill.training.loss.projection import chunked_statistics
from selfdistill.training.rollouts import with_loss
from selfdistill.training.sdpo import SelfDistillationTrainer, student_inputs

Statistics = tuple[torch.Tensor, torch.Tensor]
"""(log-probability, entropy in nats) of each token, both (tokens,)."""


class ScoringTrainer(SelfDistillationTrainer):
    """SelfDistillationTrainer that can score a batch's completion under teacher and policy."""

    def teacher_scores(self, batch: dict, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the teacher's log-probabilities and entropies of the completion, (rows, completion), 0 outside of `rows`.

        rows: (rows,), bool. One pass, also if there are none: all processes run the same passes.
        """
        return padded("teacher", self.teacher_statistics, batch, rows)

    def policy_scores(self, batch: dict, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the same of the current policy, without gradient."""
        return padded("policy", self.policy_statistics, batch, rows)

    def teacher_statistics(self, batch: dict, tokens: torch.Tensor) -> Statistics:
        """Return the teacher's statistics of the chosen tokens, (rows, completion), bool, without gradient."""
        inputs = (batch["teacher_input_ids"], batch["teacher_attention_mask"])
        with torch.no_grad(), self._get_teacher_context_for_self_distillation():
            return self._statistics(self.teacher_model, self.teacher, inputs, batch["completion_ids"], tokens)

    def policy_statistics(self, batch: dict, tokens: torch.Tensor) -> Statistics:
        """Return the policy's statistics of the chosen tokens, (rows, completion), bool, without gradient."""
        inputs = student_inputs(batch)
        with torch.no_grad():
            return self._statistics(self.model, self.policy, inputs, batch["completion_ids"], tokens)

    def everywhere(self, parts: Sequence[torch.Tensor], tokens: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the values of the chosen tokens of all passes and processes, (values,); parts, tokens: (rows, completion) each."""
        own = torch.cat([part[mask] for part, mask in zip(parts, tokens, strict=True)])
        values = self.accelerator.gather(self.accelerator.pad_across_processes(own, pad_index=math.nan))
        return values[~values.isnan()]

    def _statistics(
        self,
        wrapper: nn.Module,
        unwrapped: nn.Module,
        inputs: tuple[torch.Tensor, torch.Tensor],
        completion: torch.Tensor,
        tokens: torch.Tensor,
    ) -> Statistics:
        """Return a model's statistics of the chosen tokens of the completion, (rows, completion); inputs: its ids and mask."""
        model = causal_model(unwrapped)

        def statistics(ids: torch.Tensor, mask: torch.Tensor) -> Statistics:
            """Return the statistics inside the wrapper's forward pass."""
            with self.accelerator.autocast():
                hidden, head = hidden_at(model, ids, mask, tokens), output_head(model)
                with maybe_gather_lm_head_ctx(*head):
                    return chunked_statistics(hidden, head, completion[tokens], self.temperature)

        return through_wrapper(wrapper, unwrapped, statistics, *inputs)


def padded(
    who: str, statistics: Callable[[dict, torch.Tensor], Statistics], batch: dict, rows: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return `WHO_log_probs` and `WHO_entropies`, (rows, completion), of the completion tokens of `rows`, (rows,), bool; 0 elsewhere."""
    part, kept = with_loss(batch, rows), rows.clone()
    kept[0] |= not rows.any()
    tokens = part["completion_mask"].bool()
    found = {}
    for name, values in zip(("log_probs", "entropies"), statistics(part, tokens), strict=True):
        scores = torch.zeros(batch["completion_mask"].shape, device=values.device)
        short = torch.zeros(tokens.shape, device=values.device).masked_scatter(tokens, values)
        scores[kept, : tokens.shape[1]] = short
        found[f"{who}_{name}"] = scores * rows.unsqueeze(1)
    return found


def least_of_highest(values: torch.Tensor, share: float) -> torch.Tensor:
    """Return the smallest of the highest `share` of some values, (values,), at least one of them; infinity if there are none."""
    count = math.ceil(share * len(values) - 1e-9)  # 0.1 * 30 is a little more than 3
    return values.topk(count).values[-1] if count else values.new_tensor(math.inf)
