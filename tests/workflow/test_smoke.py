"""The smoke study with random weights, really run on the CPU at a reduced size, and what is measured of it."""

import json
import re
import subprocess
import sys

import pandas
import pytest

from .conftest import copy_workflow

STUDY = ("--config", "study=smoke_random")
REDUCED = {
    "vocabulary_size: 151936": "vocabulary_size: 512", "hidden_size: 2048": "hidden_size: 32",
    "layers: 28": "layers: 1", "heads: 16": "heads: 2", "key_heads: 8": "key_heads: 1",
    "head_dim: 128": "head_dim: 16", "intermediate_size: 6144": "intermediate_size: 48",
    "response_tokens: 600": "response_tokens: 24",
}  # fmt: skip
"""A model that a CPU runs in seconds, in the place of the shape of Qwen3-1.7B."""


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The whole study, with `backend: transformers` and without GPUs."""
    study = copy_workflow(tmp_path_factory.mktemp("smoke") / "study")
    path = study.root / "config/models.yaml"
    before, mark, base = path.read_text().partition("  random-1.7b:\n    source: random")
    for old, new in REDUCED.items():
        assert f" {old}\n" in base
        base = base.replace(f" {old}\n", f" {new}\n", 1)
    path.write_text(before + mark + base)
    path = study.root / "config/smoke_random.yaml"
    text = (
        path.read_text()
        .replace("backend: vllm", "backend: transformers")
        .replace(", gpus: 1", "")
        .replace("threads: 8, ", "")
    )
    text = re.sub(r"max_new_tokens: 2048", "max_new_tokens: 96", text)
    path.write_text(re.sub(r"mem_mb: \d+", "mem_mb: 3000", text))
    study.snakemake(*STUDY)
    return study


def test_every_stage_has_data_though_the_weights_are_random(smoke):
    assert (smoke.root / "results/smoke_random/report.html").exists()
    rollouts = pandas.concat(
        map(pandas.read_parquet, smoke.root.glob("results/smoke_random/runs/**/rollouts.parquet"))
    )
    assert 0 < rollouts["score"].mean() < 0.5
    assert 12 < rollouts["response_tokens"].mean() < 48, "24 on average"
    assert rollouts["has_demonstration"].dropna().any()
    training = pandas.concat(
        map(pandas.read_parquet, smoke.root.glob("results/smoke_random/runs/*/sdpo/**/training.parquet"))
    )
    assert (training["grad_norm"] > 0).all()


def test_what_it_took_is_collected_and_the_plan_takes_it(smoke):
    def command(name, *arguments):
        """Run a command in the study's folder."""
        call = [sys.executable, "-m", f"selfdistill.commands.{name}", "--study", "smoke_random", *arguments]
        done = subprocess.run(call, cwd=smoke.root, env=smoke.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = json.loads(command("measure", "--output", "measured.json"))
    assert {"make_base", "sample_section_3", "train_off_policy", "train_on_policy", "evaluate"} <= set(
        found["stages"]
    )
    for rule in ("train_on_policy", "evaluate"):
        assert found["stages"][rule]["tokens_per_second"] > 0
        assert found["stages"][rule]["peak_memory_mb"] > 100
    assert 0 < found["assumptions"]["decoding_utilisation"] < 1
    page = command("plan", "--measured", "measured.json")
    assert "share of the peak in generation" in page
