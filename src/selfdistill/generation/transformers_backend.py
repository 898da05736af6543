"""Batched sampling with a transformers model: the backend of the mini study, and of every machine without vLLM.

`transformers.generate` spends most of a small model's time beside the model: it rebuilds masks, grows the cache by copying, keeps
decoding rows that have ended and prefills the same prompt once per sample. `sample_batch` calls the same model with a cache
that grows in steps, masks passed in, each distinct prompt prefilled once, and ended rows dropped. What is sampled is the same
distribution; tests compare it with `generate`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from selfdistill.fast_cpu.attention import attention_masks, padded_prompt
from selfdistill.fast_cpu.single_query import single_query_attention
from selfdistill.generation.protocol import Completion, Sampling
from selfdistill.models.loading import load_model, load_tokenizer
from selfdistill.models.prompts import prompt_ids as tokenize_prompts

COMPACT_BELOW = 0.85  # drop ended rows once fewer than this share of the batch is still decoding
GROW_BY = 16  # tokens for which the cache makes room when it grows, if not an eighth of its length


class Drawn(NamedTuple):
    """Completions as they were drawn: token ids, and the log-probability with which each token was."""

    token_ids: list[list[int]]
    log_probs: list[list[float]]


class GrowingLayer(DynamicLayer):
    """A cache layer that grows by several tokens at a time instead of being copied at every token.

    Room for all tokens to come would be simpler, but it leaves gaps between the rows: reading across them is several times slower.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def update(self, key_states, value_states, *args, **kwargs):
        """Append keys and values, (batch, heads, tokens, head_dim); returns views of all cached ones."""
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self._keys, self._values = key_states[..., :0, :], value_states[..., :0, :]
        end = self.length + key_states.shape[-2]
        if end > self._keys.shape[-2]:
            capacity = end + max(GROW_BY, end // 8)
            self._keys, self._values = (self._grown(b, capacity) for b in (self._keys, self._values))
        self._keys[..., self.length : end, :] = key_states
        self._values[..., self.length : end, :] = value_states
        self.length = end
        return self._keys[..., :end, :], self._values[..., :end, :]

    def _grown(self, buffer: torch.Tensor, capacity: int) -> torch.Tensor:
        """The filled part in a new buffer with room for `capacity` tokens."""
        grown = buffer.new_empty((*buffer.shape[:-2], capacity, buffer.shape[-1]))
        grown[..., : self.length, :] = buffer[..., : self.length, :]
        return grown

    def get_seq_length(self) -> int:
        """Number of cached tokens."""
        return self.length

    def repeat_rows(self, rows: torch.Tensor) -> None:
        """Take the given rows, repeated ones included."""
        self._keys, self._values = self._keys.index_select(0, rows), self._values.index_select(0, rows)

    def move_rows(self, source: torch.Tensor, target: torch.Tensor, count: int) -> None:
        """Copy the rows `source` to the places `target` and keep the first `count` rows; the others stay where they are."""
        for name in ("_keys", "_values"):
            filled = getattr(self, name)[..., : self.length, :]
            filled.index_copy_(0, target, filled.index_select(0, source))
            setattr(self, name, getattr(self, name)[:count])


def _growing_cache(layers: int) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = [GrowingLayer() for _ in range(layers)]
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


def _draw(probabilities: torch.Tensor, generator: torch.Generator, place: torch.Tensor) -> torch.Tensor:
    """One token per row by inverting the cumulative distribution: one uniform number a row, whatever the vocabulary.

    place: which of the numbers is which row's, so that the stream does not depend on the order of the rows.
    In double precision, where uniform * total < total always holds, so that a token of probability zero is never drawn.
    """
    uniform = torch.rand(
        len(probabilities), 1, generator=generator, device=probabilities.device, dtype=torch.float64
    )[place]
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
        with single_query_attention(model):
            return _decode(model, prompts, sampling, eos_token_ids, pad_token_id, generator, banned_token_ids)
    finally:
        model.train(was_training)


def _prefill(model, prompts, pad_token_id: int):
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
    cache = _growing_cache(layers)
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
        layer.repeat_rows(rows)
    return logits[rows], cache, valid[rows], positions[rows], lengths[rows]


def _decode(model, prompts, sampling, eos_token_ids, pad_token_id, generator, banned_token_ids) -> Drawn:
    logits, cache, valid, positions, lengths = _prefill(model, prompts, pad_token_id)
    device, count, width = logits.device, *valid.shape
    eos = torch.tensor(list(eos_token_ids), device=device)
    banned = torch.tensor(list(banned_token_ids), device=device) if banned_token_ids else None
    out = torch.full((count, sampling.max_new_tokens), pad_token_id, device=device)
    chances = torch.ones(out.shape, device=device)
    after = torch.arange(sampling.max_new_tokens, device=device)
    valid = torch.cat([valid, torch.ones_like(out, dtype=torch.bool)], dim=1)
    positions = torch.cat([positions, lengths[:, None] + after], dim=1)
    active = place = torch.arange(count, device=device)
    going = torch.ones(count, dtype=torch.bool, device=device)
    for step in range(sampling.max_new_tokens):
        probabilities = _filtered(logits.float(), sampling, banned).softmax(-1)
        tokens = _draw(probabilities, generator, place)
        out[active, step] = tokens  # what follows an end is cut off below
        chances[active, step] = probabilities.gather(1, tokens[:, None]).squeeze(1)
        going &= ~torch.isin(tokens, eos)
        alive = int(going.sum())
        if alive == 0 or step + 1 == sampling.max_new_tokens:
            break
        if alive < COMPACT_BELOW * len(active):  # the last rows going move to the places of ended ones
            source = going[alive:].nonzero().squeeze(1) + alive
            target = (~going[:alive]).nonzero().squeeze(1)
            rows = torch.arange(alive, device=device).index_copy_(0, target, source)
            active, tokens, valid, positions = active[rows], tokens[rows], valid[rows], positions[rows]
            place, going = active.argsort().argsort(), going[rows]
            for layer in cache.layers:
                layer.move_rows(source, target, alive)
        end = width + step + 1
        own = positions[:, end - 1 : end]
        logits = model(
            input_ids=tokens[:, None],
            attention_mask=attention_masks(model, valid[:, None, None, :end], own, positions[:, :end]),
            position_ids=own,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    ended = torch.isin(out, eos)
    length = torch.where(ended.any(1), ended.int().argmax(1) + 1, sampling.max_new_tokens)
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
