"""The model organism of the mini study: a task, its tokenizers, and base models trained from scratch within the DAG."""
