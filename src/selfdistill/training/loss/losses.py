"""Token losses of on-policy self-distillation (paper Eq 1; paper.md 4.3), on the loss tokens of all rows in one sequence.

The divergence is the authors' generalized Jensen-Shannon divergence on the *student's* top-k tokens and one tail bucket:

    D(s, t) = (1 - alpha) KL(s || m) + alpha KL(t || m),   m = (1 - alpha) s + alpha t

where alpha = 0 means KL(t || s) and alpha = 1 means KL(s || t) (Eq 1). TRL's `loss_utils`, used here, are a faithful
port of the authors' functions. Only TRL's mean over sequence means differs; `token_mean` replaces it. `chunked` computes
the same losses without the logits of all tokens in memory.
"""

import torch
from trl.experimental.sdpo.loss_utils import (
    add_tail_bucket,
    apply_importance_sampling_clipping,
    compute_divergence,
)

from selfdistill.training.loss.projection import at_least_float32, token_log_probs


def check_top_k(top_k: int | None, vocabulary: int) -> None:
    """Raise ValueError if `top_k` exceeds the vocabulary, before torch.topk fails in the first step; None: all of it."""
    if top_k is not None and not 0 < top_k <= vocabulary:
        raise ValueError(
            f"sdpo.top_k is {top_k}, but must be in 1..{vocabulary}: the vocabulary has {vocabulary} tokens"
        )


def support_divergence(
    student_log_probs: torch.Tensor, teacher_log_probs: torch.Tensor, *, alpha: float, tail: bool
) -> torch.Tensor:
    """Return D(s, t) of every token, (tokens,), from log-probabilities of the same vocabulary entries, (tokens, support).

    tail: whether all other entries form one more bucket; if not, the support is renormalized.
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
    """Return losses x min(pi / pi_old, is_clip), (tokens,), or `losses` without is_clip or old_log_probs.

    losses, log_probs, old_log_probs: (tokens,). No gradient flows through the ratio.
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
    """Return the loss of every token, (tokens,): D(s, t) x min(pi / pi_old, is_clip).

    student_logits, teacher_logits: (tokens, vocabulary), of the same tokens under both contexts; token_ids: (tokens,), as
    sampled; old_log_probs: (tokens,), log-probabilities at rollout time, None if the policy has not changed since; top_k:
    None for the whole vocabulary, which has no tail. No gradient flows through the ratio. Computed in float32, or in
    float64 if the logits are.
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
    """Return the share of `token_losses` in the mean over all loss tokens of the optimizer mini-batch.

    Summed over its micro-batches, this is exactly the mean over the mini-batch's tokens, however it is split. `processes`
    cancels the mean over processes of data-parallel training.
    """
    return token_losses.sum() * (processes / mini_batch_tokens.clamp(min=1))
