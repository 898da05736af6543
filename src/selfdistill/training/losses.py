"""Token losses of on-policy self-distillation (paper Eq 1; paper.md 4.3), on loss tokens laid out in one row.

The divergence is the authors' generalised Jensen-Shannon divergence on the *student's* top-k tokens and one
tail bucket:

    D(s, t) = (1 - alpha) KL(s || m) + alpha KL(t || m),   m = (1 - alpha) s + alpha t

with alpha = 0 meaning KL(t || s) and alpha = 1 meaning KL(s || t) (Eq 1). TRL's `loss_utils` are a faithful
port of the authors' functions and are used as they are; what TRL does differently, the mean over sequence
means, is replaced by `token_mean`.
"""

import torch
from trl.experimental.sdpo.loss_utils import (
    apply_importance_sampling_clipping,
    compute_topk_self_distillation_loss,
)


def check_top_k(top_k: int, vocabulary: int) -> None:
    """Refuse a top-k that the vocabulary cannot fill, before torch.topk fails in the first step."""
    if not 0 < top_k <= vocabulary:
        raise ValueError(
            f"sdpo.top_k is {top_k}, but the model's vocabulary has {vocabulary} tokens: "
            f"choose 1..{vocabulary}"
        )


def token_log_probs(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Log-probability of each token, the shape of token_ids; logits (..., vocabulary).

    TRL's `selective_log_softmax` loops over the rows in Python, here over the tokens, and fails without any.
    """
    return logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    token_ids: torch.Tensor,
    old_log_probs: torch.Tensor | None,
    *,
    alpha: float,
    top_k: int,
    tail: bool,
    is_clip: float | None,
) -> torch.Tensor:
    """Loss of every token, (tokens,).

    student_logits, teacher_logits: (tokens, vocabulary), the same tokens under both contexts; token_ids:
    (tokens,) as sampled; old_log_probs: (tokens,) log-probability of the token at rollout time, None when the
    policy has not moved since. The divergence is weighted by min(pi / pi_old, is_clip), through which no
    gradient flows. Computed in float32.
    """
    student_logits, teacher_logits = student_logits.float(), teacher_logits.float()
    check_top_k(top_k, student_logits.shape[-1])
    loss = compute_topk_self_distillation_loss(
        student_logits,
        teacher_logits,
        distillation_topk=top_k,
        distillation_alpha=alpha,
        distillation_add_tail=tail,
    )
    if is_clip is None or old_log_probs is None:
        return loss
    log_probs = token_log_probs(student_logits.detach(), token_ids)
    return apply_importance_sampling_clipping(loss, log_probs, old_log_probs, is_clip)


def token_mean(
    token_losses: torch.Tensor, mini_batch_tokens: torch.Tensor, processes: int = 1
) -> torch.Tensor:
    """Share of these tokens in the mean over all loss tokens of the optimizer's mini-batch.

    Summed over the micro-batches of a mini-batch this is exactly the mean over its tokens, however it was
    split; `processes` undoes the average over processes that data-parallel training takes.
    """
    return token_losses.sum() * (processes / mini_batch_tokens.clamp(min=1))
