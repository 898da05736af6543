"""Batched sampling with a transformers model: the backend of the mini study, and of every machine without vLLM.

`transformers.generate` spends most of a small model's time beside the model: it rebuilds masks, grows the cache by copying, keeps
decoding rows that have ended and prefills the same prompt once per sample. `sample_batch` calls the same model with a cache
allocated ahead, masks passed in, each distinct prompt prefilled once, and ended rows dropped. What is sampled is the same
distribution; tests compare it with `generate`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from selfdistill.attention import attention_masks, padded_prompt
from selfdistill.generation.protocol import Completion, Sampling
from selfdistill.models import load_model, load_tokenizer
from selfdistill.prompts import prompt_ids as tokenize_prompts

COMPACT_BELOW = 0.85  # drop ended rows once fewer than this share of the batch is still decoding


class Drawn(NamedTuple):
    """Completions as they were drawn: token ids, and the log-probability with which each token was."""

    token_ids: list[list[int]]
    log_probs: list[list[float]]


class PreallocatedLayer(DynamicLayer):
    """A cache layer that writes into a buffer of fixed capacity instead of concatenating at every token."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity, self.length = capacity, 0

    def update(self, key_states, value_states, *args, **kwargs):
        """Append keys and values, (batch, heads, tokens, head_dim); returns views of all cached ones."""
        tokens = key_states.shape[-2]
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            shape = (*key_states.shape[:-2], self.capacity, key_states.shape[-1])
            self._keys, self._values = key_states.new_empty(shape), value_states.new_empty(shape)
        end = self.length + tokens
        self._keys[..., self.length : end, :] = key_states
        self._values[..., self.length : end, :] = value_states
        self.length = end
        return self._keys[..., :end, :], self._values[..., :end, :]

    def get_seq_length(self) -> int:
        """Number of cached tokens."""
        return self.length

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keep (or repeat) the given batch rows."""
        self._keys, self._values = (self._rows_of(buffer, rows) for buffer in (self._keys, self._values))

    def _rows_of(self, buffer: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The given rows in a new buffer; only the filled part is copied."""
        kept = buffer.new_empty((len(rows), *buffer.shape[1:]))
        kept[..., : self.length, :] = buffer[rows, ..., : self.length, :]
        return kept


def _preallocated_cache(layers: int, capacity: int) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = [PreallocatedLayer(capacity) for _ in range(layers)]
    cache.layer_class_to_replicate = None
    return cache


