"""OLMo-3 in vLLM, which has no class of its own for it and runs that of transformers: evaluation, and training beside an engine.

The engine of the training is TRL's, but for float32 (TRL leaves vLLM to cast to 16 bit), without compiling, and with its
weights as a GPU holds them: on a CPU, vLLM packs them once for oneDNN, and then takes no others.
"""

from functools import partial

import pytest

vllm = pytest.importorskip(
    "vllm", reason="vllm is not installed: `make test-vllm` makes an environment with it"
)

import tiny  # noqa: E402
import torch  # noqa: E402
from small_models import greedy, save_model  # noqa: E402
from trl.generation import vllm_generation  # noqa: E402
from vllm import _custom_ops  # noqa: E402

from selfdistill.generation.protocol import Sampling  # noqa: E402
from selfdistill.generation.vllm_backend import VllmGenerator  # noqa: E402
from selfdistill.models.loading import load_model  # noqa: E402
from selfdistill.models.prompts import prompt_ids  # noqa: E402
from selfdistill.sampling.evaluation import load_generator  # noqa: E402
from selfdistill.training.arguments import sdpo_arguments  # noqa: E402
from selfdistill.training.on_policy import build_trainer  # noqa: E402
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options  # noqa: E402

TURNS = ["find x : x +2 = 4", "find x : x *5 +9 = 4", "find x : x ^2 = 9"]
WINDOW = 8
"""Tokens of the sliding window, shorter than the prompts."""


def save_olmo3(folder):
    """Three sliding layers and one with full attention, as in every four of OLMo-3's."""
    return save_model(folder, "olmo3", "olmo3", layers=4, sliding_window=WINDOW)


def test_greedy_equals_transformers_generate(tmp_path):
    generator = load_generator(save_olmo3(tmp_path / "base"), "none", "vllm")
    model = load_model(generator.folder)
    assert set(model.config.layer_types) == {"sliding_attention", "full_attention"}
    prompts = prompt_ids(generator.tokenizer, TURNS, "none")
    assert min(map(len, prompts)) > WINDOW
    expected = greedy(model, prompts, 64)
    groups = generator.generate(TURNS, 1, Sampling(temperature=0.0, max_new_tokens=64), 0)
    generator.close()
    assert [list(completion.token_ids) for (completion,) in groups] == expected


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """SDPO, whose teacher is loaded after the engine has started, before its first step."""
    if VllmGenerator.open:
        VllmGenerator.open.close()
    folder = tmp_path_factory.mktemp("training")
    save_olmo3(folder / "base")
    settings = tiny.SDPO | {
        "backend": "vllm",
        "max_new_tokens": 32,
        "learning_rate": 3e-3,
        "warmup_steps": 0,
        "rollout_is_clip": 1000.0,
    }
    job = tiny.job(folder, "sdpo", settings).model_copy(update={"template": "olmo3", "thinking": "none"})
    arguments = sdpo_arguments(job.settings, "fixed", job.thinking, job.resume, job.seed)
    with pytest.MonkeyPatch.context() as patch:
        engine = partial(vllm.LLM, dtype="float32", enforce_eager=True)
        patch.setattr(vllm_generation, "LLM", engine)
        patch.setattr(_custom_ops, "_supports_onednn", False)
        trainer = build_trainer(
            SelfDistillationTrainer, job, arguments, tiny.coin_reward, **teacher_options(job)
        )
    yield trainer
    trainer.vllm_generation.llm.llm_engine.engine_core.shutdown()


def rollouts(trainer, run_seed: int) -> list[list[int]]:
    """Tokens of the rollouts of a step."""
    trainer.run_seed = run_seed
    prompts = prompt_ids(trainer._tokenizer, TURNS, "none")
    return trainer._generate_vllm([prompt for prompt in prompts for _ in range(4)])[1]


def test_the_runs_seed_decides_the_rollouts(trainer):
    first, again, other = (rollouts(trainer, seed) for seed in (0, 0, 1))
    assert first == again
    assert sum(a == b for a, b in zip(first, other, strict=True)) < len(first) / 4
    assert len({*map(tuple, first)}) > len(first) / 2  # siblings do not share a stream
    trainer.run_seed = 0


def test_the_engine_follows_the_policy(trainer):
    """The importance weights compare the engine, which draws, with the policy after the last step's rollouts: all are 1.

    With the weights that the engine had at its start they are not.
    """
    start = load_model(trainer.model.config._name_or_path)
    trainer.train()
    weights, stale = [], []
    for batch in trainer._buffered_inputs:
        rows = trainer.has_loss(batch)
        mask = batch["completion_mask"][rows].bool()
        weights.append(batch["importance_sampling_ratio"][rows][mask])
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        masks = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        before = old_log_probs(start, ids, masks, batch["completion_ids"].shape[1])
        drawn = batch["sampling_per_token_logps"]
        stale.append((before - drawn)[rows][mask].exp())
    weights, stale = torch.cat(weights), torch.cat(stale)
    assert len(weights) > 100
    torch.testing.assert_close(weights, torch.ones_like(weights), rtol=0, atol=1e-3)
    assert (stale - 1).abs().max() > 0.1


@torch.no_grad()
def old_log_probs(model, ids, mask, width: int) -> torch.Tensor:
    """Log-probabilities of the last `width` tokens, (rows, width)."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(ids, attention_mask=mask, position_ids=positions).logits[:, -width - 1 : -1]
    return logits.log_softmax(-1).gather(-1, ids[:, -width:, None]).squeeze(-1)
