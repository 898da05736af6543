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
    """Raise NotFinite if a tensor of `weights` (name, tensor) holds NaN or infinity: one pass that keeps their largest."""
    tensors = {
        name: tensor.detach() for name, tensor in weights if tensor.numel() and tensor.is_floating_point()
    }
    if torch.nn.utils.get_total_norm(tensors.values(), math.inf).isfinite():
        return
    counts = {name: int((~tensor.isfinite()).sum()) for name, tensor in tensors.items()}
    name, count = next((name, count) for name, count in counts.items() if count)
    others = sum(map(bool, counts.values())) - 1
    raise NotFinite(
        f"{where}: {name} has {count} values that are not finite ({others} other tensors have some too)"
    )
