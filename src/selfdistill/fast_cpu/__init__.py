"""Faster paths for tiny models on a CPU; no study on a GPU uses this package.

Models of a few million parameters leave a processor idle between their small operations. Each path here does the same
work in fewer or wider operations. Each has a plain twin, the standard code of transformers or torch. The twin runs on
every GPU, and on a CPU if the environment sets `SELFDISTILL_PLAIN=1`. Results agree up to float32 rounding; a sampled
token can depend on the last bit, so single responses may differ. `tests/unit/test_fast_cpu.py` compares each module with
its twin.

| module | replaces | measured |
|---|---|---|
| `growing_cache` | a cache that is copied at every token | these three, and sampling that drops ended rows: 3.4 to 4.7 |
| `single_query` | torch's attention kernel, for one new token per row | times the tokens per second of `generate` |
| `attention` | masks that transformers builds at every token | (benchmarks/evaluation.md) |
| `shared_prefix` | one prompt pass per response of a group | an SDPO step: 0.81 to 0.55 CPU s; a GRPO step: 0.62 to 0.53; |
| | | both without rows that have no signal (benchmarks/training_step.md) |
| `products` | torch's matrix products (MKL) | base training steps are 1.45 to 1.49 times as fast |
| | | (benchmarks/base_step.md) |

Callers ask the module they need, which asks `enabled` or `serves`; no other code reads the switch.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # callers that only need the switch do not load torch
    from transformers import PreTrainedModel

SWITCH = "SELFDISTILL_PLAIN"
_ENABLED = {"": True, "0": True, "1": False}


def enabled() -> bool:
    """Return whether the faster paths are on. Raise ValueError if the environment's value is neither 0 nor 1."""
    value = os.environ.get(SWITCH, "")
    if value not in _ENABLED:
        raise ValueError(f"{SWITCH} must be 0 or 1 (plain paths only), not {value!r}")
    return _ENABLED[value]


def serves(model: "PreTrainedModel") -> bool:
    """Return whether the faster paths apply to `model`: it is on a CPU, and they are not switched off."""
    return enabled() and model.device.type == "cpu"
