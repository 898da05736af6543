"""Matrix products of float32 at the processor's full vector width.

On a CPU torch uses MKL, which does not use the 512-bit units of non-Intel processors. oneDNN, also part of torch, does (measured on
one core of an AMD EPYC with AVX-512: 111 GFLOP/s with MKL, 245 with oneDNN). oneDNN compiles a kernel for every new shape, so
this pays only in loops with few shapes: base training, not sampling.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from selfdistill.fast_cpu import enabled

ROUNDING = 2e-4
"""Largest error that `keeps_float32` accepts; float32 errs 30 times less, bfloat16 100 times more."""


def wide_mm(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the product of two matrices, (rows, inner) and (inner, columns), computed by oneDNN."""
    matmul = torch.backends.mkldnn.matmul
    # torch dispatches float32 to oneDNN only if reduced precision is allowed; `keeps_float32` checks that it is not used
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        return torch.mm(left, right)
    finally:
        matmul.fp32_precision = before


def keeps_float32() -> bool:
    """Return whether `wide_mm` computes in float32; processors with bfloat16 units (AMX) use reduced precision."""
    numbers = torch.linspace(-1, 1, 64 * 64, dtype=torch.float64).view(64, 64).sin()
    error = wide_mm(numbers.float(), numbers.float()).double() - numbers @ numbers
    return error.abs().max().item() < ROUNDING


class WideLinear(torch.autograd.Function):
    """F.linear without bias by `wide_mm`, forward and backward; inputs: (..., in), weight: (out, in)."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (..., out)."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        ctx.save_for_backward(rows, weight)
        ctx.shape = inputs.shape
        return wide_mm(rows, weight.t()).view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gradients of inputs and weight; gradient: (..., out)."""
        rows, weight = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1])
        return wide_mm(gradient, weight).view(ctx.shape), wide_mm(gradient.t(), rows)


class WideLinears(TorchFunctionMode):
    """Inside the block, replace F.linear of whole batches, (rows, tokens, in), by `WideLinear`.

    Inputs of chosen tokens, (tokens, in), keep torch's product: their number rarely recurs, and every compiled kernel stays in
    memory (1 MB). Attention keeps it too: oneDNN's per-call overhead exceeds the run time of its small products.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the result of `function`; torch calls this in place of each of its functions."""
        if function is not F.linear or args[0].ndim < 3:
            return function(*args, **(kwargs or {}))
        inputs, weight, bias = (*args, None)[:3]
        outputs = WideLinear.apply(inputs, weight)
        return outputs if bias is None else outputs + bias


@contextmanager
def wide_products() -> Iterator[bool]:
    """Run the block's linear layers in oneDNN if the CPU has AVX-512 and float32 is kept; yield whether they do."""
    wide = enabled() and torch.backends.cpu.get_cpu_capability() == "AVX512" and keeps_float32()
    with WideLinears() if wide else nullcontext():
        yield wide
