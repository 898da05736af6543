"""Methods that combine GRPO's advantage with the self-teacher: the updates they make, and the limits in which they are GRPO or SDPO."""

import json
from dataclasses import replace

import pandas
import pytest
import test_grpo
import test_resume
import test_sdpo
import tiny
import torch

from selfdistill.training.arguments import grpo_arguments, sdpo_arguments
from selfdistill.training.grpo import GroupRelativeTrainer
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import METHOD_FILE, SelfDistillationTrainer, teacher_options
from selfdistill.training.variants import rlcsd
from selfdistill.training.variants.antisd import AntisdTrainer, train_antisd
from selfdistill.training.variants.blend import BlendTrainer, train_blend
from selfdistill.training.variants.rlcsd import RlcsdTrainer, train_rlcsd
from selfdistill.training.variants.rlsd import RlsdTrainer, redistributed, train_rlsd
from selfdistill.training.variants.sdpg import SdpgTrainer, train_sdpg
from selfdistill.training.variants.srpo import SrpoTrainer, train_srpo

ONE_UPDATE = {
    "steps": 1, "warmup_steps": 0, "learning_rate": 10.0, "checkpoint_every": 1, "max_new_tokens": 40,
    "updates_per_step": 1,
}  # fmt: skip
KINDS = {
    "grpo": GroupRelativeTrainer, "sdpo": SelfDistillationTrainer, "blend": BlendTrainer, "rlsd": RlsdTrainer,
    "antisd": AntisdTrainer, "rlcsd": RlcsdTrainer, "srpo": SrpoTrainer, "sdpg": SdpgTrainer,
}  # fmt: skip
TRAIN = {
    "blend": train_blend, "rlsd": train_rlsd, "antisd": train_antisd, "rlcsd": train_rlcsd, "srpo": train_srpo, "sdpg": train_sdpg,
}  # fmt: skip


def trained(folder, method: str, after=None, **changes):
    """A trainer after some updates of plain gradient descent, so that weights show gradients; after: called after each."""
    own = {"grpo": tiny.GRPO, "sdpo": tiny.SDPO}.get(method, tiny.GRPO | tiny.SDPO)
    job = tiny.job(folder, method, own | ONE_UPDATE | changes, name=method)
    if method == "grpo":
        arguments, options = grpo_arguments(job.settings, job.thinking, job.resume, job.seed), {}
    else:
        arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
        options = teacher_options(job) | ({"settings": job.settings} if method != "sdpo" else {})
    arguments = replace(
        arguments, optim="sgd", weight_decay=0.0, max_grad_norm=1e9, generation_batch_size=None
    )
    trainer = build_trainer(KINDS[method], job, arguments, tiny.coin_reward, **options)
    if after:
        trainer.add_callback(tiny.AfterUpdate(after))
    trainer.train()
    return trainer


