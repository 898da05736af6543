"""A tiny organism for the tests of the training layer: two layers, the study's own tokenizer, problems and
jobs.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas
import torch
from transformers import TrainerCallback

from selfdistill.grading.answers import Grade
from selfdistill.organism.chains import make_problem_set
from selfdistill.organism.pretraining import build_model
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.problems.problem import write_problems
from selfdistill.study.methods import METHODS
from selfdistill.training.job import TrainingJob
from selfdistill.vocabulary.runs import Run

RL = {
    "steps": 4, "prompts": 4, "rollouts": 4, "updates_per_step": 2, "max_prompt_tokens": 40,
    "max_new_tokens": 10, "temperature": 1.0,
    "checkpoint_every": 2, "warmup_steps": 1, "weight_decay": 0.01, "adam_beta2": 0.98, "learning_rate": 1e-3,
}  # fmt: skip
GRPO = RL | {"clip_low": 0.2, "clip_high": 0.28}
SDPO = RL | {"alpha": 0.5, "top_k": 20, "tail": True, "is_clip": 2.0, "success_threshold": 0.5}
SFT = {"learning_rate": 1e-3, "epochs": 3, "batch_size": 4}


def save_base(folder: Path, template: str = "qwen3") -> Path:
    """A randomly initialised two-layer model with its tokenizer."""
    tokenizer = build_tokenizer(template)
    architecture = {"r1": "qwen2", "qwen3": "qwen3", "olmo3": "olmo3"}[template]
    spec = SimpleNamespace(architecture=architecture, hidden_size=32, layers=2, heads=2, intermediate_size=48)
    model = build_model(spec, tokenizer, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_problems(path: Path, count: int = 6) -> Path:
    """Problems of the training family."""
    write_problems(
        path, [replace(p, metadata="{}") for p in make_problem_set({"d2": 1.0}, count, 0, "train", "chain")]
    )
    return path


def save_responses(path: Path, count: int = 7) -> Path:
    """An SFT data set of `count` rows."""
    rows = [
        (f"p{i}", f"find x : x *5 +{2 + 3 * (i % 2)} = {i}", f"so {i} yes </think> \\boxed{{{i}}}")
        for i in range(count)
    ]
    pandas.DataFrame(rows, columns=["problem_id", "question", "response"]).to_parquet(path)
    return path


def job(
    folder: Path,
    method: str,
    settings: dict,
    *,
    name: str = "run",
    context="solution",
    teacher="fixed",
    seed=0,
) -> TrainingJob:
    """A job whose outputs and resume folder are named `name`; base and data are made in `folder` when first
    needed.
    """
    base, data = folder / "base", folder / ("responses.parquet" if method == "sft" else "problems.parquet")
    if not base.exists():
        save_base(base)
    if not data.exists():
        save_responses(data) if method == "sft" else save_problems(data)
    fields = {"grpo": ("none", "none"), "sft": (context, "none")}.get(method, (context, teacher))
    run = Run("tiny", method, *fields, "chain", "full", "default", 0, seed)
    return TrainingJob(
        run=run, base=base, data=data, output=folder / name / "out", resume=folder / name / "resume",
        settings=METHODS[method].settings(**settings), template="qwen3", thinking="on",
    )  # fmt: skip


def coin_reward(responses, answers) -> list[Grade]:
    """A reward that half of a random model's responses get, so that SDPO has demonstrations."""
    return graded(hashlib.sha256(text.encode()).digest()[0] % 2 for text in responses)


def graded(scores) -> list[Grade]:
    """Grades with these scores, 0 or 1."""
    return [Grade("answer", bool(score), "correct" if score else "wrong") for score in scores]


class AfterUpdate(TrainerCallback):
    """Calls a function with the model after every optimizer update."""

    def __init__(self, function) -> None:
        self.function = function

    def on_optimizer_step(self, args, state, control, model=None, **_) -> None:
        """After the optimizer, before the teacher follows."""
        self.function(model)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a model folder."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def same_weights(left: Path, right: Path) -> bool:
    """Whether two model folders hold bit-identical weights."""
    a, b = weights(left), weights(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def count_calls(monkeypatch, owner: type, name: str) -> list[None]:
    """A list that grows by one with every call of the method."""
    calls: list[None] = []
    method = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: calls.append(None) or method(*args))
    return calls
