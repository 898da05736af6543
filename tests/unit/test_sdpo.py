"""SDPO: how problems are drawn, the loss that the trainer really minimises, its teachers and its records."""

import math
from dataclasses import replace

import pandas
import pytest
import tiny
import torch

from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.seeds import derive_seed
from selfdistill.training.arguments import sdpo_arguments
from selfdistill.training.datasets import problem_schedule
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options, train_sdpo
from selfdistill.training.teacher import (
    sibling_demonstrations,
)
from selfdistill.vocabulary.teachers import update_rate


def test_schedule_repeats_problems_evenly_and_depends_on_the_seed_only():
    order = problem_schedule(8, 24, 0)
    assert all(order.count(problem) == 3 for problem in range(8))
    assert order == problem_schedule(8, 48, 0)[:24] != problem_schedule(8, 24, 1)
    assert problem_schedule(1, 12, 0) == [0] * 12


def test_independent_draws_leave_as_many_problems_unseen_as_the_papers():
    """25,600 draws from 17,400 problems: the paper saw 78 % of them, in turn it would be all."""
    order = problem_schedule(17_400, 25_600, 0, independent=True)
    assert len(set(order)) / 17_400 == pytest.approx(1 - math.exp(-25_600 / 17_400), abs=0.01)
    assert order == problem_schedule(17_400, 25_600, 0, independent=True)
    assert order != problem_schedule(17_400, 25_600, 1, independent=True)
    assert len(set(problem_schedule(17_400, 25_600, 0))) == 17_400


@pytest.mark.parametrize(("draws", "all_drawn"), [("in-turn", True), ("independent", False)])
def test_the_study_says_how_problems_are_drawn(tmp_path, draws, all_drawn):
    trainer = sgd_trainer(tmp_path, draws=draws, prompts=6)
    assert (len(set(trainer.train_dataset["problem_id"])) == 6) is all_drawn


@pytest.mark.parametrize(
    ("name", "rate"), [("fixed", 0.0), ("ema-0.05", 0.05), ("ema-.5", 0.5), ("snapshot-10", 1.0)]
)
def test_teacher_names(name, rate):
    assert update_rate(name) == rate


@pytest.mark.parametrize(
    "name", ["none", "ema", "ema-", "ema-0", "ema-1", "ema-1.5", "live", "snapshot-0", "snapshot-"]
)
def test_unknown_teacher_names_are_refused(name):
    with pytest.raises(ValueError, match="unknown teacher"):
        update_rate(name)


def sgd_trainer(folder, **changes):
    """A trainer with plain gradient descent, so that weights show gradients."""
    job = tiny.job(
        folder,
        "sdpo",
        tiny.SDPO | {"steps": 1, "warmup_steps": 0, "learning_rate": 1.0, "checkpoint_every": 1} | changes,
        seed=2,  # its rollouts differ in length, and some have no demonstration
    )
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    arguments = replace(arguments, optim="sgd", weight_decay=0.0, generation_batch_size=None)
    options = {"context": "solution", "template": job.template, "thinking": job.thinking}
    return build_trainer(SelfDistillationTrainer, job, arguments, tiny.coin_reward, **options)


