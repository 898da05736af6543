"""GRPO and SDPO of a random model in the shape of Qwen3-1.7B at long responses, a killed and a resumed run, an evaluation.

The responses of the long steps are drawn by the test, since decoding 8,192 tokens one by one would take minutes: what is
measured is the training. The short runs and the evaluation decode with the transformers backend.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas
import pytest
import tiny
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import Drawn
from selfdistill.organism.chains import make_problem_set
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.sampling.evaluation import evaluate_checkpoint
from selfdistill.training.grpo import train_grpo
from selfdistill.training.rollouts import RolloutMixin
from selfdistill.training.sdpo import train_sdpo

from .sizes import CUDA, DEVICE, SIZES
from .table import Row, measured

STEPS, PROMPTS, ROLLOUTS = 2, 2, 4
LONG = {
    "steps": STEPS, "prompts": PROMPTS, "rollouts": ROLLOUTS, "updates_per_step": 1, "micro_batch": 1,
    "max_new_tokens": SIZES.response, "checkpoint_every": STEPS,
}  # fmt: skip
SHORT = {"steps": 4, "checkpoint_every": 2, "max_new_tokens": 10}
KILLED_AT = 3
"""Reward call, from 1, in which the process is killed: after the checkpoint of step 2."""
RESUMED_TOLERANCE = 1e-2
"""Relative difference of the weights' change, resumed against uninterrupted: 0 on a CPU; some kernels of a GPU add in no fixed order."""


def shape() -> str:
    """The model's shape as text."""
    return f"{SIZES.layers} layers of {SIZES.width}, V = {SIZES.vocabulary:,}, {SIZES.response:,} tokens per response"


def save_model(folder: Path, **shape: int) -> Path:
    """A random Qwen3 in bfloat16, tied as Qwen3-1.7B, with the study's own small tokenizer."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    tokenizer = build_tokenizer("qwen3")
    config = Qwen3Config(
        vocab_size=SIZES.vocabulary, max_position_embeddings=40_960, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **shape,
    )  # fmt: skip
    torch.manual_seed(0)
    with DEVICE:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass
class Place:
    """A folder with the base and the problems of all runs; trained: the model that GRPO has made."""

    folder: Path
    trained: Path | None = None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of the long steps, deleted at the end: it holds tens of GB."""
    folder = tmp_path_factory.mktemp("long")
    save_model(
        folder / "base", hidden_size=SIZES.width, num_hidden_layers=SIZES.layers,
        num_attention_heads=SIZES.heads, num_key_value_heads=SIZES.key_heads, head_dim=SIZES.head_dim,
        intermediate_size=SIZES.feed_forward,
    )  # fmt: skip
    yield Place(folder)
    shutil.rmtree(folder)


def drawn_words(self, prompts):
    """Stands in for decoding: random words of the study's tokenizer, of the full length."""
    generator, first = random.Random(0), 10  # past the special tokens and the think tags
    ids = [[generator.randrange(first, 60) for _ in range(SIZES.response)] for _ in prompts]
    return Drawn(ids, [[-4.0] * SIZES.response for _ in prompts])


def every_second(responses, answers):
    """Half of each group is right: GRPO has advantages, and every rollout a demonstration for SDPO."""
    return tiny.graded(index % 2 for index in range(len(responses)))


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_a_long_step_runs_with_finite_losses(place, monkeypatch, method):
    monkeypatch.setattr(RolloutMixin, "sample_completions", drawn_words)
    settings = {"grpo": tiny.GRPO, "sdpo": tiny.SDPO | {"top_k": SIZES.top_k}}[method] | LONG
    job = tiny.job(place.folder, method, settings, name=method)
    row = Row(f"{method.upper()} step, transformers", shape())
    with measured(row):
        {"grpo": train_grpo, "sdpo": train_sdpo}[method](job, every_second)
    record = pandas.read_parquet(job.output / "training.parquet")
    shutil.rmtree(job.resume)  # the optimizer's state: twice the weights
    assert len(record) == STEPS
    assert record[["loss", "grad_norm"]].notna().all(axis=None)
    assert (record["grad_norm"] > 0).all()
    row.seconds = float(record["seconds"].iloc[-1])
    tokens = PROMPTS * ROLLOUTS * SIZES.response
    row.result = f"{tokens:,} tokens, {tokens / row.seconds:,.0f} tokens/s"
    if method == "sdpo":
        assert (record["demonstration_fraction"] == 1).all()
        shutil.rmtree(job.output)
    else:
        place.trained = job.output / "checkpoints" / f"step-{STEPS}"


