"""The distillation loss of this project and of others, from the same hidden states and heads, each to its gradients.

Each takes `Inputs` and returns the mean token loss with its graph. Two kinds are comparable with each other: the divergence
over the student's top-k tokens and a tail (`top-k`), and that over the whole vocabulary (`full`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from selfdistill.training.loss.chunked import LossOptions, chunked_distillation
from selfdistill.training.loss.projection import Head

from .sizes import CUDA, DEVICE

ALPHA = 0.5


@dataclass(frozen=True)
class Inputs:
    """Hidden states and heads of student and teacher, with the sampled tokens; hidden and head are leaves."""

    hidden: torch.Tensor
    head: torch.Tensor
    teacher_hidden: torch.Tensor
    teacher_head: torch.Tensor
    ids: torch.Tensor
    top_k: int

    def leaves(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What gets gradients."""
        return self.hidden, self.head

    def to(self, dtype: torch.dtype) -> "Inputs":
        """The same numbers in another dtype."""
        student = (x.detach().to(dtype).requires_grad_() for x in self.leaves())
        teacher = (x.to(dtype) for x in (self.teacher_hidden, self.teacher_head))
        return Inputs(*student, *teacher, self.ids, self.top_k)


def draw(tokens: int, vocabulary: int, hidden: int, top_k: int) -> Inputs:
    """Random bfloat16 inputs: logits of a standard deviation of 2, the teacher's correlated with the student's."""
    generator = torch.Generator(DEVICE).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=DEVICE, dtype=torch.bfloat16)

    states, head = normal(tokens, hidden), normal(vocabulary, hidden) * (2 * hidden**-0.5)
    moved, other = states + normal(tokens, hidden) * 0.3, head + normal(vocabulary, hidden) * hidden**-0.5
    ids = torch.randint(vocabulary, (tokens,), generator=generator, device=DEVICE)
    return Inputs(states.requires_grad_(), head.requires_grad_(), moved, other, ids, top_k)


def ours(inputs: Inputs, top_k: int | None) -> torch.Tensor:
    """The loss of `training.loss.chunked`."""
    heads = Head(inputs.head), Head(inputs.teacher_head)
    total, _ = chunked_distillation(
        inputs.hidden, heads[0], inputs.teacher_hidden, heads[1], inputs.ids, None,
        LossOptions(ALPHA, top_k, True, None),
    )  # fmt: skip
    return total / len(inputs.ids)


def ours_top_k(inputs: Inputs) -> torch.Tensor:
    """This project, top-k."""
    return ours(inputs, inputs.top_k)


def ours_full(inputs: Inputs) -> torch.Tensor:
    """This project, whole vocabulary."""
    return ours(inputs, None)


def trl_sdpo(inputs: Inputs) -> torch.Tensor:
    """TRL's experimental SDPO loss, on the logits of all tokens as its trainer computes them."""
    loss_utils = pytest.importorskip("trl.experimental.sdpo.loss_utils", exc_type=ImportError)
    student = inputs.hidden @ inputs.head.t()
    with torch.no_grad():
        teacher = inputs.teacher_hidden @ inputs.teacher_head.t()
    return loss_utils.compute_topk_self_distillation_loss(
        student, teacher, distillation_topk=inputs.top_k, distillation_alpha=ALPHA, distillation_add_tail=True
    ).mean()


def trl_chunked(inputs: Inputs) -> torch.Tensor:
    """TRL's chunked divergence, whole vocabulary."""
    kernel = pytest.importorskip("trl.kernels.chunked_divergence", exc_type=ImportError)
    losses, _ = kernel.ChunkedDivergenceFunction.apply(
        inputs.hidden, inputs.head, None, inputs.teacher_hidden, inputs.teacher_head, None, ALPHA
    )
    return losses.mean()


def liger(inputs: Inputs) -> torch.Tensor:
    """Liger's fused linear JSD, whole vocabulary; compiled on a GPU, as by default."""
    losses = pytest.importorskip("liger_kernel.chunked_loss", exc_type=ImportError)
    loss = losses.LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=ALPHA, compiled=CUDA
    )
    return loss(inputs.hidden, inputs.head, inputs.teacher_hidden, inputs.teacher_head, inputs.ids)


Contender = Callable[[Inputs], torch.Tensor]
TOP_K: dict[str, Contender] = {"this project": ours_top_k, "TRL's SDPO": trl_sdpo}
FULL_VOCABULARY: dict[str, Contender] = {
    "this project": ours_full,
    "TRL's chunked divergence": trl_chunked,
    "Liger's fused JSD": liger,
}
