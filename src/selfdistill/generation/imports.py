"""What each backend imports to load a model; jobs that always load one have these modules imported before they start."""

from collections.abc import Mapping, Sequence
from typing import Any

LOADING = {
    "transformers": (
        "selfdistill.generation.transformers_backend",
        "transformers.models.auto.modeling_auto",
        "transformers.modeling_utils",
    ),
    "vllm": ("selfdistill.generation.vllm_backend",),
}
"""Generation backend -> modules."""


def transformers_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return the modules of a job that loads a model with transformers, whatever its params."""
    return LOADING["transformers"]
