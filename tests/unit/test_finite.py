"""A run whose numbers or weights are not finite fails with run, step and cause, and its last finite checkpoint stays."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from test_organism import spec

from selfdistill.generation.protocol import Sampling
from selfdistill.models.finite import NotFinite, check_numbers, check_weights
from selfdistill.organism import pretraining
from selfdistill.problems.problem import read_problems
from selfdistill.sampling.evaluation import evaluate_checkpoint
from selfdistill.training import grpo, sdpo, sft
from selfdistill.training.checkpoints import CheckpointStore, ResumableMixin

RL = {"steps": 4, "checkpoint_every": 1, "updates_per_step": 2}


def poison(model) -> None:
    """Set one weight of a model to NaN."""
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] = torch.nan


def poisoned_at(update: int, which: str = "policy", part: str = ""):
    """A trainer's `log` that has (a part of) a model become NaN in an update (counted from 1)."""
    original = ResumableMixin.log

    def log(self, logs, start_time=None):
        if self.state.global_step == update:
            poison(dict(self.models())[which].get_submodule(part))
        original(self, logs, start_time)

    return log


def train(job) -> None:
    """Train a job of any method."""
    if job.run.method == "sft":
        sft.train_sft(job)
    else:
        {"grpo": grpo.train_grpo, "sdpo": sdpo.train_sdpo}[job.run.method](job, tiny.coin_reward)


def job_of(folder: Path, method: str, **changes):
    """A job of a method with two updates per step (SFT: one)."""
    settings = {"grpo": tiny.GRPO | RL, "sdpo": tiny.SDPO | RL, "sft": tiny.SFT}[method] | changes
    return tiny.job(folder, method, settings, teacher="ema-0.2")


def assert_last_checkpoint_is_finite(job, updates: int) -> None:
    """The newest checkpoint is that of `updates`, whole and finite; nothing was published."""
    exports = job.settings.exported_steps or [job.settings.updates(7)]
    store = CheckpointStore(
        job.resume,
        run="r",
        updates_per_step=getattr(job.settings, "updates_per_step", 1),
        exports=exports,
        updates=max(exports) * 2,
    )
    assert store.latest() == job.resume / f"checkpoint-{updates}"
    check_weights(tiny.weights(store.latest()).items(), "the checkpoint")
    for model in (job.resume / "models").glob("step-*"):
        check_weights(tiny.weights(model).items(), str(model))
    assert not job.output.exists()


@pytest.mark.parametrize(
    ("method", "which", "update", "kept", "message"),
    [
        ("grpo", "policy", 6, 4, r"step 3, update 6: policy: model\.embed_tokens\.weight has 1 values"),
        ("grpo", "policy", 5, 4, r"step 3, update 6: (loss|grad_norm) is nan"),
        ("grpo", "policy", 8, 6, r"step 4, update 8: policy: model\.embed_tokens\.weight"),
        ("sdpo", "policy", 8, 6, r"step 4, update 8: policy: model\.embed_tokens\.weight"),
        ("sdpo", "teacher", 8, 6, r"step 4, update 8: teacher: model\.embed_tokens\.weight"),
        ("sdpo", "teacher", 4, 2, r"step 2, update 4: teacher: model\.embed_tokens\.weight"),
        ("sft", "policy", 6, 4, r"step 6, update 6: policy: model\.embed_tokens\.weight"),
        ("sft", "policy", 3, 2, r"step 3, update 3: policy: model\.embed_tokens\.weight"),
    ],
)
def test_weights_that_become_nan_end_the_run_with_its_name_and_step(
    tmp_path, monkeypatch, method, which, update, kept, message
):
    job = job_of(tmp_path, method)
    monkeypatch.setattr(ResumableMixin, "log", poisoned_at(update, which))
    with pytest.raises(NotFinite, match=f"{job.run}, {message}"):
        train(job)
    assert_last_checkpoint_is_finite(job, kept)


def test_a_run_goes_on_from_the_checkpoint_before_it_diverged(tmp_path, monkeypatch):
    job = job_of(tmp_path, "grpo")
    with monkeypatch.context() as patch, pytest.raises(NotFinite):
        patch.setattr(ResumableMixin, "log", poisoned_at(8))
        train(job)
    train(job)
    check_weights(tiny.weights(job.output / "checkpoints" / "step-4").items(), "the last checkpoint")


def test_a_learning_rate_at_which_sft_diverges_fails_the_training(tmp_path):
    job = job_of(tmp_path, "sft", learning_rate=1e30)
    with pytest.raises(NotFinite, match=f"{job.run}, step 2, update 2: (loss|grad_norm) is nan"):
        train(job)
    assert not job.output.exists() and not (job.resume / "models").exists()


def test_a_score_that_is_nan_is_named_with_its_problem(tmp_path):
    job = job_of(tmp_path, "grpo")
    unknown = SimpleNamespace(score=float("nan"), outcome="wrong")
    with pytest.raises(NotFinite, match=r"scores of step 1: \S+ is nan"):
        grpo.train_grpo(job, lambda responses, answers: [unknown] * len(responses))


def test_logits_that_are_not_finite_are_named_with_run_and_step(tmp_path, monkeypatch):
    job = job_of(tmp_path, "grpo")
    monkeypatch.setattr(ResumableMixin, "check_weights", lambda self: None)
    monkeypatch.setattr(ResumableMixin, "log", poisoned_at(2, part="lm_head"))
    with pytest.raises(NotFinite, match=f"{job.run}, step 2, update 3: the logits are not finite"):
        train(job)


@pytest.mark.parametrize("broken", ["loss", "weights"])
def test_a_base_that_diverges_keeps_its_last_finite_checkpoint(tmp_path, monkeypatch, broken):
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 20)
    step, calls = pretraining.train_step, []

    def diverging(model, *arguments):
        calls.append(step(model, *arguments))
        if len(calls) == 40:
            if broken == "loss":
                return float("inf")
            poison(model)
        return calls[-1]

    monkeypatch.setattr(pretraining, "train_step", diverging)
    message = "loss is inf" if broken == "loss" else r"model\.embed_tokens\.weight has 1 values"
    with pytest.raises(NotFinite, match=f"step 40: {message}"):
        pretraining.train_base(spec(), 0, tmp_path / "base", tmp_path / "resume")
    assert [path.name for path in tmp_path.glob("resume/draw-0/checkpoint-*")] == ["checkpoint-20"]
    assert not (tmp_path / "base").exists()


def test_an_evaluation_of_weights_that_are_not_finite_names_the_checkpoint(tmp_path):
    from selfdistill.models.loading import load_model

    base = tiny.save_base(tmp_path / "base")
    model = load_model(base)
    poison(model.lm_head)
    model.save_pretrained(base)
    problems = read_problems(tiny.save_problems(tmp_path / "problems.parquet"))
    with pytest.raises(NotFinite, match=f"step 7, {base}: the logits are not finite"):
        evaluate_checkpoint(7, base, {"chain": problems}, "on", "qwen3", 1, Sampling(), {}, seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_found_wherever_it_is(value):
    weights = {
        "a": torch.ones(3),
        "b": torch.full((2, 2), 3e38),
        "empty": torch.ones(0),
        "n": torch.tensor([1]),
    }
    check_weights(weights.items(), "here")
    weights["b"][1, 1] = value
    with pytest.raises(NotFinite, match="here: b has 1 values that are not finite"):
        check_weights(weights.items(), "here")
    check_numbers({"loss": 0.0}, "here")
    with pytest.raises(NotFinite, match=f"here: loss is {value}"):
        check_numbers({"score": 1.0, "loss": value}, "here")
