"""Each path of the room of faster CPU paths gives what its plain twin gives, and one switch turns all of them off."""

import pkgutil
from types import SimpleNamespace

import pytest
import tiny
import torch
from test_generation import VARIANTS, variant
from test_organism import spec
from test_shared_prefix import batch, gradients
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicLayer

from selfdistill import fast_cpu
from selfdistill.fast_cpu import SWITCH, attention, growing_cache, products, shared_prefix, single_query
from selfdistill.generation.transformers_backend import sample_batch
from selfdistill.models.loading import load_model
from selfdistill.organism import pretraining
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.training.loss.head import hidden_at

PROMPTS = [[3, 8, 10, 20, 30, 4], [3, 8, 4], [3, 8, 10, 33, 4], [3, 8, 10, 33, 4], *([3, 9, 4],) * 12]
MODULES = [module.name for module in pkgutil.iter_modules(fast_cpu.__path__)]


def sampled(model):
    """Tokens and log-probabilities of rows that end at different steps, so that rows are moved."""
    return sample_batch(
        model, PROMPTS, max_new_tokens=24, eos_token_ids=range(8), pad_token_id=0, generator=torch.Generator().manual_seed(0)
    )  # fmt: skip


def same_samples(model, plain, monkeypatch) -> None:
    """The samples of `model` are the same where `plain`, a module of the room, serves no model."""
    found = sampled(model)
    monkeypatch.setattr(plain, "serves", lambda model: False)
    assert_same(found, sampled(model))


def assert_same(left, right) -> None:
    assert len({len(row) for row in left.token_ids}) > 3
    assert left.token_ids == right.token_ids
    for ours, theirs in zip(left.log_probs, right.log_probs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def growing_cache_twin(monkeypatch, folder) -> None:
    same_samples(variant("qwen3"), growing_cache, monkeypatch)


def single_query_twin(monkeypatch, folder) -> None:
    same_samples(variant("qwen3"), single_query, monkeypatch)


def attention_twin(monkeypatch, folder) -> None:
    monkeypatch.setattr(single_query, "serves", lambda model: False)  # it takes written masks only
    same_samples(variant(VARIANTS["olmo3"][0], **VARIANTS["olmo3"][1]), attention, monkeypatch)


def shared_prefix_twin(monkeypatch, folder) -> None:
    model = load_model(tiny.save_base(folder / "base"))
    prompts, prompt_mask, completions, mask, tokens = batch()
    whole = torch.cat([prompts, completions], 1), torch.cat([prompt_mask, mask], 1)
    calls = []
    model.base_model.register_forward_hook(lambda *_: calls.append(None))
    found = []
    for serves in (fast_cpu.serves, lambda model: False):
        monkeypatch.setattr(shared_prefix, "serves", serves)
        hidden = hidden_at(model, *whole, tokens)
        found.append((hidden, gradients(model, hidden), len(calls)))
    (shared, of_shared, several), (plain, of_plain, one_more) = found
    assert several > 1 and one_more == several + 1
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-6)
    for name, gradient in of_plain.items():
        torch.testing.assert_close(of_shared[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def products_twin(monkeypatch, folder) -> None:
    tokenizer = build_tokenizer("qwen3")
    ids, mask = pretraining.draw_batches(spec(batch_size=16), tokenizer, 0, 0)[0]
    monkeypatch.setattr(
        torch.backends.cpu, "get_cpu_capability", lambda: "AVX512"
    )  # faster there, right anywhere
    losses = []
    for enabled in (True, False):
        monkeypatch.setattr(products, "enabled", lambda enabled=enabled: enabled)
        model = pretraining.build_model(spec(), tokenizer, 0)
        optimizer = pretraining._optimizer(model, spec())
        with products.wide_products() as wide:
            assert wide == (enabled and products.keeps_float32())
            losses.append([pretraining.train_step(model, optimizer, ids, mask) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("module", MODULES)
def test_each_path_is_held_to_its_plain_twin(module, monkeypatch, tmp_path):
    globals()[f"{module}_twin"](monkeypatch, tmp_path)  # a new module of the room needs one


@pytest.mark.parametrize("name", VARIANTS)
def test_the_switch_gives_transformers_own_cache_and_attention(name, monkeypatch):
    architecture, changes = VARIANTS[name]
    model, used = variant(architecture, **changes), []
    fast = sampled(model)
    own = model.config._attn_implementation

    def record(module, args, kwargs) -> None:
        layers = kwargs["past_key_values"].layers
        used.append((model.config._attn_implementation, isinstance(layers[0], growing_cache.GrowingLayer)))
        assert isinstance(layers[0], DynamicLayer) and torch.is_tensor(kwargs["attention_mask"])

    monkeypatch.setenv(SWITCH, "1")
    model.register_forward_pre_hook(record, with_kwargs=True)
    assert_same(fast, sampled(model))
    assert set(used) == {(own, False)}


def test_the_switch_turns_off_what_training_asks_for(monkeypatch, tmp_path):
    model = load_model(tiny.save_base(tmp_path / "base"))
    assert fast_cpu.serves(model) and shared_prefix.can_share(model)
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(products, "keeps_float32", lambda: pytest.fail("asked"))
    assert not fast_cpu.serves(model) and not shared_prefix.can_share(model)
    assert shared_prefix.shared_hidden(model, *batch()[:3], batch()[4]) is None
    with products.wide_products() as wide:
        assert not wide


@pytest.mark.parametrize(("value", "enabled"), [("", True), ("0", True), ("1", False)])
def test_values_of_the_switch(value, enabled, monkeypatch):
    monkeypatch.setenv(SWITCH, value)
    assert fast_cpu.enabled() is enabled


def test_any_other_value_is_refused(monkeypatch):
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(ValueError, match="SELFDISTILL_PLAIN must be 0 or 1"):
        fast_cpu.enabled()


def test_models_beside_a_cpu_are_not_served():
    assert not fast_cpu.serves(SimpleNamespace(device=torch.device("cuda", 0)))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(variant("qwen3").config)
    assert not fast_cpu.serves(model)
    assert type(growing_cache.decoding_cache(model).layers[0]) is DynamicLayer
