"""What each backend imports to load a model; jobs that always load one have these modules imported before they start."""

LOADING = {
    "transformers": (
        "selfdistill.generation.transformers_backend",
        "transformers.models.auto.modeling_auto",
        "transformers.modeling_utils",
    ),
    "vllm": ("selfdistill.generation.vllm_backend",),
}
"""Generation backend -> modules."""
