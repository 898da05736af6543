"""The GPU tests: their code runs, at a tiny size on the CPU, and without a GPU they are skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def gpu_tests(**variables: str) -> str:
    """What `pytest tests/gpu` prints, on a machine without a GPU."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} | variables
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests/gpu"],
        capture_output=True, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_measurement_runs_at_a_tiny_size_and_the_table_has_its_row():
    output = gpu_tests(SELFDISTILL_GPU_TESTS="tiny")
    rows = [line for line in output.splitlines() if line.startswith("| ")][2:]
    for name in (
        "top-k, bf16 against float64", "full, bf16 against float64", "top-k loss: this project",
        "top-k loss: TRL's SDPO", "full loss: this project", "full loss: TRL's chunked divergence",
        "GRPO step, transformers", "SDPO step, transformers", "killed and resumed SDPO, moving teacher",
        "evaluation of the trained weights, transformers",
    ):  # fmt: skip
        assert any(row.startswith(f"| {name} |") for row in rows), output
    assert "tiny sizes on the CPU" in output


def test_without_a_gpu_they_are_skipped_with_the_reason():
    output = gpu_tests()
    assert "no CUDA device" in output
    assert "passed" not in output


def test_the_sizes_are_those_of_the_paper(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    sizes = pytest.importorskip("gpu.sizes").FULL
    assert (sizes.vocabulary, sizes.loss_tokens, sizes.response) == (151_936, 20_480, 8192)
