"""Rollouts of vLLM, with a stand-in for its engine: they come from the run's own stream."""

from types import SimpleNamespace

import engine_stand_in
import pandas
import pytest
import tiny

from selfdistill.training.engine import SeededEngine
from selfdistill.training.grpo import train_grpo
from selfdistill.training.rollouts import RolloutMixin
from selfdistill.training.sdpo import train_sdpo


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """The stand-in, in place of vLLM."""
    engine_stand_in.install(monkeypatch)


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
