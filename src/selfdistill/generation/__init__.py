"""Generation of responses: one protocol (`protocol`) and two backends (transformers; vLLM on GPUs)."""
