"""Generation: one protocol (`protocol.py`), several backends (transformers here, vLLM on GPUs)."""
