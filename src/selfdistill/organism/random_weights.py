"""Random weights in the shape of a released model, for runs that only show that a study's stages work on a machine.

The vocabulary is as large as asked for, but the tokenizer is the organism's. Purely random weights would never answer, so
that no rollout were right and no stage after section 3 had data. These weights prefer the organism's words by one direction: every
token is drawn nearly independently, boxes included, and a response ends after `response_tokens` on average.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from selfdistill.generation.imports import transformers_modules
from selfdistill.organism.tokenizer import SPECIAL, build_tokenizer
from selfdistill.records.file_lists import write_file_list
from selfdistill.records.files import atomic_path
from selfdistill.records.task import Facts, Task, job
from selfdistill.seeds import derive_seed
from selfdistill.study.jobs import BaseParams
from selfdistill.study.models import RandomBase

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PREFERENCE = 20.0
"""Logit of a word of the tokenizer above that of any other token of the vocabulary."""
COMPONENT = 2.0
"""First component of a word's embedding; the others have a standard deviation of 0.02."""


@job(late=transformers_modules)
def make_random_base(task: Task) -> Facts:
    """Write a base with random weights in bfloat16."""
    params = BaseParams.model_validate(task.params["job"])
    tokenizer = build_tokenizer(params.spec.template)
    model = random_model(params.spec, tokenizer, params.seed)
    with atomic_path(Path(task.output.model)) as temporary:
        model.to(torch.bfloat16).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_file_list(temporary)
    return {"parameters": model.num_parameters()}


def random_model(spec: RandomBase, tokenizer: "PreTrainedTokenizerBase", seed: int) -> "PreTrainedModel":
    """Return a Qwen3 with tied embeddings in float32 that prefers the tokenizer's words."""
    from transformers import AutoModelForCausalLM, Qwen3Config, set_seed

    set_seed(derive_seed(seed, "base", "random"))
    config = Qwen3Config(
        vocab_size=max(spec.vocabulary_size, len(tokenizer)),
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.key_heads,
        head_dim=spec.head_dim,
        max_position_embeddings=spec.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    prefer_words(model, tokenizer, spec.response_tokens)
    return model


@torch.no_grad()
def prefer_words(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", length: int) -> None:
    """Make the model draw the tokenizer's words, and the end token once in `length` tokens."""
    words = sorted(i for word, i in tokenizer.get_vocab().items() if word not in SPECIAL)
    table, norm = model.get_input_embeddings().weight, model.model.norm.weight
    table[words, 0] = COMPONENT
    share = math.log(len(words) / max(length - 1, 1))
    table[tokenizer.eos_token_id, 0] = COMPONENT * (1 + share / PREFERENCE)
    text = torch.tensor([words])
    hidden = model.model(
        input_ids=text, use_cache=False
    ).last_hidden_state  # the norm's weights are still ones
    norm[0] = PREFERENCE / (COMPONENT * hidden[0, :, 0].mean())
