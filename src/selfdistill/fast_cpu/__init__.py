"""Faster paths for tiny models on a CPU: the only room of the house that no study on a GPU enters.

Models of a few million parameters leave a processor idle between their small operations. Each path here does the same
work in fewer or wider operations. All have a plain twin, transformers' or torch's own, which runs on every GPU, and on a
CPU where the environment says `SELFDISTILL_PLAIN=1`. The results agree to the rounding of float32; as a sampled token can
hang on the last bit, single responses may part. `tests/unit/test_fast_cpu.py` holds each module to its twin.

| module | in place of | measured |
|---|---|---|
| `growing_cache` | a cache that is copied at every token | with `single_query` and `attention`, and sampling that |
| `single_query` | torch's attention kernel, for one new token per row | drops ended rows: 3.4 to 4.7 times the tokens per |
| `attention` | masks that transformers makes anew at every token | second of `generate` (benchmarks/evaluation.md) |
| `shared_prefix` | a prompt run once per response of its group | an SDPO step 0.81 to 0.55 CPU s, a GRPO step 0.62 to 0.53, |
| | | with rows without signal left out (benchmarks/training_step.md) |
| `products` | torch's matrix products (MKL) | a step of base training in 1/1.45 to 1/1.49 of the time |
| | | (benchmarks/base_step.md) |

Whoever wants a path asks the module, which asks `enabled` or `serves`; nobody else knows of the switch.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever asks for the switch alone need not wait for torch
    import torch

SWITCH = "SELFDISTILL_PLAIN"
_ENABLED = {"": True, "0": True, "1": False}


def enabled() -> bool:
    """Return whether the environment leaves the faster paths on; raise ValueError for a value that says neither."""
    value = os.environ.get(SWITCH, "")
    if value not in _ENABLED:
        raise ValueError(f"{SWITCH} must be 0 or 1 (plain paths only), not {value!r}")
    return _ENABLED[value]


def serves(model: "torch.nn.Module") -> bool:
    """Return whether the faster paths are for this model: on a CPU, and not switched off."""
    return enabled() and model.device.type == "cpu"
