"""The losses of `losses` from hidden states and output heads, without the logits of all tokens (Eq 1).

At the paper's lengths (20,480 tokens, paper.md 4.3), logits over 151,936 tokens take 12 GB per model and row, and
autograd keeps several such tensors. Here tokens are projected one chunk at a time, and the gradients of a chunk are
computed together with its loss. So no tensor of size tokens x vocabulary outlives a chunk, no projection is done twice,
and the backward pass only scales the gradients of the forward pass. What remains is the gradient of the head itself,
(vocabulary, hidden).

A chunk has as many tokens as fit a byte budget. With the mini study's small vocabulary there is one chunk, at the cost of
the loss on logits.
"""

import math
from typing import Any, NamedTuple

import torch

from selfdistill.training.loss.losses import (
    check_top_k,
    importance_weighted,
    support_divergence,
)
from selfdistill.training.loss.projection import CHUNK_BYTES, Head, at_least_float32, project
from selfdistill.training.loss.targets import Target

# (tokens, vocabulary) tensors that exist at once, in units of float32 tensors (measured, rounded up)
TOP_K_COPIES = 2
FULL_COPIES = 4


class LossOptions(NamedTuple):
    """Options of `losses.distillation_loss`, and the temperature that divides the logits."""

    alpha: float
    top_k: int | None
    tail: bool
    is_clip: float | None
    temperature: float = 1.0

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `distillation_loss`."""
        return {name: value for name, value in self._asdict().items() if name != "temperature"}


def chunk_tokens(head: Head, copies: int, budget: int | None = None) -> int:
    """Return the tokens per chunk, at least one: as many as fit into `budget` bytes with `copies` rows of logits each.

    budget: default CHUNK_BYTES, or the size of the head's gradient if that is larger. Every chunk costs one pass over that
    gradient, so chunks must grow with the head.
    """
    size = max(head.weight.element_size(), 4)
    if head.weight.element_size() < 4:
        copies += 1  # the projection's own output, before it is widened
    budget = budget or max(CHUNK_BYTES, head.weight.numel() * size)
    return max(budget // (head.weight.shape[0] * size * copies), 1)


def chunked_distillation(
    student_hidden: torch.Tensor,
    student_head: Head,
    teacher_hidden: torch.Tensor,
    teacher_head: Head,
    token_ids: torch.Tensor,
    old_log_probs: torch.Tensor | None,
    options: LossOptions,
    *,
    weights: torch.Tensor | None = None,
    target: Target | None = None,
    budget: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (sum of the weighted token losses, token losses (tokens,) without gradient).

    They are those of `distillation_loss` on the heads' logits, divided by the temperature. student_hidden: (tokens,
    hidden); teacher_hidden: (tokens, the teacher's hidden); token_ids, old_log_probs: see `distillation_loss`; weights:
    (tokens,), in the sum, default 1; target: what the student is drawn to instead of the teacher's distribution (default: that);
    budget: bytes per chunk (`chunk_tokens`). Projections run in the autocast dtype, if there is one, everything else in float32.
    Gradients go to the student's hidden states and head, for one backward pass.
    Raise ValueError for an impossible top_k, RuntimeError for a second backward pass.
    """
    check_top_k(options.top_k, student_head.weight.shape[0])
    if weights is None:
        weights = torch.ones(len(token_ids), device=student_hidden.device)
    if not torch.is_grad_enabled():  # else every chunk would compute unused gradients
        student_hidden, student_head = student_hidden.detach(), detached(student_head)
    teacher_hidden, teacher_head = teacher_hidden.detach(), detached(teacher_head)
    return _Distillation.apply(
        student_hidden, *student_head, teacher_hidden, teacher_head, token_ids, old_log_probs, weights,
        options, target, budget,
    )  # fmt: skip


def detached(head: Head) -> Head:
    """Return the head without gradient."""
    return Head(head.weight.detach(), None if head.bias is None else head.bias.detach())


def in_dtype(head: Head, dtype: torch.dtype) -> Head:
    """Return the head in `dtype`, cast once for all chunks."""
    return Head(head.weight.to(dtype), None if head.bias is None else head.bias.to(dtype))


