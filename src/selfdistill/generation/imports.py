"""What a backend imports when it loads a model; a job that surely loads one has it imported before it begins."""

LOADING = {
    "transformers": (
        "selfdistill.generation.transformers_backend",
        "transformers.models.auto.modeling_auto",
        "transformers.modeling_utils",
    ),
    "vllm": ("selfdistill.generation.vllm_backend",),
}
"""Generation backend -> modules."""
