"""Rollouts of vLLM, with a stand-in for its engine: they come from the run's own stream, and the losses correct for the
engine's own probabilities.
"""

from types import SimpleNamespace

import engine_stand_in
import pandas
import pytest
import test_grpo
import test_sdpo
import tiny
import torch

from selfdistill.training.engine import SeededEngine
from selfdistill.training.grpo import train_grpo
from selfdistill.training.rollouts import RolloutMixin, rollout_weights
from selfdistill.training.sdpo import train_sdpo

CLIP = 1.5


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """The stand-in, in place of vLLM."""
    engine_stand_in.install(monkeypatch)


def expected_weights(completion: list[int]) -> torch.Tensor:
    """min(pi / pi_engine, CLIP) of each token: the engine is off by a known error."""
    return (-engine_stand_in.error(torch.tensor(completion))).exp().clamp(max=CLIP)


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_the_runs_seed_reaches_the_engine(tmp_path, method):
    tiny.save_problems(tmp_path / "problems.parquet", 1)
    settings, train = {"grpo": (tiny.GRPO, train_grpo), "sdpo": (tiny.SDPO, train_sdpo)}[method]
    responses = []
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        changes = {"backend": "vllm", "steps": 2, "learning_rate": 1e-9}
        job = tiny.job(tmp_path, method, settings | changes, name=name, seed=seed)
        train(job, tiny.coin_reward)
        rollouts = pandas.read_parquet(job.output / "rollouts.parquet")
        responses.append(rollouts["response"].tolist())
        assert rollouts["response"].nunique() > len(rollouts) / 2  # neither siblings nor steps share a stream
    first, again, other = responses
    assert first == again
    assert sum(a == b for a, b in zip(first, other, strict=True)) < len(first) / 4


def test_seeds_differ_between_rows_steps_and_processes():
    def seeds(process: int, requests: int, step: int = 0) -> list[int]:
        trainer = SimpleNamespace(
            accelerator=SimpleNamespace(process_index=process), run_seed=0, rollout_step=step
        )
        return RolloutMixin.request_seeds(trainer, requests)

    alone = seeds(0, 8)
    assert seeds(0, 4) + seeds(1, 4) == alone  # the same rollouts on any number of processes
    assert len({*alone, *seeds(0, 8, step=1)}) == 16


def test_the_engine_keeps_the_drawn_tokens_log_probabilities():
    steps = [{3: SimpleNamespace(logprob=-0.5), 4: SimpleNamespace(logprob=-0.1)}, {}]
    output = SimpleNamespace(outputs=[SimpleNamespace(token_ids=[3, 5], logprobs=steps)])
    llm = SimpleNamespace(generate=lambda prompts, sampling_params: [output], sleep=lambda level: level)
    engine = SeededEngine(llm, lambda requests: [7] * requests)
    assert engine.generate([[1]], engine_stand_in.Parameters()) == [output]
    assert engine.drawn_log_probs[0] == pytest.approx([-0.5, float("nan")], nan_ok=True)
    assert engine.sleep(2) == 2


def test_rollout_weights_are_truncated_and_1_where_nothing_is_known():
    old = torch.tensor([[-1.0, -1.0, -1.0, -1.0]])
    drawn = torch.tensor([[-2.0, -0.5, float("nan"), -9.0]])
    weights = rollout_weights(old, drawn, torch.tensor([[1, 1, 1, 0]]), 2.0)
    torch.testing.assert_close(weights, torch.tensor([[2.0, 0.6065307, 1.0, 1.0]]))


def test_sdpo_weighs_the_loss_of_the_engines_tokens(tmp_path):
    """Analytic: every token's divergence times its weight, over the tokens of the mini-batch."""
    trainer = test_sdpo.sgd_trainer(
        tmp_path, updates_per_step=1, max_new_tokens=40, backend="vllm", rollout_is_clip=CLIP
    )
    reference = test_grpo.copy_of(trainer.model)
    trainer.train()
    [batch] = trainer._buffered_inputs
    total, tokens = 0.0, 0
    for i in range(16):
        if not batch["self_distillation_mask"][i]:
            continue
        prompt = test_sdpo.unpadded(batch["prompt_ids"][i], batch["prompt_mask"][i])
        completion = test_sdpo.unpadded(batch["completion_ids"][i], batch["completion_mask"][i])
        teacher_input = test_sdpo.unpadded(batch["teacher_input_ids"][i], batch["teacher_attention_mask"][i])
        student = test_sdpo.log_probs(reference, prompt, completion)
        with torch.no_grad():
            teacher = test_sdpo.log_probs(reference, teacher_input[: -len(completion)], completion)
        losses = test_sdpo.generalised_jsd(student, teacher, 20)
        total, tokens = total + (losses * expected_weights(completion)).sum(), tokens + len(completion)
    assert tokens
    loss = total / tokens
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-3)
    loss.backward()
    for trained, before in zip(trainer.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(trained, before - before.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("module", [test_grpo, test_sdpo], ids=["grpo", "sdpo"])
def test_weights_compare_the_engine_with_the_policy_at_rollout_time(tmp_path, module):
    trainer = module.sgd_trainer(tmp_path, max_new_tokens=40, backend="vllm", rollout_is_clip=CLIP)
    trainer.train()
    first, second = trainer._buffered_inputs
    assert "old_per_token_logps" not in first and "old_per_token_logps" in second  # the first ratio is 1
    rows = 0
    for batch in (first, second):
        for row in trainer.has_loss(batch).nonzero().flatten().tolist():
            completion = test_sdpo.unpadded(batch["completion_ids"][row], batch["completion_mask"][row])
            weights = batch["importance_sampling_ratio"][row, : len(completion)]
            torch.testing.assert_close(weights, expected_weights(completion), rtol=1e-3, atol=1e-4)
            rows += 1
    assert rows > 4


def test_grpos_update_is_the_authors_loss_times_the_weights(tmp_path, monkeypatch):
    trainer = test_grpo.sgd_trainer(tmp_path, 0.3, backend="vllm", rollout_is_clip=CLIP)
    policy, old = test_grpo.copy_of(trainer.model), test_grpo.copy_of(trainer.model)
    trainer.train()
    clipped = test_grpo.clipped_loss
    for batch in trainer._buffered_inputs:
        completions = iter(zip(batch["completion_ids"], batch["completion_mask"], strict=True))

        def weighted(ratio, advantage, completions=completions):
            return clipped(ratio, advantage) * expected_weights(test_sdpo.unpadded(*next(completions)))

        monkeypatch.setattr(test_grpo, "clipped_loss", weighted)
        loss = test_grpo.mini_batch_loss(policy, old, batch)
        gradients = torch.autograd.grad(loss, policy.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(policy.parameters(), gradients, strict=True):
                parameter -= 0.3 * gradient
    for trained, expected in zip(trainer.model.parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=2e-3, atol=2e-5)