def compute_dtype(hidden: torch.Tensor) -> torch.dtype:
    """Return the dtype of a linear layer's products: the autocast dtype inside autocast, else that of `hidden`."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def shift_exp_(logits: torch.Tensor, maximum: torch.Tensor) -> torch.Tensor:
    """Replace logits, (tokens, vocabulary), by exp(logits - maximum) and return the sums, (tokens, 1); maximum: (tokens, 1)."""
    return logits.sub_(maximum).exp_().sum(-1, keepdim=True)


def top_k_losses(
    student: torch.Tensor,
    teacher: torch.Tensor,
    token_ids: torch.Tensor,
    old_log_probs: torch.Tensor | None,
    scales: torch.Tensor,
    options: LossOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (losses (tokens,), gradient of their sum weighted by `scales` (tokens, vocabulary)) of a chunk.

    student, teacher: logits, (tokens, vocabulary), overwritten to save memory; the rest: (tokens,). The loss depends on the
    logits only by the top-k values and the normalizer, so only these go through autograd. The derivative of the normalizer
    with respect to the logits is the softmax.
    """
    values, support = student.topk(options.top_k, dim=-1)
    chosen = student.gather(-1, token_ids.unsqueeze(-1))
    teacher_values = teacher.gather(-1, support)
    maximum = teacher.amax(-1, keepdim=True)
    # log-softmax of the teacher at the student's top-k tokens; `shift_exp_` overwrites its logits
    teacher_log_probs = teacher_values - maximum - shift_exp_(teacher, maximum).log()
    maximum = values.amax(-1, keepdim=True)
    total = shift_exp_(student, maximum)  # `student` / `total` is now its softmax
    normalizer = maximum + total.log()
    with torch.enable_grad():
        values, leaf = values.requires_grad_(), normalizer.requires_grad_()
        losses = support_divergence(values - leaf, teacher_log_probs, alpha=options.alpha, tail=options.tail)
        now = (chosen - normalizer).detach().squeeze(-1)
        losses = importance_weighted(losses, now, old_log_probs, options.is_clip)
        of_values, of_normalizer = torch.autograd.grad((losses * scales).sum(), (values, leaf))
    # chain rule: softmax x d loss / d normalizer everywhere, plus d loss / d value at the top-k
    return losses.detach(), student.mul_(of_normalizer / total).scatter_add_(-1, support, of_values)


