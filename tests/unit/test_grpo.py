"""GRPO: the authors' loss, exact over the mini-batch, with the policy at rollout time as reference of the
ratio.
"""

from dataclasses import replace

import pandas
import pytest
import tiny
import torch

from selfdistill.generation.transformers_backend import sample_batch
from selfdistill.seeds import derive_seed
from selfdistill.training.arguments import grpo_arguments
from selfdistill.training.grpo import GroupRelativeTrainer, train_grpo
from selfdistill.training.on_policy import build_trainer


def sgd_trainer(folder, learning_rate=1.0, **changes):
    """A trainer with plain gradient descent, so that weights show gradients."""
    settings = tiny.GRPO | {
        "steps": 1,
        "warmup_steps": 0,
        "learning_rate": learning_rate,
        "checkpoint_every": 1,
        "max_new_tokens": 40,
    }
    job = tiny.job(folder, "grpo", settings | changes)
    arguments = grpo_arguments(job.settings, job.thinking, job.resume, job.seed)
    arguments = replace(
        arguments, optim="sgd", weight_decay=0.0, max_grad_norm=1e9, generation_batch_size=None
    )
    return build_trainer(GroupRelativeTrainer, job, arguments, tiny.coin_reward)


def copy_of(model):
    twin = type(model)(model.config)
    twin.load_state_dict(model.state_dict())
    return twin


def log_probs(model, batch: dict, row: int) -> torch.Tensor:
    """Log-probabilities of a row's completion tokens, without padding."""
    prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist()
    completion = batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist()
    logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None]).squeeze(1)


def clipped_loss(ratio: torch.Tensor, advantage: float) -> torch.Tensor:
    """Authors' clip 0.2 / 0.28 with dual clip at 3 (verl's compute_policy_loss)."""
    loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.28))
    return torch.minimum(loss, torch.tensor(-3.0 * advantage)) if advantage < 0 else loss


def mini_batch_loss(model, old, batch: dict) -> torch.Tensor:
    total, tokens = 0.0, 0
    for row in range(len(batch["advantages"])):
        now = log_probs(model, batch, row)
        with torch.no_grad():
            before = log_probs(old, batch, row)
        total = total + clipped_loss((now - before).exp(), float(batch["advantages"][row])).sum()
        tokens += len(now)
    return total / tokens


@pytest.mark.parametrize("drawn", [True, False], ids=["as drawn", "by a forward pass"])
@pytest.mark.parametrize("learning_rate", [0.3, 3.0])  # the second moves ratios far out of the clip range
def test_two_updates_are_the_authors_loss_on_two_mini_batches(tmp_path, monkeypatch, learning_rate, drawn):
    if not drawn:
        monkeypatch.setattr(GroupRelativeTrainer, "draws_from_policy", False)
    forward_passes = tiny.count_calls(monkeypatch, GroupRelativeTrainer, "current_log_probs")
    trainer = sgd_trainer(tmp_path, learning_rate)
    policy, old = copy_of(trainer.model), copy_of(trainer.model)
    trainer.train()
    assert bool(forward_passes) is not drawn
    batches = trainer._buffered_inputs
    assert len({int(n) for batch in batches for n in batch["completion_mask"].sum(1)}) > 1
    for batch in batches:
        loss = mini_batch_loss(policy, old, batch)
        gradients = torch.autograd.grad(loss, policy.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(policy.parameters(), gradients, strict=True):
                parameter -= learning_rate * gradient
    ratios = [
        (log_probs(policy, batches[1], row) - log_probs(old, batches[1], row)).exp() for row in range(8)
    ]
    assert learning_rate < 1 or max(r.max().item() for r in ratios) > 1.28
    for trained, expected in zip(trainer.model.parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=2e-3, atol=2e-5)


def test_advantages_are_centred_on_the_group_and_not_scaled(tmp_path):
    trainer = sgd_trainer(tmp_path)
    trainer.train()
    rollouts = pandas.read_parquet(tmp_path / "run" / "resume" / "records" / "rollouts-000000.parquet")
    scores = rollouts["score"].to_numpy().reshape(4, 4)
    expected = sorted((scores - scores.mean(1, keepdims=True)).ravel().tolist())
    actual = sorted(torch.cat([batch["advantages"] for batch in trainer._buffered_inputs]).tolist())
    assert actual == pytest.approx(expected)


def test_accumulating_micro_batches_equals_one_mini_batch(tmp_path):
    trainers = [sgd_trainer(tmp_path, micro_batch=size) for size in (None, 2)]
    for trainer in trainers:
        trainer.train()
    assert [t.args.gradient_accumulation_steps for t in trainers] == [1, 4]
    for whole, split in zip(*(t.model.parameters() for t in trainers), strict=True):
        torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-6)
    whole, split = ([log["loss"] for log in t.state.log_history if "loss" in log] for t in trainers)
    assert whole == pytest.approx(split, rel=1e-3, abs=1e-6)


