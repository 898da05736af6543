"""The losses of `losses` from hidden states and output heads, without the logits of all tokens (Eq 1).

At the paper's lengths (20,480 tokens, paper.md 4.3) the logits of a vocabulary of 151,936 are 12 GB a model and
row, and autograd keeps several such tensors. Here tokens are projected a chunk at a time, and the gradients of
a chunk are computed with its loss: nothing of size tokens x vocabulary outlives a chunk, the backward pass only
scales what the forward pass left, and no projection is done twice. What remains is the gradient of the head
itself, (vocabulary, hidden).

Chunks hold as many tokens as fit a byte budget; a vocabulary as small as the mini study's is always one chunk,
and costs what the loss on logits costs.
"""

from typing import NamedTuple

import torch

from selfdistill.training.loss.losses import (
    check_top_k,
    distillation_loss,
    importance_weighted,
    support_divergence,
)
from selfdistill.training.loss.projection import CHUNK_BYTES, Head, at_least_float32, project

# (tokens, vocabulary) tensors that are alive at once, in units of float32: measured, rounded up
TOP_K_COPIES = 2
FULL_COPIES = 28


class LossOptions(NamedTuple):
    """What `losses.distillation_loss` takes, and the temperature that divides the logits."""

    alpha: float
    top_k: int | None
    tail: bool
    is_clip: float | None
    temperature: float = 1.0

    def arguments(self) -> dict:
        """The keyword arguments of `distillation_loss`."""
        return {name: value for name, value in self._asdict().items() if name != "temperature"}


def chunk_tokens(head: Head, copies: int, budget: int | None = None) -> int:
    """Tokens a chunk, at least one: as many as `copies` rows of logits each fit into `budget` bytes.

    The budget is by default CHUNK_BYTES, or the size of the head's own gradient where that is more: adding to
    a gradient costs a pass over it for every chunk, so chunks must grow with the head.
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
    budget: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of the weighted token losses, token losses (tokens,) without gradient), as `distillation_loss` of
    the heads' logits divided by the temperature.

    student_hidden: (tokens, hidden), teacher_hidden: (tokens, its own hidden); token_ids, old_log_probs: see
    `distillation_loss`; weights: (tokens,) of the sum, default 1; budget: bytes a chunk (`chunk_tokens`).
    Projections run in the autocast type, if there is one, and all else in float32; the gradient reaches the
    student's hidden states and head, once. Raises ValueError for an impossible top_k and RuntimeError for a
    second backward pass.
    """
    if options.top_k is not None:
        check_top_k(options.top_k, student_head.weight.shape[0])
    if weights is None:
        weights = torch.ones(len(token_ids), device=student_hidden.device)
    if not torch.is_grad_enabled():  # else every chunk's gradient would be computed for nothing
        student_hidden, student_head = student_hidden.detach(), detached(student_head)
    teacher_hidden, teacher_head = teacher_hidden.detach(), detached(teacher_head)
    return _Distillation.apply(
        student_hidden, *student_head, teacher_hidden, teacher_head, token_ids, old_log_probs, weights,
        options, budget,
    )  # fmt: skip


def detached(head: Head) -> Head:
    """The head without gradient."""
    return Head(head.weight.detach(), None if head.bias is None else head.bias.detach())


def in_dtype(head: Head, dtype: torch.dtype) -> Head:
    """The head in `dtype`, cast once for all chunks."""
    return Head(head.weight.to(dtype), None if head.bias is None else head.bias.to(dtype))


