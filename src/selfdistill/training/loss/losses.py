"""Token losses of on-policy self-distillation (paper Eq 1; paper.md 4.3), on loss tokens laid out in one row.

The divergence is the authors' generalised Jensen-Shannon divergence on the *student's* top-k tokens and one
tail bucket:

    D(s, t) = (1 - alpha) KL(s || m) + alpha KL(t || m),   m = (1 - alpha) s + alpha t

with alpha = 0 meaning KL(t || s) and alpha = 1 meaning KL(s || t) (Eq 1). TRL's `loss_utils` are a faithful
port of the authors' functions and are put together here; what TRL does differently, the mean over sequence
means, is replaced by `token_mean`. `chunked` computes the same losses without ever holding all logits.
"""

import torch
from trl.experimental.sdpo.loss_utils import (
    add_tail_bucket,
    apply_importance_sampling_clipping,
    compute_divergence,
)

from selfdistill.training.loss.projection import at_least_float32, token_log_probs


def check_top_k(top_k: int, vocabulary: int) -> None:
    """Refuse a top-k that the vocabulary cannot fill, before torch.topk fails in the first step."""
    if not 0 < top_k <= vocabulary:
        raise ValueError(
            f"sdpo.top_k is {top_k}, but the model's vocabulary has {vocabulary} tokens: "
            f"choose 1..{vocabulary}"
        )


def support_divergence(
    student_log_probs: torch.Tensor, teacher_log_probs: torch.Tensor, *, alpha: float, tail: bool
) -> torch.Tensor:
    """D(s, t) of every token, (tokens,), from log-probabilities of the same tokens of the vocabulary,
    (tokens, support).

    What the support leaves out is one more bucket (`tail`) or is left out by renormalising.
    """
    pair = (student_log_probs, teacher_log_probs)
    if tail:
        student, teacher = (add_tail_bucket(x) for x in pair)
    else:
        student, teacher = (x - x.logsumexp(-1, keepdim=True) for x in pair)
    return compute_divergence(student, teacher, alpha)


def importance_weighted(
    losses: torch.Tensor,
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor | None,
    is_clip: float | None,
) -> torch.Tensor:
    """`losses` times min(pi / pi_old, is_clip), all (tokens,); as they are without a clip or without
    old_log_probs. No gradient flows through the ratio.
    """
    if is_clip is None or old_log_probs is None:
        return losses
    return apply_importance_sampling_clipping(losses, log_probs, old_log_probs, is_clip)


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    token_ids: torch.Tensor,
    old_log_probs: torch.Tensor | None,
    *,
    alpha: float,
    top_k: int | None,
    tail: bool,
    is_clip: float | None,
) -> torch.Tensor:
    """Loss of every token, (tokens,).

    student_logits, teacher_logits: (tokens, vocabulary), the same tokens under both contexts; token_ids:
    (tokens,) as sampled; old_log_probs: (tokens,) log-probability of the token at rollout time, None when the
    policy has not moved since; top_k: None for the whole vocabulary, which has no tail. The divergence is
    weighted by min(pi / pi_old, is_clip), through which no gradient flows. Computed in float32 (float64
    logits: in float64).
    """
    student_logits, teacher_logits = at_least_float32(student_logits), at_least_float32(teacher_logits)
    if top_k is None:
        pair = (student_logits.log_softmax(-1), teacher_logits.log_softmax(-1))
        losses = compute_divergence(*pair, alpha)
    else:
        check_top_k(top_k, student_logits.shape[-1])
        values, support = student_logits.topk(top_k, dim=-1)
        losses = support_divergence(
            values - student_logits.logsumexp(-1, keepdim=True),
            teacher_logits.gather(-1, support) - teacher_logits.logsumexp(-1, keepdim=True),
            alpha=alpha,
            tail=tail,
        )
    now = token_log_probs(student_logits.detach(), token_ids)
    return importance_weighted(losses, now, old_log_probs, is_clip)


def token_mean(
    token_losses: torch.Tensor, mini_batch_tokens: torch.Tensor, processes: int = 1
) -> torch.Tensor:
    """Share of these tokens in the mean over all loss tokens of the optimizer's mini-batch.

    Summed over the micro-batches of a mini-batch this is exactly the mean over its tokens, however it was
    split; `processes` undoes the average over processes that data-parallel training takes.
    """
    return token_losses.sum() * (processes / mini_batch_tokens.clamp(min=1))
