"""Matrix products of float32 at the processor's full width.

On the CPU torch hands them to MKL, which leaves the 512-bit units of other makers' processors unused; oneDNN, which torch carries
too, does not (measured: 111 against 245 GFLOP/s on one core of an AMD EPYC with AVX-512). It makes a kernel for every new shape,
so this is for loops in which few shapes recur: base training, not sampling.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from selfdistill.fast_cpu import enabled

ROUNDING = 2e-4
"""Largest error in the products of `keeps_float32`: float32 stays 30 times below it, bfloat16 is 100 times above it."""


def wide_mm(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The product of two matrices by oneDNN; torch lets it take float32 only together with the leave to round to bfloat16."""
    matmul = torch.backends.mkldnn.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        return torch.mm(left, right)
    finally:
        matmul.fp32_precision = before


def keeps_float32() -> bool:
    """Whether `wide_mm` computes in float32. Processors with units for bfloat16 (AMX) make use of the leave to round."""
    numbers = torch.linspace(-1, 1, 64 * 64, dtype=torch.float64).view(64, 64).sin()
    error = wide_mm(numbers.float(), numbers.float()).double() - numbers @ numbers
    return error.abs().max().item() < ROUNDING


class WideLinear(torch.autograd.Function):
    """F.linear, forward and backward, by `wide_mm`: inputs (..., in), weight (out, in)."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The outputs, (..., out)."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        ctx.save_for_backward(rows, weight)
        ctx.shape = inputs.shape
        return wide_mm(rows, weight.t()).view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of inputs and weight."""
        rows, weight = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1])
        return wide_mm(gradient, weight).view(ctx.shape), wide_mm(gradient.t(), rows)


class WideLinears(TorchFunctionMode):
    """Within the block, F.linear of whole batches (rows, tokens, in) is `WideLinear`.

    Chosen tokens, whose number hardly ever recurs, keep torch's product, for kernels are kept and take a megabyte each. So does
    attention: its products are so small that oneDNN's cost per call is more than they take.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Called by torch in place of each of its functions."""
        if function is not F.linear or args[0].ndim < 3:
            return function(*args, **(kwargs or {}))
        inputs, weight, bias = (*args, None)[:3]
        outputs = WideLinear.apply(inputs, weight)
        return outputs if bias is None else outputs + bias


@contextmanager
def wide_products() -> Iterator[bool]:
    """Run the block's linear layers in oneDNN, where that has AVX-512 and keeps float32; yield whether they do."""
    wide = enabled() and torch.backends.cpu.get_cpu_capability() == "AVX512" and keeps_float32()
    with WideLinears() if wide else nullcontext():
        yield wide