def compute_dtype(hidden: torch.Tensor) -> torch.dtype:
    """What a linear layer would compute in here: the autocast type inside autocast, else the input's."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def shift_exp_(logits: torch.Tensor, maximum: torch.Tensor) -> torch.Tensor:
    """Replace logits (tokens, vocabulary) by exp(logits - maximum (tokens, 1)); returns their sums, (tokens,
    1).
    """
    return logits.sub_(maximum).exp_().sum(-1, keepdim=True)


def top_k_losses(student, teacher, token_ids, old_log_probs, scales, options):
    """(losses (tokens,), gradient of their sum weighted by `scales` (tokens, vocabulary)) of a chunk's logits,
    which are overwritten.

    The loss depends on the logits by the top-k and by the normaliser alone, so only these go through autograd;
    d normaliser / d logits is the softmax.
    """
    values, support = student.topk(options.top_k, dim=-1)
    chosen = student.gather(-1, token_ids.unsqueeze(-1))
    teacher_values = teacher.gather(-1, support)
    maximum = teacher.amax(-1, keepdim=True)
    teacher_log_probs = teacher_values - maximum - shift_exp_(teacher, maximum).log()
    maximum = values.amax(-1, keepdim=True)
    total = shift_exp_(student, maximum)
    normaliser = maximum + total.log()
    with torch.enable_grad():
        values, leaf = values.requires_grad_(), normaliser.requires_grad_()
        losses = support_divergence(values - leaf, teacher_log_probs, alpha=options.alpha, tail=options.tail)
        now = (chosen - normaliser).detach().squeeze(-1)
        losses = importance_weighted(losses, now, old_log_probs, options.is_clip)
        of_values, of_normaliser = torch.autograd.grad((losses * scales).sum(), (values, leaf))
    return losses.detach(), student.mul_(of_normaliser / total).scatter_add_(-1, support, of_values)


def full_losses(student, teacher, token_ids, old_log_probs, scales, options):
    """As `top_k_losses`, over the whole vocabulary."""
    with torch.enable_grad():
        leaf = student.requires_grad_()
        losses = distillation_loss(leaf, teacher, token_ids, old_log_probs, **options.arguments())
        (gradient,) = torch.autograd.grad((losses * scales).sum(), leaf)
    return losses.detach(), gradient


class _Gradients:
    """Gradients of the student's hidden states, head weight and bias, added up over chunks in float32."""

    def __init__(self, hidden: torch.Tensor, weight: torch.Tensor, bias, needed: tuple[bool, ...]) -> None:
        self.shares = [
            torch.zeros(x.shape, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
            if need
            else None
            for x, need in zip((hidden, weight, bias), needed, strict=True)
        ]

    def add(self, tokens: slice, logits: torch.Tensor, hidden: torch.Tensor, head: Head) -> None:
        """Add a chunk's share: the gradient of its logits, its hidden states and the head, in the compute
        type.
        """
        of_hidden, of_weight, of_bias = self.shares
        narrow = logits.to(hidden.dtype)
        if of_hidden is not None:
            of_hidden[tokens] = narrow @ head.weight
        if of_weight is not None:
            add_product_(of_weight, narrow.t(), hidden)
        if of_bias is not None:
            of_bias += logits.sum(0)


def add_product_(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """total += left @ right without rounding the product to a half-precision type first."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif total.device.type == "cuda":
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


class _Distillation(torch.autograd.Function):
    """`chunked_distillation`: gradients are made in the forward pass and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx, hidden, weight, bias, teacher_hidden, teacher_head, token_ids, old_log_probs, weights, options,
        budget,
    ):  # fmt: skip
        """(weighted sum, token losses); every argument as in `chunked_distillation`."""
        losses_of, copies = (
            (full_losses, FULL_COPIES) if options.top_k is None else (top_k_losses, TOP_K_COPIES)
        )
        dtypes = [compute_dtype(x) for x in (hidden, teacher_hidden)]
        head, teacher_head = in_dtype(Head(weight, bias), dtypes[0]), in_dtype(teacher_head, dtypes[1])
        size = chunk_tokens(head, copies, budget)
        gradients = _Gradients(hidden, weight, bias, ctx.needs_input_grad[:3])
        scales = weights / options.temperature  # of the gradient of the undivided logits
        losses = torch.zeros(len(token_ids), device=hidden.device, dtype=at_least_float32(hidden).dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(token_ids), size):
                part = slice(start, start + size)
                chunk = hidden[part].to(dtypes[0])
                losses[part], of_logits = losses_of(
                    project(chunk, head, options.temperature),
                    project(teacher_hidden[part].to(dtypes[1]), teacher_head, options.temperature),
                    token_ids[part],
                    None if old_log_probs is None else old_log_probs[part],
                    scales[part],
                    options,
                )
                gradients.add(part, of_logits, chunk, head)
                del of_logits  # else it outlives the next chunk's projections
        ctx.shares = gradients.shares
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden, weight, bias)]
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale, _):
        """The gradients of the forward pass times that of the sum."""
        if ctx.shares is None:
            raise RuntimeError("the gradients of chunked_distillation can be taken once")
        shares, ctx.shares = ctx.shares, None  # scaled in place: a copy would double the head's gradient
        scaled = [
            None if share is None else share.mul_(scale).to(dtype)
            for share, dtype in zip(shares, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None, None, None, None, None)
