r"""Training of a mini base model from scratch, followed by the acceptance test that it must pass.

Each base mirrors a family of the paper: the Qwen2 (DeepSeek-R1-Distill-Qwen-7B), Qwen3 (Qwen3-8B) or Olmo3 (OLMo-3-7B-Instruct)
architecture of transformers with that family's template. The loop is plain: AdamW, batches of similar length, loss on responses
and on the solutions that prompts show. The documents are a function of (seed, chunk), so a killed run resumes bit-identically
from its last checkpoint.
"""

import json
import logging
import math
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from selfdistill.fast_cpu.products import wide_products
from selfdistill.models.finite import check_numbers, check_weights
from selfdistill.models.prompts import chat_template_kwargs
from selfdistill.organism.acceptance import first_accepted, measure_base
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.organism.traces import Document, Style, draw_document
from selfdistill.records.file_lists import write_file_list
from selfdistill.records.files import atomic_path, link_or_copy
from selfdistill.records.progress import write_progress
from selfdistill.records.resume import delete_checkpoint, keep_newest, newest_whole
from selfdistill.seeds import derive_seed
from selfdistill.study.models import OrganismBase
from selfdistill.vocabulary.organism import POSITIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CHUNK_BATCHES = 64  # batches whose documents are drawn together and sorted by length
PAD_MULTIPLE = 4  # batches are padded to a multiple of this, so that few different shapes occur
CHECKPOINT_EVERY = 200  # steps
STATE = "state.pt"
CANDIDATE = "candidate"
"""Folder of a draw that is saved and not yet accepted."""
SOLUTION_MARK = "solution:"


def build_model(spec: OrganismBase, tokenizer: "PreTrainedTokenizerBase", seed: int) -> "PreTrainedModel":
    """Return a newly initialised causal language model of the base's architecture, in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    set_seed(derive_seed(seed, "base", "init"))
    config = AutoConfig.for_model(
        spec.architecture,
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({"head_dim": spec.hidden_size // spec.heads} if spec.architecture == "qwen3" else {}),
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _initialise(model, spec)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _initialise(model: "PreTrainedModel", spec: OrganismBase) -> None:
    """Draw embeddings at unit scale, matrices at 1/sqrt(fan in), residual projections at that over sqrt(2 layers).

    With the library's constant 0.02, a model of width 128 guesses for thousands of steps: the first layer's output is much larger
    than the embeddings, and whatever needs two tokens at once (is the value reached the target?) is learned late or never.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue  # norms keep their ones
        scale = 1.0 if "embed_tokens" in name else parameter.shape[1] ** -0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            scale /= math.sqrt(2 * spec.layers)
        torch.nn.init.normal_(parameter, std=scale)


def encode_documents(
    documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase"
) -> list[tuple[list[int], list[bool]]]:
    """Return, per document, the token ids of prompt + response + end, and which of them carry loss.

    The response and the solution that a prompt shows carry loss. The generation prompt between them never does: with
    thinking off it contains `<think> </think>`, and a model that learns to write this would close its thinking at once
    when thinking is on.
    """
    conversations = [[{"role": "user", "content": d.user_turn}] for d in documents]

    def prompts(add_generation_prompt: bool) -> list[list[int]]:
        """Return the token ids of all prompts."""
        texts = [
            tokenizer.apply_chat_template(
                conversation,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **chat_template_kwargs(document.thinking),
            )
            for conversation, document in zip(conversations, documents, strict=True)
        ]
        return tokenizer(texts, add_special_tokens=False)["input_ids"]

    response_ids = tokenizer([d.response for d in documents], add_special_tokens=False)["input_ids"]
    mark = tokenizer.convert_tokens_to_ids(SOLUTION_MARK)
    encoded = []
    for turn, prompt, response in zip(prompts(False), prompts(True), response_ids, strict=True):
        shown = turn.index(mark) + 1 if mark in turn else len(turn)
        loss = [shown <= place < len(turn) for place in range(len(prompt))]
        encoded.append((prompt + response + [tokenizer.eos_token_id], loss + [True] * (len(response) + 1)))
    return encoded


def draw_batches(
    spec: OrganismBase, tokenizer: "PreTrainedTokenizerBase", seed: int, chunk: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Draw CHUNK_BATCHES batches of (ids, loss mask), both (batch, tokens), right-padded; a function of seed and chunk only."""
    rng = random.Random(derive_seed(seed, "base", "documents", chunk))
    style = Style(**spec.style)
    documents = [draw_document(rng, style, spec.template) for _ in range(spec.batch_size * CHUNK_BATCHES)]
    encoded = sorted(encode_documents(documents, tokenizer), key=lambda item: len(item[0]))
    groups = [encoded[i : i + spec.batch_size] for i in range(0, len(encoded), spec.batch_size)]
    rng.shuffle(groups)
    return [_pad(group, tokenizer.pad_token_id) for group in groups]


def _pad(group: list[tuple[list[int], list[bool]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ids and loss masks of a group as two tensors, (batch, tokens), right-padded."""
    longest = max(len(ids) for ids, _ in group)
    width = longest + -longest % PAD_MULTIPLE
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group])
    return ids, torch.tensor([loss + [False] * (width - len(loss)) for _, loss in group])


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100, decay: float = 0.3) -> float:
    """Return the learning rate of a step: linear warm-up, constant, then linear decay to 2 % over the last share `decay`.

    Checking an answer is learned suddenly, at a step that differs between architectures. A schedule that has already decayed by
    then (cosine) can miss it.
    """
    left = (steps - step) / (decay * steps)
    return peak * min(1.0, (step + 1) / warmup) * max(0.02, min(1.0, left))


