"""Random weights: their words, their length, their end, and the tokenizer beside them."""

import pytest
import torch

from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.organism.random_weights import random_model
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.study.models import RandomBase

SHAPE = {
    "source": "random", "template": "qwen3", "vocabulary_size": 2000, "positions": 512, "hidden_size": 64,
    "layers": 2, "heads": 2, "key_heads": 1, "head_dim": 32, "intermediate_size": 96,
}  # fmt: skip


@pytest.mark.parametrize("length", [5, 40])
def test_responses_are_words_of_the_tokenizer_and_end_after_the_mean_length(length):
    tokenizer = build_tokenizer("qwen3")
    model = random_model(RandomBase(**SHAPE, response_tokens=length), tokenizer, 0).eval()
    assert model.config.vocab_size == 2000
    generator = TransformersGenerator(model, tokenizer, "off")
    (answers,) = generator.generate(["find x : x +2 = 4"], 200, Sampling(max_new_tokens=400), 0)
    ids = [token for answer in answers for token in answer.token_ids]
    assert max(ids) < len(tokenizer)
    assert len(ids) / len(answers) == pytest.approx(length, rel=0.35)
    assert sum("\\boxed{" in answer.text for answer in answers) > 20


def test_one_seed_gives_one_model():
    tokenizer = build_tokenizer("qwen3")
    first, again, other = (
        random_model(RandomBase(**SHAPE, response_tokens=9), tokenizer, seed).model.norm.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