def _filtered(logits: torch.Tensor, sampling: Sampling, banned: torch.Tensor | None) -> torch.Tensor:
    """Temperature, bans, top-k and top-p applied to logits (rows, vocabulary)."""
    if sampling.temperature != 1.0:
        logits = logits / sampling.temperature
    if banned is not None:
        logits[:, banned] = -torch.inf
    if 0 < sampling.top_k < logits.shape[-1]:
        floor = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if sampling.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        dropped = torch.zeros_like(before, dtype=torch.bool).scatter(1, order, before >= sampling.top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return logits


def _draw(probabilities: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token per row by inverting the cumulative distribution: one uniform number a row, whatever the vocabulary.

    In double precision, where uniform * total < total always holds, so that a token of probability zero is never drawn.
    """
    uniform = torch.rand(
        len(probabilities), 1, generator=generator, device=probabilities.device, dtype=torch.float64
    )
    cumulative = probabilities.double().cumsum(-1)
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).squeeze(1)


@torch.no_grad()
def sample_batch(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos_token_ids: Sequence[int],
    pad_token_id: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    banned_token_ids: Sequence[int] = (),
) -> Drawn:
    """Sample one completion per prompt; equal prompts standing side by side are prefilled once.

    prompts: token ids, any lengths. Returns the completion of each prompt, end-of-sequence token included if reached, at most
    max_new_tokens long. The random stream is `generator`'s alone (the global one is untouched).
    """
    sampling = Sampling(temperature, top_p, top_k, max_new_tokens)
    was_training = model.training
    model.eval()
    try:
        return _decode(model, prompts, sampling, eos_token_ids, pad_token_id, generator, banned_token_ids)
    finally:
        model.train(was_training)


def _prefill(model, prompts, capacity_after: int, pad_token_id: int):
    """Run the distinct prompts through the model. Returns last logits, cache, key validity and next positions, per prompt."""
    device = next(model.parameters()).device
    distinct: list[tuple[int, ...]] = []
    row_of = []
    for prompt in map(tuple, prompts):
        if not distinct or distinct[-1] != prompt:
            distinct.append(prompt)
        row_of.append(len(distinct) - 1)
    width = max(map(len, distinct))
    ids = torch.tensor([[pad_token_id] * (width - len(p)) + list(p) for p in distinct], device=device)
    lengths = torch.tensor([len(p) for p in distinct], device=device)
    valid = torch.arange(width, device=device)[None] >= width - lengths[:, None]
    allowed, positions = padded_prompt(valid)
    layers = model.config.get_text_config().num_hidden_layers
    cache = _preallocated_cache(layers, width + capacity_after)
    logits = model(
        input_ids=ids,
        attention_mask=attention_masks(model, allowed, positions, positions),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    rows = torch.tensor(row_of, device=device)
    for layer in cache.layers:
        layer.select_rows(rows)
    return logits[rows], cache, valid[rows], positions[rows], lengths[rows]


def _decode(model, prompts, sampling, eos_token_ids, pad_token_id, generator, banned_token_ids) -> Drawn:
    logits, cache, valid, key_positions, next_position = _prefill(
        model, prompts, sampling.max_new_tokens, pad_token_id
    )
    device, count = logits.device, len(prompts)
    eos = torch.tensor(list(eos_token_ids), device=device)
    banned = torch.tensor(list(banned_token_ids), device=device) if banned_token_ids else None
    out = torch.full((count, sampling.max_new_tokens), pad_token_id, device=device)
    chances = torch.ones(out.shape, device=device)
    length = torch.full((count,), sampling.max_new_tokens, device=device)
    active = torch.arange(count, device=device)
    going = torch.ones(count, dtype=torch.bool, device=device)
    for step in range(sampling.max_new_tokens):
        probabilities = _filtered(logits.float(), sampling, banned).softmax(-1)
        tokens = _draw(probabilities, generator)
        rows = active[going]
        out[rows, step] = tokens[going]
        chances[rows, step] = probabilities.gather(1, tokens[:, None]).squeeze(1)[going]
        ended = going & torch.isin(tokens, eos)
        length[active[ended]] = step + 1
        going &= ~ended
        alive = int(going.sum())
        if alive == 0 or step + 1 == sampling.max_new_tokens:
            break
        if alive < COMPACT_BELOW * len(active):
            keep = going.nonzero().squeeze(1)
            active, tokens, valid, next_position = (
                active[keep],
                tokens[keep],
                valid[keep],
                next_position[keep],
            )
            key_positions, going = key_positions[keep], going[keep]
            for layer in cache.layers:
                layer.select_rows(keep)
        valid = torch.cat([valid, torch.ones_like(valid[:, :1])], dim=1)
        key_positions = torch.cat([key_positions, next_position[:, None]], dim=1)
        logits = model(
            input_ids=tokens[:, None],
            attention_mask=attention_masks(
                model, valid[:, None, None], next_position[:, None], key_positions
            ),
            position_ids=next_position[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        next_position = next_position + 1
    return Drawn(
        *(
            [row[:n] for row, n in zip(values.tolist(), length.tolist(), strict=True)]
            for values in (out, chances.log())
        )
    )


class TransformersGenerator:
    """A model folder answering user turns (see `protocol.Generator`)."""

    def __init__(self, model, tokenizer, thinking: str, batch_rows: int = 256) -> None:
        self.model, self.tokenizer, self.thinking, self.batch_rows = model, tokenizer, thinking, batch_rows

    @classmethod
    def load(cls, folder, thinking: str, batch_rows: int = 256) -> "TransformersGenerator":
        """Load a Hugging Face folder in float32 on the CPU, in its own dtype on a GPU."""
        cuda = torch.cuda.is_available()
        model = load_model(folder, dtype="auto" if cuda else "float32").to("cuda" if cuda else "cpu").eval()
        return cls(model, load_tokenizer(folder), thinking, batch_rows)

    def banned_ids(self, words: Sequence[str]) -> list[int]:
        """Token ids of the words to ban; a word that the vocabulary lacks as one token is an error, not a silent miss."""
        ids = self.tokenizer.convert_tokens_to_ids(list(words))
        missing = [
            w for w, i in zip(words, ids, strict=True) if i is None or i == self.tokenizer.unk_token_id
        ]
        if missing:
            raise ValueError(f"words to ban that are no single token of this vocabulary: {missing}")
        return ids

    def generate(
        self, user_turns: list[str], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """`samples` completions a user turn, decoded in batches of at most `batch_rows` rows."""
        device = next(self.model.parameters()).device
        generator = torch.Generator(device=device).manual_seed(seed)
        rows = [
            ids for ids in tokenize_prompts(self.tokenizer, user_turns, self.thinking) for _ in range(samples)
        ]
        eos = self.tokenizer.eos_token_id
        completions: list[Completion] = []
        for start in range(0, len(rows), self.batch_rows):
            drawn = sample_batch(
                self.model,
                rows[start : start + self.batch_rows],
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                eos_token_ids=[eos],
                pad_token_id=self.tokenizer.pad_token_id,
                generator=generator,
                banned_token_ids=self.banned_ids(sampling.banned_words),
            ).token_ids
            texts = self.tokenizer.batch_decode(drawn, skip_special_tokens=True)
            completions += [
                Completion(tuple(ids), text, ids[-1] != eos) for ids, text in zip(drawn, texts, strict=True)
            ]
        return [completions[i : i + samples] for i in range(0, len(completions), samples)]