def full_losses(
    student: torch.Tensor,
    teacher: torch.Tensor,
    token_ids: torch.Tensor,
    old_log_probs: torch.Tensor | None,
    scales: torch.Tensor,
    options: LossOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same as `top_k_losses` for the divergence over the whole vocabulary.

    With d = log(s / m), the derivative of D(s, t) with respect to the student's logits is (1 - alpha) s (d - sum of s d).
    For alpha = 0 it is s - t; for alpha = 1, m is t and the factor is 1.
    """
    alpha = options.alpha
    student_log_probs, teacher_log_probs = student.log_softmax(-1), teacher.log_softmax(-1)
    now = student_log_probs.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    # log t / s from the logits: near ones have an exact difference, which that of rounded log-probabilities is not
    tops = [x.amax(-1, keepdim=True) for x in (teacher, student, teacher_log_probs, student_log_probs)]
    ratio = teacher.sub_(student).sub_((tops[0] - tops[1]) - (tops[2] - tops[3]))
    spare = student
    student, teacher = student_log_probs.exp_(), teacher_log_probs.exp_()  # s, t
    if alpha == 0.0:
        losses, gradient = ratio.mul_(teacher).sum(-1), student.sub_(teacher)
    else:
        losses, share, mixture = 0.0, 1.0, ratio  # log m / s
        if alpha < 1.0:
            share, log_alpha = 1.0 - alpha, math.log(alpha)
            mixture = torch.logaddexp(ratio, ratio.new_tensor(math.log(share) - log_alpha), out=spare)
            # log t / m, before `mixture` is complete: a large ratio would round log alpha away
            losses = ratio.sub_(mixture).sub_(log_alpha).mul_(teacher).sum(-1) * alpha
            mixture.add_(log_alpha)
        weighted = mixture.mul_(student)
        mean = weighted.sum(-1, keepdim=True)
        losses = losses - share * mean.squeeze(-1)
        gradient = student.mul_(mean).sub_(weighted).mul_(share)
    losses, scales = (importance_weighted(x, now, old_log_probs, options.is_clip) for x in (losses, scales))
    return losses, gradient.mul_(scales.unsqueeze(-1))


class _Gradients:
    """Gradients of the student's hidden states, head weight and bias, summed over chunks in float32."""

    def __init__(
        self,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        needed: tuple[bool, ...],
    ) -> None:
        self.shares = [
            torch.zeros(x.shape, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
            if need
            else None
            for x, need in zip((hidden, weight, bias), needed, strict=True)
        ]

    def add(self, tokens: slice, logits: torch.Tensor, hidden: torch.Tensor, head: Head) -> None:
        """Add a chunk's share from the gradient of its logits; hidden, head: in the compute dtype."""
        of_hidden, of_weight, of_bias = self.shares
        narrow = logits.to(hidden.dtype)
        if of_hidden is not None:
            of_hidden[tokens] = narrow @ head.weight
        if of_weight is not None:
            add_product_(of_weight, narrow.t(), hidden)
        if of_bias is not None:
            of_bias += logits.sum(0)


def add_product_(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left @ right to `total` without rounding the product to half precision first."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif total.device.type == "cuda":
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


class _Distillation(torch.autograd.Function):
    """`chunked_distillation` for autograd: gradients are computed in the forward pass and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        teacher_hidden: torch.Tensor,
        teacher_head: Head,
        token_ids: torch.Tensor,
        old_log_probs: torch.Tensor | None,
        weights: torch.Tensor,
        options: LossOptions,
        target: Target | None,
        budget: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (weighted sum, token losses); arguments: as in `chunked_distillation`."""
        losses_of, copies = (
            (full_losses, FULL_COPIES) if options.top_k is None else (top_k_losses, TOP_K_COPIES)
        )
        dtypes = [compute_dtype(x) for x in (hidden, teacher_hidden)]
        head, teacher_head = in_dtype(Head(weight, bias), dtypes[0]), in_dtype(teacher_head, dtypes[1])
        size = chunk_tokens(head, max(copies, target.all_copies if target else 0), budget)
        gradients = _Gradients(hidden, weight, bias, ctx.needs_input_grad[:3])
        # `losses_of` returns the gradient of the divided logits; the heads need that of the undivided ones
        scales = weights / options.temperature
        losses = torch.zeros(len(token_ids), device=hidden.device, dtype=at_least_float32(hidden).dtype)
        # casts are explicit here: autocast would round the float32 losses and gradients too
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(token_ids), size):
                part = slice(start, start + size)
                chunk = hidden[part].to(dtypes[0])
                student = project(chunk, head, options.temperature)
                teacher = project(teacher_hidden[part].to(dtypes[1]), teacher_head, options.temperature)
                if target:
                    teacher = target.of_chunk(part, student, teacher, teacher_head, options.temperature)
                losses[part], of_logits = losses_of(
                    student,
                    teacher,
                    token_ids[part],
                    None if old_log_probs is None else old_log_probs[part],
                    scales[part],
                    options,
                )
                del student, teacher
                gradients.add(part, of_logits, chunk, head)
                del of_logits  # else it would exist beside the next chunk's logits
        # for the backward pass: gradients of the sum for a factor of 1, and the dtypes that autograd expects
        ctx.shares = gradients.shares
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden, weight, bias)]
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the forward pass times `scale`, the gradient of the sum."""
        if ctx.shares is None:
            raise RuntimeError("chunked_distillation allows one backward pass only")
        shares, ctx.shares = ctx.shares, None  # scaled in place: a copy would double the memory
        scaled = [
            None if share is None else share.mul_(scale).to(dtype)
            for share, dtype in zip(shares, ctx.dtypes, strict=True)
        ]
        return (*scaled, *(None,) * 8)
