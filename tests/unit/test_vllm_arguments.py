"""What the vLLM backend asks of vLLM, tested without it; tests/engine holds what the engine answers."""

import importlib.util

import pytest
from tiny import save_base

from selfdistill.generation import vllm_backend
from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.generation.vllm_backend import (
    VllmGenerator,
    engine_length,
    parallel_size,
    request_seeds,
    sampling_arguments,
)
from selfdistill.jobs.fingerprint import reachable
from selfdistill.sampling.evaluation import load_generator


@pytest.fixture
def absent(monkeypatch):
    """A machine without vLLM."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        vllm_backend.importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name)
    )


@pytest.fixture
def present(monkeypatch):
    """A machine that says it has vLLM."""
    monkeypatch.setattr(vllm_backend, "require_vllm", lambda: None)


def arguments(sampling, **changes):
    """The arguments of one response in an engine of 4,096 tokens."""
    options = dict(seed=7, prompt_tokens=96, max_model_len=4096, end_token_ids=(2, 5))
    return sampling_arguments(sampling, **options | changes)


def test_the_backend_s_name_chooses_the_generator(tmp_path, present):
    base = save_base(tmp_path / "base")
    assert isinstance(load_generator(base, "on", "transformers"), TransformersGenerator)
    assert isinstance(load_generator(base, "on", "vllm"), VllmGenerator)
    with pytest.raises(ValueError, match="unknown generation backend 'llamacpp'"):
        load_generator(base, "on", "llamacpp")


def test_without_vllm_the_error_says_what_to_install(tmp_path, absent):
    with pytest.raises(ModuleNotFoundError, match="envs/requirements-gpu.txt.*make test-vllm"):
        load_generator(tmp_path, "on", "vllm")


def test_a_study_on_transformers_does_not_count_the_vllm_backend():
    assert "selfdistill.generation.vllm_backend" not in reachable(("selfdistill.sampling.evaluation",))


def test_sampling_becomes_vllm_s_arguments():
    sampling = Sampling(temperature=0.6, top_p=0.95, top_k=0, max_new_tokens=100)
    assert arguments(sampling) == {
        "n": 1,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 0,
        "max_tokens": 100,
        "seed": 7,
        "stop_token_ids": [2, 5],
        "detokenize": False,
    }
    assert arguments(sampling, allowed_token_ids=(0, 2, 5))["allowed_token_ids"] == [0, 2, 5]
    assert arguments(Sampling(max_new_tokens=9999))["max_tokens"] == 4000


def test_banned_words_leave_the_rest_of_the_vocabulary(tmp_path):
    generator = VllmGenerator(save_base(tmp_path / "base"), "on")
    wait = generator.tokenizer.convert_tokens_to_ids("wait")

    def ban(*words: str) -> Sampling:
        return Sampling(intervention="ban", words=words)

    assert generator._allowed_ids(Sampling()) is None
    assert set(range(generator.config.vocab_size)) - set(generator._allowed_ids(ban("wait"))) == {wait}
    with pytest.raises(ValueError, match="perchance"):
        generator._allowed_ids(ban("perchance"))


def test_seeds_follow_the_prompt_and_not_its_place():
    a, b, c = request_seeds([[1, 2], [3], [1, 2]], 3, seed=0)
    assert request_seeds([[3], [1, 2]], 3, seed=0) == [b, a]
    assert request_seeds([[1, 2]], 2, seed=0) == [a[:2]]
    assert len({*a, *b, *c, *request_seeds([[1, 2]], 3, seed=1)[0]}) == 12


def test_the_engine_is_as_long_as_asked_and_no_longer_than_the_model():
    assert engine_length(100, 38912, 40960) == 40960
    assert engine_length(100, 38912, 131072) == 40960
    assert engine_length(100, 200, 512) == 512
    with pytest.raises(ValueError, match="512 positions"):
        engine_length(512, 1, 512)


def test_devices_are_used_as_far_as_the_heads_divide():
    assert [parallel_size(n, heads) for n, heads in ((0, 32), (1, 28), (2, 28), (8, 28), (8, 32))] == [
        1,
        1,
        2,
        7,
        8,
    ]