def test_the_trained_weights_answer_a_benchmark(place):
    assert place.trained is not None, "the GRPO step has not run"
    problems = make_problem_set({"d2": 1.0}, SIZES.answers, 0, "held-out", "in-domain")
    row = Row("evaluation of the trained weights, transformers", f"{SIZES.answers} problems x 2 samples")
    with measured(row):
        frame = evaluate_checkpoint(
            STEPS, place.trained, {"in-domain": problems}, thinking="on", template="qwen3", samples=2,
            sampling=Sampling(max_new_tokens=SIZES.answer_tokens), fields={"study": "gpu"}, seed=0,
        )  # fmt: skip
    tokens = int(frame["response_tokens"].sum())
    row.result = f"{tokens:,} tokens, {tokens / row.seconds:,.0f} tokens/s with loading"
    assert len(frame) == 2 * SIZES.answers
    assert frame["response_tokens"].between(1, SIZES.answer_tokens).all()


def short_run(folder: Path, name: str, kill: bool = False) -> None:
    """Train a short SDPO run in this process, which kills itself in a reward call if `kill`."""
    calls = []

    def reward(responses, answers):
        calls.append(1)
        if kill and len(calls) == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return every_second(responses, answers)

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels' backward pass is not repeatable
            train_sdpo(tiny.job(folder, "sdpo", tiny.SDPO | SHORT, name=name, teacher="ema-0.2"), reward)
    finally:
        torch.use_deterministic_algorithms(False)


def killed_run(folder: Path, name: str) -> int:
    """Return the exit status of a `short_run` that kills its own process."""
    code = f"from gpu.test_gpu_training import *; short_run(Path({str(folder)!r}), {name!r}, kill=True)"
    paths = [str(Path(__file__).parents[1]), str(Path(tiny.__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, "-c", code], env=environment).returncode


def change_of(folder: Path, base: dict[str, torch.Tensor]) -> torch.Tensor:
    """What training has changed, in one vector; tied weights are stored once."""
    last = tiny.weights(folder / "out" / "checkpoints" / f"step-{SHORT['steps']}")
    return torch.cat([(last[name].double() - base[name].double()).flatten() for name in sorted(last)])


def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(tmp_path):
    save_model(
        tmp_path / "base", hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=32, intermediate_size=96,
    )  # fmt: skip
    row = Row("killed and resumed SDPO, moving teacher", "2 layers of 64")
    with measured(row):
        short_run(tmp_path, "whole")
        assert killed_run(tmp_path, "killed") == -signal.SIGKILL
        assert list((tmp_path / "killed/resume").glob("checkpoint-*"))
        short_run(tmp_path, "killed")
    records = [
        pandas.read_parquet(tmp_path / name / "out" / "training.parquet") for name in ("whole", "killed")
    ]
    assert [list(record["step"]) for record in records] == [list(range(SHORT["steps"]))] * 2
    base = tiny.weights(tmp_path / "base")
    whole, killed = (change_of(tmp_path / name, base) for name in ("whole", "killed"))
    difference = float((whole - killed).norm() / whole.norm())
    row.result = f"relative difference of the weights' change: {difference:.1e}"
    assert float(whole.norm()) > 0
    assert difference <= (RESUMED_TOLERANCE if CUDA else 0)
