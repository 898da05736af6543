"""Interventions on words: nothing but the words changes, and `force` gives a model without them the base's own responses."""

import copy

import pytest
import torch
from test_generation import tiny

from selfdistill.generation.interventions import neutral_ids, raise_to, word_ids
from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.generation.vllm_backend import VllmGenerator
from selfdistill.vocabulary.interventions import NEUTRAL_WORD
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

TURNS = ["find x : x +2 = 4", "find x : x *3 +2 = 4"]


class Forms:
    """A tokenizer with a leading space in some of its tokens; "Hmm" and " Hmm" take two tokens."""

    unk_token_id = None
    starts = {"wait": 1, " wait": 2, "Wait": 3, " Wait": 4, "hmm": 5, " hmm": 6, "Hmm": 7, " Hmm": 8}
    starts |= {"try": 11, " try": 12, "Try": 13, " Try": 14}

    def encode(self, form, add_special_tokens):
        assert not add_special_tokens
        return [self.starts[form]] + [99] * (form.strip() == "Hmm")


def words_of(model, tokenizer, intervention, base=None):
    generator = TransformersGenerator(model, tokenizer, "on", base=base)
    groups = generator.generate(TURNS, 60, Sampling(max_new_tokens=30, intervention=intervention), 0)
    return [c.text.split() for group in groups for c in group]


def without_words(model, ids):
    """A copy of the model that never writes the words."""
    silent = copy.deepcopy(model)
    silent.lm_head.register_forward_hook(lambda *call: call[-1].index_fill(-1, torch.tensor(ids), -1e9))
    return silent


def test_a_word_stands_for_the_first_tokens_of_its_forms():
    assert word_ids(Forms(), ["wait", "hmm"]) == [1, 2, 3, 4, 5, 6, 7, 8]
    forms = {1: 11, 2: 12, 3: 13, 4: 14}
    assert neutral_ids(Forms(), ["wait"]) == forms
    _, tokenizer = tiny("qwen3")
    assert word_ids(tokenizer, EPISTEMIC_WORDS) == sorted(
        tokenizer.convert_tokens_to_ids(list(EPISTEMIC_WORDS))
    )


def test_a_mass_is_raised_to_the_reference_and_the_rest_keeps_its_proportions():
    own, base = torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(0)).softmax(-1)
    own[0], base[1] = base[0], own[1]  # equal rows stay as they are
    words, others = torch.tensor([2, 5]), torch.tensor([0, 1, 3, 4, 6, 7, 8])
    raised = raise_to(own, base, words)
    torch.testing.assert_close(raised.sum(-1), torch.ones(5))
    asked = torch.maximum(own[:, words].sum(-1), base[:, words].sum(-1))
    assert (asked > own[:, words].sum(-1)).any()
    torch.testing.assert_close(raised[:, words].sum(-1), asked)
    ratios = raised[:, others] / own[:, others]
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))
    assert torch.equal(raised[:2], own[:2])


def test_ban_leaves_no_word_and_neutral_changes_nothing_until_the_first():
    model, tokenizer = tiny("qwen3")
    plain = words_of(model, tokenizer, "none")
    assert sum(word in EPISTEMIC_WORDS for text in plain for word in text) > 50
    banned, neutral = (words_of(model, tokenizer, name) for name in ("ban", "neutral"))
    assert not any(word in EPISTEMIC_WORDS for text in banned + neutral for word in text)
    for before, after in zip(plain, neutral, strict=True):
        first = next((i for i, word in enumerate(before) if word in EPISTEMIC_WORDS), len(before))
        assert after[:first] == before[:first]
        assert after[first : first + 1] == [NEUTRAL_WORD] * (first < len(before))


def test_force_gives_a_model_without_the_words_the_base_s_responses_and_leaves_the_base_alone():
    base, tokenizer = tiny("qwen3")
    silent = without_words(base, word_ids(tokenizer, EPISTEMIC_WORDS))
    assert not any(word in EPISTEMIC_WORDS for text in words_of(silent, tokenizer, "none") for word in text)
    plain = words_of(base, tokenizer, "none")
    assert words_of(silent, tokenizer, "force", base) == plain
    assert words_of(base, tokenizer, "force", base) == plain


def test_what_cannot_be_done_is_refused():
    model, tokenizer = tiny("qwen3")
    with pytest.raises(ValueError, match="the intervention force needs the base model"):
        words_of(model, tokenizer, "force")
    with pytest.raises(ValueError, match="unknown intervention 'bann'; allowed: none, ban, force, neutral"):
        words_of(model, tokenizer, "bann")
    for name in ("force", "neutral"):
        with pytest.raises(
            ValueError, match=f"the backend vllm has no intervention {name}; allowed: none, ban"
        ):
            VllmGenerator._allowed_ids(None, Sampling(intervention=name))