def assert_same_weights(left, right, tolerance: float = 1e-6) -> None:
    """Both trainers ended with the same weights, which are not those of the base."""
    for a, b in zip(left.model.parameters(), right.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def assert_moved(trainer) -> None:
    """The update was larger than the tolerance of `assert_same_weights` by far."""
    pairs = zip(trainer.model.parameters(), trainer.teacher_model.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) > 1e-3


@pytest.mark.parametrize(("mix", "method"), [(1.0, "sdpo"), (0.0, "grpo")])
def test_the_ends_of_the_blend_are_sdpo_and_grpo(tmp_path, mix, method):
    blend = trained(tmp_path, "blend", mix=mix)
    assert_moved(blend)
    assert_same_weights(blend, trained(tmp_path, method))


def test_the_blends_update_is_the_mean_of_both_however_the_mini_batch_is_split(tmp_path):
    half, split = (trained(tmp_path, "blend", mix=0.25, micro_batch=size) for size in (None, 2))
    sdpo, grpo = trained(tmp_path, "sdpo"), trained(tmp_path, "grpo")
    assert split.args.gradient_accumulation_steps == 8
    parameters = [trainer.model.parameters() for trainer in (half, split, sdpo, grpo)]
    for mixed, in_parts, s, g in zip(*parameters, strict=True):
        torch.testing.assert_close(mixed, 0.25 * s + 0.75 * g, rtol=0, atol=1e-6)
        torch.testing.assert_close(in_parts, mixed, rtol=0, atol=1e-6)


def test_blend_with_two_updates_of_sdpos_mini_batches_is_sdpo(tmp_path):
    """The second mini-batch has importance weights."""
    assert_same_weights(
        trained(tmp_path, "blend", mix=1.0, updates_per_step=2), trained(tmp_path, "sdpo", updates_per_step=2)
    )


@pytest.mark.parametrize("method", TRAIN)
def test_a_run_of_the_method_trains_and_records(tmp_path, method):
    teacher = "fixed" if method == "sdpg" else "snapshot-1"
    job = tiny.job(tmp_path, method, tiny.GRPO | tiny.SDPO | {"steps": 2}, teacher=teacher)
    TRAIN[method](job, tiny.coin_reward)
    assert not tiny.same_weights(job.base, job.output / "checkpoints" / "step-2")
    assert (job.output / "rollouts.parquet").exists()


@pytest.mark.parametrize("method", TRAIN)
def test_a_step_without_any_success_moves_nothing(tmp_path, method):
    """Neither advantages nor demonstrations: no loss of any method, and no division by the number of such tokens."""
    own = {"steps": 1, "warmup_steps": 0, "weight_decay": 0.0, "checkpoint_every": 1}
    job = tiny.job(tmp_path, method, tiny.GRPO | tiny.SDPO | own)
    TRAIN[method](job, lambda responses, answers: tiny.graded([0.0] * len(responses)))
    before, after = tiny.weights(job.base), tiny.weights(job.output / "checkpoints" / "step-1")
    assert max((before[name] - after[name]).abs().max().item() for name in after) < 1e-5


LIMITS = {
    "rlsd": {"mix": 0.0},
    "antisd": {"weight": 0.0, "gate_warmup_steps": 0},
    "antisd in its warm-up": {"gate_warmup_steps": 1},
    "rlcsd": {"mix": 0.0},
}


@pytest.mark.parametrize("limit", LIMITS)
def test_without_the_teachers_part_a_method_is_grpo(tmp_path, limit):
    method = limit.partition(" ")[0]
    trainer = trained(tmp_path, method, **LIMITS[limit])
    assert_moved(trainer)
    assert_same_weights(trainer, trained(tmp_path, "grpo"))


@pytest.mark.parametrize("method", ["rlsd", "antisd", "rlcsd"])
def test_with_the_teachers_part_a_method_is_not_grpo(tmp_path, method):
    own = {"gate_warmup_steps": 0} if method == "antisd" else {}
    pairs = zip(
        trained(tmp_path, method, **own).model.parameters(),
        trained(tmp_path, "grpo").model.parameters(),
        strict=True,
    )
    assert max((a - b).abs().max().item() for a, b in pairs) > 1e-4


def rows_of(batch: dict) -> list[tuple[int, list[int], list[int], list[int]]]:
    """The rows of a mini-batch without padding: (row, prompt, completion, teacher prompt)."""
    rows = []
    for row in range(len(batch["advantages"])):
        prompt, completion, taught = (
            test_sdpo.unpadded(batch[f"{name}_{ids}"][row], batch[f"{name}_{mask}"][row])
            for name, ids, mask in (
                ("prompt", "ids", "mask"),
                ("completion", "ids", "mask"),
                ("teacher", "input_ids", "attention_mask"),
            )
        )
        rows.append((row, prompt, completion, taught[: -len(completion)]))
    return rows


def assert_descended(trainer, policy, loss, learning_rate: float = 10.0) -> None:
    """The trainer's last update is a step down the gradient of `loss`, a function of `policy`."""
    gradients = torch.autograd.grad(loss, policy.parameters())
    for new, old, gradient in zip(trainer.model.parameters(), policy.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - learning_rate * gradient, rtol=1e-4, atol=2e-6)


def picked(log_probs: torch.Tensor, completion: list[int]) -> torch.Tensor:
    return log_probs.gather(1, torch.tensor(completion)[:, None]).squeeze(1)


def test_the_update_of_rlsd_is_that_of_its_formula(tmp_path):
    trainer = trained(tmp_path, "rlsd")
    policy, batch = test_grpo.copy_of(trainer.teacher_model), trainer._buffered_inputs[0]
    total, shown = 0.0, 0
    for row, prompt, completion, taught in rows_of(batch):
        advantage = batch["advantages"][row]
        now = picked(test_sdpo.log_probs(policy, prompt, completion), completion)
        gaps = torch.zeros(len(completion))
        if batch["self_distillation_mask"][row]:
            with torch.no_grad():
                gaps = picked(test_sdpo.log_probs(policy, taught, completion), completion) - now.detach()
            shown += bool(advantage)
        total = total - (redistributed(advantage, gaps, 0.5, 0.2) * now).sum()
    assert shown > 4
    assert_descended(trainer, policy, total / batch["completion_mask"].sum())


def test_a_killed_run_of_antisd_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    """The gate compares with the median of all steps before step 2 and closes below it, so it depends on what was seen."""

    def job(name):
        own = {"steps": 5, "gate_warmup_steps": 2, "gate_low": 1.0, "learning_rate": 1e-2}
        return tiny.job(tmp_path, "antisd", tiny.GRPO | tiny.SDPO | own, name=name, teacher="snapshot-1")

    whole, killed, forgetful = (job(name) for name in ("whole", "killed", "forgetful"))
    train_antisd(whole, tiny.coin_reward)
    for broken in (killed, forgetful):
        with pytest.raises(test_resume.Killed):
            train_antisd(broken, test_resume.at_call(3, test_resume.kill))
    gate = json.loads((killed.resume / "checkpoint-4" / METHOD_FILE).read_text())
    assert gate["count"] == 4 and gate["total"] > 0
    train_antisd(killed, tiny.coin_reward)
    test_resume.assert_same_outputs(whole, killed)
    monkeypatch.setattr(AntisdTrainer, "restore_method_state", lambda self, state: None)
    train_antisd(forgetful, tiny.coin_reward)
    last = "checkpoints/step-5"
    assert not tiny.same_weights(whole.output / last, forgetful.output / last)


def test_the_update_of_rlcsd_is_that_of_its_formula(tmp_path, monkeypatch):
    seen, scores = [], RlcsdTrainer.scores
    monkeypatch.setattr(
        RlcsdTrainer, "scores", lambda self, batch: seen.append(dict(batch)) or scores(self, batch)
    )
    trainer = trained(tmp_path, "rlcsd", wrong_hints=2)
    policy, batch, (hints,) = test_grpo.copy_of(trainer.teacher_model), trainer._buffered_inputs[0], seen
    sums, counts, of_two = {False: 0.0, True: 0.0}, {False: 0, True: 0}, 0
    for row, prompt, completion, taught in rows_of(batch):
        advantage, contrast = batch["advantages"][row], torch.zeros(len(completion))
        now = picked(test_sdpo.log_probs(policy, prompt, completion), completion)
        wrong = [f"wrong_{k}_" for k in range(2) if hints[f"wrong_{k}_self_distillation_mask"][row]]
        if advantage and batch["self_distillation_mask"][row] and wrong:
            parts = [[hints[k + name][row] for name in rlcsd.TEACHER[:2]] for k in wrong]
            contexts = [taught, *(test_sdpo.unpadded(*part)[: -len(completion)] for part in parts)]
            with torch.no_grad():
                right, *q = (
                    picked(test_sdpo.log_probs(policy, context, completion), completion)
                    for context in contexts
                )
            contrast, of_two = right - torch.stack(q).exp().mean(0).log(), of_two + (len(q) == 2)
        correction = 0.5 * (contrast / 0.02).tanh()
        for one, chosen in ((correction.abs() > 0.02, True), (correction.abs() <= 0.02, False)):
            used = rlcsd.corrected(advantage.expand(len(now)), correction) if chosen else advantage
            sums[chosen] = sums[chosen] - (used * now * one).sum()
            counts[chosen] += int(one.sum())
    assert of_two > 1 and min(counts.values()) > 20
    assert_descended(trainer, policy, sum(sums[chosen] / counts[chosen] for chosen in sums))


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_update_of_srpo_is_that_of_its_formula(tmp_path, micro_batch):
    trainer = trained(tmp_path, "srpo", micro_batch=micro_batch)
    whole = trainer if micro_batch is None else trained(tmp_path, "srpo")
    policy, batch = test_grpo.copy_of(whole.teacher_model), whole._buffered_inputs[0]
    parts, weights, total = [], [], 0.0
    for row, prompt, completion, taught in rows_of(batch):
        student = test_sdpo.log_probs(policy, prompt, completion)
        if batch["self_distillation_mask"][row] and not batch["rewards"][row]:
            with torch.no_grad():
                teacher = test_sdpo.log_probs(policy, taught, completion)
            parts.append(test_sdpo.generalised_jsd(student, teacher, 20))
            weights.append((teacher.exp() * teacher).sum(-1).exp())
        else:
            total = total - batch["advantages"][row] * picked(student, completion).sum()
    sureness = torch.cat(weights)
    assert 1 < len(parts) < 16 and sureness.std() > 0
    total = total + (torch.cat(parts) * sureness / sureness.mean()).sum()
    assert_descended(trainer, policy, total / batch["completion_mask"].sum())


def test_the_update_of_sdpg_is_that_of_its_formula(tmp_path):
    """The second mini-batch, for which policy and base differ, so that the anchor has a gradient."""
    before = []
    own = {"beta": 0.5, "anchor": 0.5, "learning_rate": 0.5}
    trainer = trained(
        tmp_path,
        "sdpg",
        **own,
        updates_per_step=2,
        after=lambda model: before.append(test_grpo.copy_of(model)),
    )
    policy, base = before[0], trainer.teacher_model
    batch, total = trainer._buffered_inputs[1], 0.0
    for row, prompt, completion, taught in rows_of(batch):
        student = test_sdpo.log_probs(policy, prompt, completion)
        now = picked(student, completion)
        with torch.no_grad():
            anchor = picked(test_sdpo.log_probs(base, prompt, completion), completion)
            teacher = test_sdpo.log_probs(base, taught, completion)
        total = total + test_grpo.clipped_loss((now - anchor).exp(), float(batch["advantages"][row])).sum()
        total = total + 0.25 * (now - anchor).square().sum()
        if batch["self_distillation_mask"][row]:
            total = total + 0.5 * (student.exp() * (student - teacher)).sum()
    records = pandas.read_parquet(tmp_path / "sdpg" / "resume" / "records" / "rollouts-000000.parquet")
    rewards = torch.tensor(records["score"].to_numpy(dtype="float32")).view(4, 4)[2:]
    scaled = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    assert sorted(batch["advantages"].tolist()) == pytest.approx(sorted(scaled.flatten().tolist()))
    assert_descended(trainer, policy, total / batch["completion_mask"].sum(), 0.5)