def test_rollouts_are_sampled_from_the_policy_with_the_steps_own_seed(tmp_path):
    trainer = sgd_trainer(tmp_path)
    before = copy_of(trainer.model)
    prompts = [row["prompt"] for row in trainer.train_dataset for _ in range(4)]
    ids = trainer.processing_class.apply_chat_template(
        prompts, add_generation_prompt=True, return_dict=True, enable_thinking=True
    )
    expected = sample_batch(
        before, ids["input_ids"], max_new_tokens=40, eos_token_ids=trainer.eos_token_ids, pad_token_id=0,
        generator=torch.Generator().manual_seed(derive_seed(0, "rollout", 0)),
    ).token_ids  # fmt: skip
    trainer.train()
    rollouts = pandas.read_parquet(tmp_path / "run" / "resume" / "records" / "rollouts-000000.parquet")
    assert rollouts["response"].tolist() == trainer.processing_class.batch_decode(
        expected, skip_special_tokens=True
    )
    assert rollouts["response_tokens"].tolist() == [len(row) for row in expected]
    assert rollouts["truncated"].tolist() == [row[-1] not in trainer.eos_token_ids for row in expected]


@pytest.mark.parametrize("problems", [1, 3])
def test_fewer_problems_than_prompts_recur_within_a_step(tmp_path, problems):
    tiny.save_problems(tmp_path / "problems.parquet", problems)
    job = tiny.job(tmp_path, "grpo", tiny.GRPO | {"steps": 3})
    train_grpo(job, tiny.coin_reward)
    rollouts = pandas.read_parquet(job.output / "rollouts.parquet")
    assert rollouts.groupby("step").size().tolist() == [16] * 3
    assert (rollouts.groupby("problem_id").size() == 48 // problems).all()
    assert (
        rollouts.groupby(["step", "problem_id"])["sample_index"]
        .apply(lambda s: sorted(s) == list(range(len(s))))
        .all()
    )


def test_prompts_that_are_too_long_are_left_out_or_refused(tmp_path, caplog):
    job = tiny.job(tmp_path, "grpo", tiny.GRPO | {"max_prompt_tokens": 3})
    with pytest.raises(ValueError, match="no problem has a prompt of at most 3 tokens"):
        train_grpo(job, tiny.coin_reward)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"updates_per_step": 3}, "must be a multiple of 3 updates x 1 processes"),
        ({"micro_batch": 3}, "micro_batch 3 must divide"),
    ],
)
def test_batches_that_do_not_divide_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train_grpo(tiny.job(tmp_path, "grpo", tiny.GRPO | changes), tiny.coin_reward)


def test_arguments_are_the_authors():
    from selfdistill.study.methods.grpo import GrpoSettings

    args = grpo_arguments(GrpoSettings(**tiny.GRPO), "off", "folder", 0)
    expected = {
        "loss_type": "dapo", "scale_rewards": "none", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28,
        "delta": 3.0, "num_iterations": 1,
        "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_grad_norm": 1.0, "weight_decay": 0.01,
        "adam_beta1": 0.9, "adam_beta2": 0.98,
        "steps_per_generation": 2, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 8,
        "max_steps": 8, "save_steps": 4,
        "warmup_steps": 2, "lr_scheduler_type": "constant_with_warmup",
        "chat_template_kwargs": {"enable_thinking": False},
        "mask_truncated_completions": False, "use_vllm": False, "report_to": [],
    }  # fmt: skip
    assert {name: getattr(args, name) for name in expected} == expected


def test_rows_without_advantage_are_not_run_and_count_as_tokens(tmp_path):
    """Half of the groups score alike: the update is that of running all rows, from half the rows."""
    trainers = [sgd_trainer(tmp_path, updates_per_step=1) for _ in range(2)]
    run_rows = []

    def first_groups_only(responses, answers):
        return tiny.graded(i % 2 if i < len(responses) // 2 else 1 for i in range(len(responses)))

    for trainer, skips in zip(trainers, (True, False), strict=True):
        trainer.reward_funcs[0].reward = first_groups_only
        rows = []
        if not skips:
            trainer._compute_loss = super(GroupRelativeTrainer, trainer)._compute_loss
        original = trainer.completion_log_probs

        def counted(model, ids, *args, rows=rows, original=original, **kwargs):
            rows.append(len(ids))
            return original(model, ids, *args, **kwargs)

        trainer.completion_log_probs = counted
        trainer.train()
        run_rows.append(rows)
    assert run_rows == [[8], [16]]
    for skipping, whole in zip(*(t.model.parameters() for t in trainers), strict=True):
        torch.testing.assert_close(skipping, whole, rtol=1e-5, atol=1e-7)


def test_a_step_in_which_all_groups_score_alike_changes_nothing(tmp_path):
    trainer = sgd_trainer(tmp_path)
    before = [p.clone() for p in trainer.model.parameters()]
    trainer.reward_funcs[0].reward = lambda responses, answers: tiny.graded([1] * len(responses))
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
