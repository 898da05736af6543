"""Matrix products of float32 at the processor's full width.

On the CPU torch hands them to MKL, which leaves the 512-bit units of other makers' processors unused; oneDNN, which torch carries
too, does not (measured: 111 against 245 GFLOP/s on one core of an AMD EPYC with AVX-512). It makes a kernel for every new shape,
so this is for loops in which few shapes recur: base training, not sampling.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

ROUNDING = 2e-4
"""Largest error in the products of `keeps_float32`: float32 stays 30 times below it, bfloat16 is 100 times above it."""


@contextmanager
def wide_products() -> Iterator[bool]:
    """Within the block, float32 products on the CPU run in oneDNN, where it keeps their precision; yields whether they do.

    torch lets oneDNN take them only together with the leave to round to bfloat16. Processors with units for that (AMX) would make use
    of it; there, and where there is no AVX-512, nothing changes. Attention is computed as products over whole batches, because
    torch's fused kernel for the CPU splits it into products so small that oneDNN's cost by call is more than they take.
    """
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        wide = torch.backends.cpu.get_cpu_capability() == "AVX512" and keeps_float32()
        with ExitStack() as stack:
            if wide:
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            else:
                matmul.fp32_precision = before
            yield wide
    finally:
        matmul.fp32_precision = before


def keeps_float32() -> bool:
    """Whether products are computed in float32 now, whatever the settings allow."""
    numbers = torch.linspace(-1, 1, 64 * 64, dtype=torch.float64).view(64, 64).sin()
    error = (numbers.float() @ numbers.float()).double() - numbers @ numbers
    return error.abs().max().item() < ROUNDING
