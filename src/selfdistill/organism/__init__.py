"""The model organism of the mini study: a task, its tokenizer, and base models that are trained from scratch in the DAG."""