def _optimizer(model: "PreTrainedModel", spec: OrganismBase) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=(0.9, 0.98), fused=True)


def train_step(
    model: "PreTrainedModel", optimizer: torch.optim.Optimizer, ids: torch.Tensor, mask: torch.Tensor
) -> float:
    """Run one update on the mean cross-entropy of the tokens that carry loss, and return that loss (nats).

    The head runs on those tokens only.
    """
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    carries = mask[:, 1:]
    loss = F.cross_entropy(model.lm_head(hidden[carries]), ids[:, 1:][carries])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def train_base(spec: OrganismBase, seed: int, output: Path, resume: Path) -> dict[str, float]:
    """Train a base from scratch, save it as a Hugging Face folder with `acceptance.json`, and return its measurements.

    What is done survives a killed job in `resume`. Raise acceptance.BaseRejected, with the measurements, if no draw is accepted.
    """
    place, figures = first_accepted(
        lambda own, folder: train_draw(spec, own, folder, resume), spec.acceptance, seed, resume
    )
    with atomic_path(output) as temporary:
        shutil.copytree(place / CANDIDATE, temporary, copy_function=link_or_copy)
        (temporary / "acceptance.json").write_text(json.dumps(figures, indent=1) + "\n")
        write_file_list(temporary)
    return figures


def train_draw(spec: OrganismBase, seed: int, folder: Path, progress: Path) -> dict[str, float]:
    """Train one draw of a base, save it in `folder`, load it from there and return its measurements.

    Training resumes from the newest whole checkpoint in `folder`; its progress is written to the folder `progress`.
    """
    tokenizer = build_tokenizer(spec.template)
    model = build_model(spec, tokenizer, seed)
    optimizer = _optimizer(model, spec)
    first, tokens = _load_checkpoint(folder, model, optimizer)
    logger.info("base: %d parameters, steps %d to %d", model.num_parameters(), first, spec.steps)
    with wide_products() as wide:
        logger.info("matrix products: %s", "oneDNN, AVX-512" if wide else "as torch chooses")
        _train_loop(model, optimizer, tokenizer, spec, seed, first, tokens, folder, progress)
    model.save_pretrained(folder / CANDIDATE)
    tokenizer.save_pretrained(folder / CANDIDATE)
    write_file_list(folder / CANDIDATE)
    return measure_base(folder / CANDIDATE, spec.template, seed)


def _train_loop(
    model: "PreTrainedModel",
    optimizer: torch.optim.Optimizer,
    tokenizer: "PreTrainedTokenizerBase",
    spec: OrganismBase,
    seed: int,
    first: int,
    tokens: int,
    folder: Path,
    progress: Path,
) -> None:
    """Run the steps from `first` on, with checkpoints in `folder`, and progress in `progress`; tokens: loss tokens of earlier steps."""
    model.train()
    batches, started = [], time.monotonic()
    for step in range(first, spec.steps):
        if not batches or step % CHUNK_BATCHES == 0:
            batches = draw_batches(spec, tokenizer, seed, step // CHUNK_BATCHES)
        ids, mask = batches[step % CHUNK_BATCHES]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, spec.steps, spec.learning_rate)
        loss = train_step(model, optimizer, ids, mask)
        tokens += int(mask.sum())
        done = step + 1
        check_numbers({"loss": loss}, f"base, step {done}")
        if done % 20 == 0 or done == spec.steps:
            write_progress(
                progress, step=done, steps=spec.steps, seconds=time.monotonic() - started, first=first
            )
        if done % 100 == 0:
            logger.info(
                "step %d/%d loss %.3f, %d loss tokens, %.0f s",
                done,
                spec.steps,
                loss,
                tokens,
                time.monotonic() - started,
            )
        if done % CHECKPOINT_EVERY == 0 and done < spec.steps:
            _save_checkpoint(folder, model, optimizer, done, tokens)
    check_weights(model.named_parameters(), f"base, step {spec.steps}")


def _save_checkpoint(
    resume: Path, model: "PreTrainedModel", optimizer: torch.optim.Optimizer, step: int, tokens: int
) -> None:
    """Write the state of the training as a checkpoint with its file list, and delete older ones."""
    check_weights(model.named_parameters(), f"base, step {step}")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "tokens": tokens}
    folder = resume / f"checkpoint-{step}"
    delete_checkpoint(folder)
    folder.mkdir()
    torch.save(state, folder / STATE)
    write_file_list(folder)
    keep_newest(resume)


def _load_checkpoint(
    resume: Path, model: "PreTrainedModel", optimizer: torch.optim.Optimizer
) -> tuple[int, int]:
    """Load the newest whole checkpoint, if there is one, and return its step and loss tokens."""
    checkpoint = newest_whole(resume)
    if checkpoint is None:
        return 0, 0
    state = torch.load(checkpoint / STATE, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["tokens"]