def log_probs(model, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Log-probabilities over the vocabulary at every completion token, (tokens, vocabulary), without any
    padding.
    """
    return model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)


def generalised_jsd(student: torch.Tensor, teacher: torch.Tensor, top_k: int) -> torch.Tensor:
    """Authors' loss at alpha 0.5 per token, in plain PyTorch."""
    support = student.topk(top_k, dim=-1).indices
    s, t = (x.exp().gather(-1, support) for x in (student, teacher))
    s, t = (torch.cat([x, 1 - x.sum(-1, keepdim=True)], dim=-1) for x in (s, t))
    m = (s + t) / 2
    return 0.5 * (s * (s / m).log()).sum(-1) + 0.5 * (t * (t / m).log()).sum(-1)


def unpadded(ids: torch.Tensor, mask: torch.Tensor) -> list[int]:
    return ids[mask.bool()].tolist()


def test_trainer_minimises_the_papers_loss_over_all_tokens_of_the_mini_batch(tmp_path):
    trainer = sgd_trainer(tmp_path, updates_per_step=1, max_new_tokens=40)
    reference = type(trainer.model)(trainer.model.config)
    reference.load_state_dict(trainer.model.state_dict())
    trainer.train()
    batch = trainer._buffered_inputs[0]
    total, tokens, lengths = 0.0, 0, set()
    for i in range(16):
        if not batch["self_distillation_mask"][i]:
            continue
        prompt = unpadded(batch["prompt_ids"][i], batch["prompt_mask"][i])
        completion = unpadded(batch["completion_ids"][i], batch["completion_mask"][i])
        teacher_input = unpadded(batch["teacher_input_ids"][i], batch["teacher_attention_mask"][i])
        assert teacher_input[-len(completion) :] == completion
        student = log_probs(reference, prompt, completion)
        with torch.no_grad():
            teacher = log_probs(reference, teacher_input[: -len(completion)], completion)
        total = total + generalised_jsd(student, teacher, 20).sum()
        tokens, lengths = tokens + len(completion), lengths | {len(completion)}
    assert 0 < tokens < int(batch["completion_mask"].sum()) and len(lengths) > 1
    loss = total / tokens
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-3)
    loss.backward()
    for (name, trained), (_, before) in zip(
        trainer.model.named_parameters(), reference.named_parameters(), strict=True
    ):
        torch.testing.assert_close(trained, before - before.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_accumulating_micro_batches_equals_one_mini_batch(tmp_path):
    trainers = [sgd_trainer(tmp_path, micro_batch=size, max_new_tokens=40) for size in (None, 2)]
    for trainer in trainers:
        trainer.train()
    assert [t.args.gradient_accumulation_steps for t in trainers] == [1, 4]
    padded = [sum(b["completion_ids"].numel() for b in t._buffered_inputs) for t in trainers]
    assert padded[1] < 0.95 * padded[0]  # rows of like length share a micro-batch
    for whole, split in zip(*(t.model.parameters() for t in trainers), strict=True):
        torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-6)
    whole, split = ([log["loss"] for log in t.state.log_history if "loss" in log] for t in trainers)
    assert whole == pytest.approx(split, rel=1e-4)


@pytest.mark.parametrize("drawn", [True, False], ids=["as drawn", "by a forward pass"])
def test_later_mini_batches_are_weighted_by_the_policy_at_rollout_time(tmp_path, monkeypatch, drawn):
    if not drawn:
        monkeypatch.setattr(SelfDistillationTrainer, "draws_from_policy", False)
    trainer = sgd_trainer(tmp_path)
    forward_passes = tiny.count_calls(monkeypatch, SelfDistillationTrainer, "current_log_probs")
    before = type(trainer.model)(trainer.model.config)
    before.load_state_dict(trainer.model.state_dict())
    trainer.train()
    assert bool(forward_passes) is not drawn
    first, second = trainer._buffered_inputs
    assert "old_per_token_logps" not in first
    rows = second["self_distillation_mask"].nonzero().flatten().tolist()
    assert 1 < len(rows) < 8
    for row in rows:
        prompt = unpadded(second["prompt_ids"][row], second["prompt_mask"][row])
        completion = unpadded(second["completion_ids"][row], second["completion_mask"][row])
        with torch.no_grad():
            drawn_log_probs = log_probs(before, prompt, completion)
        expected = drawn_log_probs.gather(1, torch.tensor(completion)[:, None]).squeeze(1)
        actual = second["old_per_token_logps"][row, : len(completion)]
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("teacher", ["fixed", "ema-0.25"])
def test_teacher_moves_by_its_rate_per_update_or_not_at_all(tmp_path, teacher):
    job = tiny.job(
        tmp_path, "sdpo", tiny.SDPO | {"steps": 1, "warmup_steps": 0, "checkpoint_every": 1}, teacher=teacher
    )
    arguments = sdpo_arguments(job.settings, teacher, job.thinking, job.resume, job.seed)
    options = {"context": "solution", "template": job.template, "thinking": job.thinking}
    trainer = build_trainer(SelfDistillationTrainer, job, arguments, tiny.coin_reward, **options)
    start = [p.clone() for p in trainer.teacher_model.parameters()]
    students = []
    trainer.add_callback(
        tiny.AfterUpdate(lambda model: students.append([p.detach().clone() for p in model.parameters()]))
    )
    trainer.train()
    expected = start
    for student in students:
        rate = 0.25 if teacher != "fixed" else 0.0
        expected = [(1 - rate) * old + rate * new for old, new in zip(expected, student, strict=True)]
    assert len(students) == 2
    for actual, wanted in zip(trainer.teacher_model.parameters(), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_a_snapshot_teacher_is_the_student_of_the_last_multiple_of_its_steps(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 3, "warmup_steps": 0}, teacher="snapshot-2")
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    trainer = build_trainer(SelfDistillationTrainer, job, arguments, tiny.coin_reward, **teacher_options(job))
    students = []
    trainer.add_callback(
        tiny.AfterUpdate(lambda model: students.append([p.detach().clone() for p in model.parameters()]))
    )
    trainer.train()
    assert len(students) == 6  # two updates per step
    for teacher, student in zip(trainer.teacher_model.parameters(), students[3], strict=True):
        torch.testing.assert_close(teacher, student, rtol=0, atol=0)
    assert not all(torch.equal(a, b) for a, b in zip(students[3], students[5], strict=True))


