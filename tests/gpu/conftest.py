"""Skips all GPU tests without a GPU, and prints their table at the end."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault(
    "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
)  # a resumed run is compared with an uninterrupted one
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if os.environ.get("SELFDISTILL_GPU_TESTS") == "tiny":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # tiny.py: jobs and rewards of the unit tests

import pytest  # noqa: E402

from .sizes import CUDA, SWITCH, TINY_ON_CPU  # noqa: E402
from .table import ROWS, markdown  # noqa: E402

STARTED = time.monotonic()


def pytest_collection_modifyitems(items):
    """Skip everything where there is neither a GPU nor the switch for the tiny size."""
    if not CUDA and not TINY_ON_CPU:
        skip = pytest.mark.skip(reason=f"no CUDA device; {SWITCH}=tiny runs the same code on the CPU")
        for item in items:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter):
    """Print the table."""
    if ROWS:
        terminalreporter.write_line("")
        terminalreporter.write_line(markdown(time.monotonic() - STARTED))
