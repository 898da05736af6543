"""The vLLM backend on a tiny model, on the CPU; `make test-vllm` runs it, the default collection leaves it out.

One engine serves all tests; it starts with the first of them.
"""

import weakref

import pytest

pytest.importorskip("vllm", reason="vllm is not installed: `make test-vllm` makes an environment with it")

import tiny  # noqa: E402
import torch  # noqa: E402
from small_models import greedy, save_model  # noqa: E402

from selfdistill.generation.protocol import Sampling  # noqa: E402
from selfdistill.generation.vllm_backend import VllmGenerator  # noqa: E402
from selfdistill.models.finite import NotFinite  # noqa: E402
from selfdistill.models.loading import load_model  # noqa: E402
from selfdistill.models.prompts import prompt_ids  # noqa: E402
from selfdistill.problems.problem import read_problems  # noqa: E402
from selfdistill.sampling.evaluation import evaluate_checkpoint, load_generator  # noqa: E402

TURNS = ["find x : x +2 = 4", "find x : x *5 +9 = 4", "find x : x ^2 = 9"]
SAMPLED = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A generator of the tiny Qwen3."""
    loaded = load_generator(
        save_model(tmp_path_factory.mktemp("model") / "base", "qwen3", "qwen3"), "on", "vllm"
    )
    yield loaded
    loaded.close()


def ids(groups):
    """Token ids of all completions."""
    return [[completion.token_ids for completion in group] for group in groups]


def test_the_seed_decides(generator):
    first, again, other = (ids(generator.generate(TURNS, 4, SAMPLED, seed)) for seed in (3, 3, 4))
    assert first == again != other
    assert [len(set(group)) for group in first] == [4, 4, 4]


def test_order_and_company_do_not_matter(generator):
    together = ids(generator.generate(TURNS, 4, SAMPLED, 0))
    assert ids(generator.generate(TURNS[::-1], 4, SAMPLED, 0)) == together[::-1]
    assert [ids(generator.generate([turn], 4, SAMPLED, 0))[0] for turn in TURNS] == together
    assert ids(generator.generate(TURNS, 2, SAMPLED, 0)) == [group[:2] for group in together]


def test_a_prompt_asked_twice_in_a_call_is_answered_twice(generator):
    first, second = ids(generator.generate(TURNS[:1] * 2, 4, SAMPLED, 0))
    assert not set(first) & set(second)


def test_greedy_equals_transformers_generate(generator):
    groups = generator.generate(TURNS, 1, Sampling(temperature=0.0, max_new_tokens=24), 0)
    prompts = prompt_ids(generator.tokenizer, TURNS, "on")
    expected = greedy(load_model(generator.folder), prompts, 24)
    assert [list(completion.token_ids) for (completion,) in groups] == expected


def test_sampled_frequencies_follow_the_model(generator):
    count = 4000
    drawn = [c.token_ids[0] for c in generator.generate(TURNS[:1], count, Sampling(max_new_tokens=1), 0)[0]]
    prompt = torch.tensor(prompt_ids(generator.tokenizer, TURNS[:1], "on"))
    with torch.no_grad():
        expected = count * load_model(generator.folder)(prompt).logits[0, -1].softmax(-1)
    observed = torch.bincount(torch.tensor(drawn), minlength=len(expected))
    common = expected >= 5  # rarer tokens are counted together, as the chi-square statistic asks
    pooled = [torch.cat([each[common], each[~common].sum()[None]]) for each in (observed, expected)]
    statistic = float(((pooled[0] - pooled[1]) ** 2 / pooled[1].clamp(min=1e-9)).sum())
    freedom = int(common.sum())
    assert freedom > 2 and statistic < freedom + 5 * (2 * freedom) ** 0.5


def test_the_end_of_sequence_is_kept_and_truncation_flagged(generator):
    ends = set(generator.end_token_ids)
    groups = generator.generate(TURNS, 64, Sampling(max_new_tokens=40), 0)
    completions = [completion for group in groups for completion in group]
    for completion in completions:
        assert not ends & set(completion.token_ids[:-1])
        assert completion.truncated == (completion.token_ids[-1] not in ends)
        assert len(completion.token_ids) == 40 if completion.truncated else len(completion.token_ids) <= 40
        assert completion.text == generator.tokenizer.decode(completion.token_ids, skip_special_tokens=True)
    assert {completion.truncated for completion in completions} == {True, False}


def test_max_new_tokens_and_the_model_s_last_position_are_respected(generator):
    assert all(
        len(c.token_ids) <= 4 for g in generator.generate(TURNS, 8, Sampling(max_new_tokens=4), 0) for c in g
    )
    prompt = len(prompt_ids(generator.tokenizer, TURNS[:1], "on")[0])
    room = generator.config.max_position_embeddings - prompt
    endless = Sampling(max_new_tokens=10 * room, intervention="ban", words=(generator.tokenizer.eos_token,))
    for completion in generator.generate(TURNS[:1], 4, endless, 0)[0]:
        assert completion.truncated and len(completion.token_ids) == room


def test_banned_words_never_occur_and_unknown_ones_are_refused(generator):
    free = generator.generate(TURNS, 64, Sampling(max_new_tokens=40), 0)
    words = [word for group in free for completion in group for word in completion.text.split()]
    common = max(sorted(set(words) - {"<think>", "</think>"}), key=words.count)
    banned = Sampling(max_new_tokens=40, intervention="ban", words=(common,))
    texts = [c.text for group in generator.generate(TURNS, 64, banned, 0) for c in group]
    assert not any(common in text.split() for text in texts)
    with pytest.raises(ValueError, match="perchance"):
        generator.generate(TURNS[:1], 1, Sampling(intervention="ban", words=("perchance",)), 0)


def test_top_k_one_is_greedy_at_any_temperature(generator):
    greedy = ids(generator.generate(TURNS, 1, Sampling(temperature=0.0, max_new_tokens=24), 0))
    assert ids(generator.generate(TURNS, 1, Sampling(top_k=1, max_new_tokens=24), 0)) == greedy


def test_a_second_model_takes_the_engine_over(generator, tmp_path):
    before = ids(generator.generate(TURNS, 2, SAMPLED, 0))
    engine = weakref.ref(generator.engine)
    second = load_generator(save_model(tmp_path / "second", "qwen2", "r1"), "none", "vllm")
    assert ids(second.generate(TURNS, 2, SAMPLED, 0)) != before
    assert VllmGenerator.open is second and generator.engine is None
    assert engine() is None  # nothing keeps its memory
    assert ids(generator.generate(TURNS, 2, SAMPLED, 0)) == before
    assert second.engine is None


def test_an_evaluation_of_weights_that_are_not_finite_names_the_checkpoint(tmp_path):
    base = save_model(tmp_path / "base", "qwen3", "qwen3")
    model = load_model(base)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[3, 5] = torch.nan
    model.save_pretrained(base)
    problems = {"chain": read_problems(tiny.save_problems(tmp_path / "problems.parquet"))}
    with pytest.raises(NotFinite, match=f"step 7, {base}: the logits are not finite"):
        evaluate_checkpoint(7, base, problems, "on", "qwen3", 1, Sampling(), {}, seed=0, backend="vllm")
