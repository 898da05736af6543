"""Checks that numbers and weights are finite, so that a job fails before it uses or writes others."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class NotFinite(ArithmeticError):
    """A loss, gradient norm, weight or logit is NaN or infinite; the message names the run, the step and the tensor."""


def check_numbers(values: Mapping[str, float], where: str) -> None:
    """Raise NotFinite for the first of `values` that is NaN or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFinite(f"{where}: {name} is {value}")


def check_weights(weights: Iterable[tuple[str, "torch.Tensor"]], where: str) -> None:
    """Raise NotFinite if a tensor of `weights` (name, tensor) contains NaN or infinity.

    Values are counted only if a sum is not finite: a finite sum has finite terms, and summing takes one fast pass.
    """
    import torch  # callers that only check numbers do without

    tensors = {name: tensor.detach() for name, tensor in weights if tensor.is_floating_point()}
    if torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors.values()]).isfinite().all():
        return
    counts = {name: int((~tensor.isfinite()).sum()) for name, tensor in tensors.items()}
    broken = [name for name, count in counts.items() if count]
    if broken:
        others = f" (and {len(broken) - 1} other tensors)" if len(broken) > 1 else ""
        raise NotFinite(f"{where}: {broken[0]} has {counts[broken[0]]} values that are not finite{others}")