def test_a_step_without_any_success_trains_nothing_and_says_so(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 1, "weight_decay": 0.0, "checkpoint_every": 1})
    train_sdpo(job, lambda responses, answers: tiny.graded([0.0] * len(responses)))
    assert tiny.same_weights(job.base, job.output / "checkpoints" / "step-1")
    row = pandas.read_parquet(job.output / "training.parquet").iloc[0]
    assert row["demonstration_fraction"] == 0.0 and row["loss"] == 0.0 and row["score"] == 0.0


def test_top_k_beyond_the_vocabulary_is_refused_before_training(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"top_k": 1000})
    with pytest.raises(ValueError, match="top_k is 1000"):
        train_sdpo(job, tiny.coin_reward)


def test_records_tell_what_happened(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO)
    train_sdpo(job, tiny.coin_reward)
    rollouts = pandas.read_parquet(job.output / "rollouts.parquet")
    training = pandas.read_parquet(job.output / "training.parquet")
    assert len(rollouts) == 4 * 16 and list(training["step"]) == [0, 1, 2, 3]
    assert rollouts["score"].tolist() == [
        grade.score for grade in tiny.coin_reward(rollouts["response"], None)
    ]
    by_step = rollouts.groupby("step")
    assert training["score"].tolist() == by_step["score"].mean().tolist()
    assert training["tokens"].tolist() == by_step["response_tokens"].sum().cumsum().tolist()
    assert training["demonstration_fraction"].tolist() == by_step["has_demonstration"].mean().tolist()
    assert not rollouts.duplicated(["step", "problem_id", "sample_index"]).any()
    demonstrations = sibling_demonstrations(rollouts["score"].tolist(), 4, 0.5)
    shown = [d is not None and rollouts["response"][d] != "" for d in demonstrations]
    assert rollouts["has_demonstration"].tolist() == shown
    tokens = [len(build_tokenizer("qwen3")(text)["input_ids"]) for text in rollouts["response"]]
    assert (rollouts["response_tokens"] - tokens).between(0, 10).all()
    assert sorted(p.name for p in (job.output / "checkpoints").glob("step-*")) == ["step-2", "step-4"]


def test_rollouts_come_from_the_runs_own_stream(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "selfdistill.training.rollouts.derive_seed", lambda *names: seen.append(names) or derive_seed(*names)
    )
    train_sdpo(tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 2}), tiny.coin_reward)
    assert [names for names in seen if "rollout" in names] == [(0, "rollout", 0), (0, "rollout", 1)]
