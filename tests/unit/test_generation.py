"""The transformers backend samples what the model says: same distribution as a plain forward, whatever the batch does."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from selfdistill.fast_cpu.single_query import NAME, attend
from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import (
    COMPACT_BELOW,
    TransformersGenerator,
    _draw,
    sample_batch,
)
from selfdistill.organism.pretraining import build_model
from selfdistill.organism.tokenizer import build_tokenizer

ARCHITECTURES = {"qwen2": "r1", "qwen3": "qwen3", "olmo3": "olmo3", "llama": "olmo3"}


def tiny(architecture: str):
    tokenizer = build_tokenizer(ARCHITECTURES[architecture])
    spec = SimpleNamespace(architecture=architecture, hidden_size=32, layers=2, heads=2, intermediate_size=48)
    model = build_model(spec, tokenizer, 0).eval()
    with torch.no_grad():  # an untrained model is nearly uniform; sharpen it so that differences would show
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model, tokenizer


def draw(model, tokenizer, prompts, seed=0, **kwargs):
    options = dict(
        max_new_tokens=12, eos_token_ids=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id
    )
    generator = torch.Generator().manual_seed(seed)
    return sample_batch(model, prompts, generator=generator, **options | kwargs).token_ids


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_transformers_generate(architecture):
    model, tokenizer = tiny(architecture)
    prompts = [[3, 8, 10, 20, 30, 4], [3, 8, 4], [3, 8, 10, 33, 4], [3, 8, 10, 33, 4]]
    ours = draw(model, tokenizer, prompts, top_k=1)
    for prompt, completion in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        reference = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
        )
        assert completion == reference[0, len(prompt) :].tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sampled_frequencies_follow_the_model(architecture):
    model, tokenizer = tiny(architecture)
    prompt = [3, 8, 10, 20, 4]
    count = 6000
    tokens = Counter(c[0] for c in draw(model, tokenizer, [prompt] * count, max_new_tokens=1))
    with torch.no_grad():
        expected = count * model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    observed = torch.tensor([tokens[token] for token in range(len(expected))])
    common = expected >= 5  # rarer tokens are counted together, as the chi-square statistic asks
    pooled = [torch.cat([counts[common], counts[~common].sum()[None]]) for counts in (observed, expected)]
    statistic = float(((pooled[0] - pooled[1]) ** 2 / pooled[1].clamp(min=1e-9)).sum())
    freedom = int(common.sum())
    assert statistic < freedom + 5 * (2 * freedom) ** 0.5
    assert freedom > 2


def test_rows_that_end_do_not_disturb_the_others():
    model, tokenizer = tiny("qwen3")
    prompts = [[3, 8, 10 + i, 4] for i in range(24)]
    together = draw(model, tokenizer, prompts, top_k=1, max_new_tokens=20)
    apart = [draw(model, tokenizer, [p], top_k=1, max_new_tokens=20)[0] for p in prompts]
    assert together == apart


def test_same_seed_same_samples_and_global_stream_untouched():
    model, tokenizer = tiny("qwen2")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again = (draw(model, tokenizer, [[3, 8, 4]] * 8, seed=3) for _ in range(2))
    assert first == again != draw(model, tokenizer, [[3, 8, 4]] * 8, seed=4)
    assert torch.equal(before, torch.random.get_rng_state())


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    model, tokenizer = tiny("qwen3")
    prompt = [3, 8, 10, 20, 4]
    with torch.no_grad():
        ordered, order = model(torch.tensor([prompt])).logits[0, -1].softmax(-1).sort(descending=True)
    kept = set(order[: int((ordered.cumsum(0) < 0.5).sum()) + 1].tolist())
    assert {c[0] for c in draw(model, tokenizer, [prompt] * 500, max_new_tokens=1, top_p=0.5)} <= kept


def test_banned_words_are_never_sampled_and_unknown_ones_refused():
    model, tokenizer = tiny("qwen3")
    generator = TransformersGenerator(model, tokenizer, "on")
    sampling = Sampling(max_new_tokens=30, intervention="ban", words=("wait", "hmm"))
    texts = [c.text for group in generator.generate(["find x : x +2 = 4"], 40, sampling, 0) for c in group]
    assert not any({"wait", "hmm"} & set(text.split()) for text in texts)
    with pytest.raises(ValueError, match="perchance"):
        generator.generate(["find x : x +2 = 4"], 1, Sampling(intervention="ban", words=("perchance",)), 0)


def test_truncation_is_recorded():
    model, tokenizer = tiny("qwen3")
    groups = TransformersGenerator(model, tokenizer, "on").generate(
        ["find x : x +2 = 4"] * 3, 5, Sampling(max_new_tokens=4), 0
    )
    assert [len(g) for g in groups] == [5, 5, 5]
    for completion in (c for g in groups for c in g):
        assert completion.truncated == (completion.token_ids[-1] != tokenizer.eos_token_id)
        assert len(completion.token_ids) <= 4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_a_forward_pass(temperature):
    model, tokenizer = tiny("qwen3")
    prompts = [[3, 8, 10, 20, 30, 4], [3, 8, 4], [3, 8, 10, 33, 4], [3, 8, 10, 33, 4]]
    drawn = sample_batch(
        model, prompts, generator=torch.Generator().manual_seed(1), max_new_tokens=12, temperature=temperature,
        eos_token_ids=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    for prompt, ids, log_probs in zip(prompts, *drawn, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected = (logits / temperature).log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)
        torch.testing.assert_close(torch.tensor(log_probs), expected, rtol=1e-4, atol=1e-5)


def variant(architecture: str, **changes):
    """A tiny model whose configuration is changed in the given fields."""
    config = tiny(architecture)[0].config
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return model


VARIANTS = {
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "olmo3": ("olmo3", {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}),
    "grouped queries": ("llama", {"num_key_value_heads": 1}),
    "eager": ("qwen3", {"_attn_implementation": "eager"}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_decoding_gives_the_log_probabilities_of_full_attention(name):
    architecture, changes = VARIANTS[name]
    model = variant(architecture, **changes)
    before = model.config._attn_implementation
    seen, used = [], []

    def record(_, __, output):
        seen.append(output.logits[:, -1].log_softmax(-1))
        used.append(model.config._attn_implementation)

    prompts = [[3, 8, 10, 20, 30, 4], [3, 8, 4], [3, 8, 10, 33, 4], [3, 8, 10, 33, 4]]
    hook = model.register_forward_hook(record)
    drawn = sample_batch(
        model, prompts, max_new_tokens=24, eos_token_ids=[-1], pad_token_id=0,
        generator=torch.Generator().manual_seed(0),
    ).token_ids  # fmt: skip
    hook.remove()
    assert set(used) == {NAME} and model.config._attn_implementation == before
    seen[0] = seen[0][[0, 1, 2, 2]]  # distinct prompts are prefilled once
    for row, (prompt, completion) in enumerate(zip(prompts, drawn, strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0]
        expected = logits[len(prompt) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(torch.stack([step[row] for step in seen]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_models_that_keep_their_attention_decode_as_in_one_pass(attention):
    model = variant("olmo3", **VARIANTS["olmo3"][1], _attn_implementation=attention).double()
    prompts, used = [[3, 8, 10, 20, 30, 4], [3, 8, 4]], []
    hook = model.register_forward_hook(lambda *_: used.append(model.config._attn_implementation))
    drawn = sample_batch(
        model, prompts, max_new_tokens=12, eos_token_ids=[-1], pad_token_id=0, generator=torch.Generator().manual_seed(0)
    )  # fmt: skip
    hook.remove()
    assert set(used) == {attention}
    for prompt, ids, log_probs in zip(prompts, *drawn, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1).float()
        torch.testing.assert_close(torch.tensor(log_probs), expected, atol=1e-5, rtol=1e-5)


def test_single_query_attention_equals_sdpa():
    torch.manual_seed(0)
    query, (key, value) = torch.randn(5, 4, 1, 8), torch.randn(2, 5, 2, 11, 8)
    mask = torch.rand(5, 1, 1, 11) < 0.7
    module = SimpleNamespace(num_key_value_groups=2)
    ours, theirs = (
        f(module, query, key, value, mask, scaling=0.3)[0] for f in (attend, sdpa_attention_forward)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_each_number_of_the_stream_goes_to_its_row_though_rows_move():
    model, tokenizer = tiny("qwen3")
    prompts = [[3, 8, 10 + i, 4] for i in range(24)]
    ends = range(8)  # several tokens that end a row, so that many rows end
    generator = torch.Generator().manual_seed(5)
    texts, active = [list(prompt) for prompt in prompts], list(range(24))
    ended = set()
    for _ in range(12):  # what sample_batch does, without a cache and with its rows in order
        with torch.no_grad():
            logits = torch.cat([model(torch.tensor([texts[row]])).logits[:, -1] for row in active])
        tokens = _draw(logits.softmax(-1), generator, torch.arange(len(active))).tolist()
        for row, token in zip(active, tokens, strict=True):
            if row not in ended:
                texts[row].append(token)
                ended |= {row} if token in ends else set()
        going = [row for row in active if row not in ended]
        active = going if len(going) < COMPACT_BELOW * len(active) else active
    assert 5 < len(ended) < 24
    assert draw(model, tokenizer, prompts, seed=5, eos_token_ids=ends) == [text[4:] for text in texts]


def test_the_model_keeps_its_attention_after_sampling_and_after_an_error():
    model, tokenizer = tiny("qwen2")
    model.train()
    draw(model, tokenizer, [[3, 8, 4]])
    assert model.config._attn_implementation == "sdpa" and model.training
    with pytest.raises(IndexError):
        draw(model, tokenizer, [[3, 10_000]])
    assert model.config._attn_implementation == "sdpa" and model.training
