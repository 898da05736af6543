"""Environment variables that limit the threads of numerical libraries; set them before these are imported."""

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def thread_limits(threads: int) -> dict[str, str]:
    """Return the variables that limit a process to `threads` threads."""
    return {**dict.fromkeys(VARIABLES, str(threads)), "TOKENIZERS_PARALLELISM": "false"}
