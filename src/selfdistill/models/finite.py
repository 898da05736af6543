"""Numbers and weights that are not finite end a job before anything is made of them."""

import math
from collections.abc import Iterable, Mapping

import torch


class NotFinite(ArithmeticError):
    """A loss, a gradient norm, a weight or a logit is NaN or infinite; names the run, the step and the tensor."""


def check_numbers(values: Mapping[str, float], where: str) -> None:
    """Raise NotFinite for the first of `values` that is NaN or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFinite(f"{where}: {name} is {value}")


def check_weights(weights: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Raise NotFinite if a tensor of `weights` (name, tensor) holds NaN or infinity.

    A sum that is finite has finite terms, and takes one fast pass; only where one is not are values counted.
    """
    tensors = {name: tensor.detach() for name, tensor in weights if tensor.is_floating_point()}
    if torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors.values()]).isfinite().all():
        return
    counts = {name: int((~tensor.isfinite()).sum()) for name, tensor in tensors.items()}
    broken = [name for name, count in counts.items() if count]
    if broken:
        others = f" (and {len(broken) - 1} other tensors)" if len(broken) > 1 else ""
        raise NotFinite(f"{where}: {broken[0]} has {counts[broken[0]]} values that are not finite{others}")
