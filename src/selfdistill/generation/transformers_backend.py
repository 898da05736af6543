"""Batched sampling with a transformers model: the backend of the mini study, and of every machine without vLLM.

`transformers.generate` keeps decoding rows that have ended and prefills a prompt once per sample. `sample_batch` prefills each
distinct prompt once and drops ended rows; on a CPU it uses the cache, masks and attention of `fast_cpu`. Both sample from the
same distribution; tests compare them.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from selfdistill.fast_cpu.attention import Masks, last_token_masks, positions_of, prompt_masks
from selfdistill.fast_cpu.growing_cache import decoding_cache
from selfdistill.fast_cpu.single_query import single_query_attention
from selfdistill.generation.protocol import Completion, Sampling
from selfdistill.models.finite import NotFinite
from selfdistill.models.loading import load_model, load_tokenizer
from selfdistill.models.prompts import prompt_ids as tokenize_prompts
from selfdistill.models.response_end import end_token_ids, response_room

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

COMPACT_BELOW = 0.85  # ended rows are dropped once fewer than this share of the batch is still decoding


class Drawn(NamedTuple):
    """Sampled completions: token ids, and the log-probability with which each token was drawn."""

    token_ids: list[list[int]]
    log_probs: list[list[float]]


def _filtered(logits: torch.Tensor, sampling: Sampling, banned: torch.Tensor | None) -> torch.Tensor:
    """Return logits, (rows, vocabulary), after temperature, bans, top-k and top-p."""
    if sampling.temperature != 1.0:
        logits = logits / sampling.temperature
    if banned is not None:
        logits[:, banned] = -torch.inf
    if 0 < sampling.top_k < logits.shape[-1]:
        floor = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if sampling.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        # a token stays if the more likely ones hold less than top_p together, so the first always stays
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        dropped = torch.zeros_like(before, dtype=torch.bool).scatter(1, order, before >= sampling.top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return logits


def _draw(probabilities: torch.Tensor, generator: torch.Generator, place: torch.Tensor) -> torch.Tensor:
    """Return one token per row, (rows,), from one uniform number per row by inverting the cumulative distribution.

    probabilities: (rows, vocabulary); place: (rows,), the index of each row's number, so that the random stream does not depend
    on the order of rows. Double precision guarantees uniform * total < total: a token of probability zero is never drawn. Raise
    NotFinite if a row is not finite.
    """
    uniform = torch.rand(
        len(probabilities), 1, generator=generator, device=probabilities.device, dtype=torch.float64
    )[place]
    cumulative = probabilities.double().cumsum(-1)
    if not cumulative[:, -1].isfinite().all():
        raise NotFinite("the logits are not finite")
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).squeeze(1)


@torch.no_grad()
def sample_batch(
    model: "PreTrainedModel",
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
    """Return one sampled completion per prompt; neighbouring equal prompts are prefilled once.

    prompts: token ids of any lengths. A completion includes its end-of-sequence token, if one was drawn, and has at most
    `response_room` tokens. Only `generator` is used; the global random state does not change.
    """
    sampling = Sampling(temperature, top_p, top_k, max_new_tokens)
    was_training = model.training
    model.eval()
    try:
        with single_query_attention(model):
            batch = _Batch(model, prompts, max_new_tokens, eos_token_ids, pad_token_id)
            return batch.decode(sampling, generator, banned_token_ids)
    finally:
        model.train(was_training)


class _Batch:
    """Rows being decoded.

    Of all rows, in the order of the prompts: room (largest lengths), out (token ids drawn), chances (their probabilities).
    Of active rows, (active,): active (their indices among all rows), place (their ranks by index, i.e. which random number they
    use), going (whether they have not ended), and valid, positions and logits of their tokens. Ended rows stay active until
    `decode` drops them.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        prompts: Sequence[Sequence[int]],
        new: int,
        ends: Sequence[int],
        pad_token_id: int,
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        count, positions = len(prompts), model.config.get_text_config().max_position_embeddings
        self.room = [response_room(len(prompt), new, positions) for prompt in prompts]
        self.ends = torch.tensor(list(ends), device=self.device)
        self.out = torch.full((count, new), pad_token_id, device=self.device)
        self.chances = torch.ones(self.out.shape, device=self.device)
        self.active = self.place = torch.arange(count, device=self.device)
        self.going = torch.ones(count, dtype=torch.bool, device=self.device)
        self._prefill(prompts, pad_token_id)

    def _prefill(self, prompts: Sequence[Sequence[int]], pad_token_id: int) -> None:
        """Run the distinct prompts, left-padded, and give each row its prompt's logits and cache."""
        runs = [(prompt, len(list(rows))) for prompt, rows in groupby(map(tuple, prompts))]
        self.width = max(len(prompt) for prompt, _ in runs)
        padded = [[pad_token_id] * (self.width - len(prompt)) + list(prompt) for prompt, _ in runs]
        lengths = torch.tensor([len(prompt) for prompt, _ in runs], device=self.device)
        valid = torch.arange(self.width, device=self.device)[None] >= self.width - lengths[:, None]
        positions, self.cache = positions_of(valid), decoding_cache(self.model)
        logits = self._logits(
            torch.tensor(padded, device=self.device), prompt_masks(self.model, valid), positions
        )
        counts = torch.tensor([count for _, count in runs], device=self.device)
        rows = torch.arange(len(runs), device=self.device).repeat_interleave(counts)
        self.cache.batch_select_indices(rows)
        # mask and positions for the longest completion: each decoding step reads a prefix of them
        after = torch.arange(self.out.shape[1], device=self.device)
        self.logits = logits[rows]
        self.valid = torch.cat([valid[rows], torch.ones_like(self.out, dtype=torch.bool)], dim=1)
        self.positions = torch.cat([positions[rows], lengths[rows][:, None] + after], dim=1)

    def decode(
        self, sampling: Sampling, generator: torch.Generator, banned_token_ids: Sequence[int]
    ) -> Drawn:
        """Return what is drawn until every row has ended or has max_new_tokens."""
        banned = torch.tensor(list(banned_token_ids), device=self.device) if banned_token_ids else None
        for step in range(sampling.max_new_tokens):
            probabilities = _filtered(self.logits.float(), sampling, banned).softmax(-1)
            tokens = _draw(probabilities, generator, self.place)
            self.out[self.active, step] = tokens  # `drawn` cuts off what follows an end
            self.chances[self.active, step] = probabilities.gather(1, tokens[:, None]).squeeze(1)
            self.going &= ~torch.isin(tokens, self.ends)
            alive = int(self.going.sum())
            if alive == 0 or step + 1 == sampling.max_new_tokens:
                break
            # dropping rows moves the cache, so wait until enough of them have ended
            if alive < COMPACT_BELOW * len(self.active):
                tokens = tokens[self._drop_ended(alive)]
            self._forward(tokens, self.width + step + 1)
        return self.drawn()

    def _drop_ended(self, alive: int) -> torch.Tensor:
        """Keep the `alive` rows that are going; return the old index of each kept row, (alive,).

        Going rows at the end take the places of ended rows at the front, so that the other rows of the cache need no copy.
        """
        source = self.going[alive:].nonzero().squeeze(1) + alive  # going rows beyond the first `alive`
        target = (~self.going[:alive]).nonzero().squeeze(1)  # ended rows among the first `alive`
        rows = torch.arange(alive, device=self.device).index_copy_(0, target, source)
        self.active, self.valid, self.positions = self.active[rows], self.valid[rows], self.positions[rows]
        # argsort twice gives ranks: the n-th of the remaining rows uses the n-th random number
        self.place, self.going = self.active.argsort().argsort(), self.going[rows]
        self.cache.batch_select_indices(rows)
        return rows

    def _forward(self, tokens: torch.Tensor, end: int) -> None:
        """Run one new token per active row, (active,); `end`: columns with it, padding included."""
        valid, positions = self.valid[:, :end], self.positions[:, :end]
        masks = last_token_masks(self.model, valid, positions)
        self.logits = self._logits(tokens[:, None], masks, positions[:, -1:])

    def _logits(self, ids: torch.Tensor, masks: Masks, positions: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary), after the tokens `ids`, (rows, tokens), and cache these."""
        return self.model(
            input_ids=ids,
            attention_mask=masks,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def drawn(self) -> Drawn:
        """Return what was drawn, each row up to its end-of-sequence token or its largest length."""
        ended = torch.isin(self.out, self.ends)
        to_end = torch.where(ended.any(1), ended.int().argmax(1) + 1, self.out.shape[1]).tolist()
        lengths = [min(pair) for pair in zip(to_end, self.room, strict=True)]
        return Drawn(
            *(
                [row[:length] for row, length in zip(values.tolist(), lengths, strict=True)]
                for values in (self.out, self.chances.log())
            )
        )


class TransformersGenerator:
    """A `protocol.Generator` from a transformers model.

    thinking: switch of the chat template; batch_rows: largest number of rows decoded together.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        thinking: str,
        batch_rows: int = 256,
    ) -> None:
        self.model, self.tokenizer, self.thinking, self.batch_rows = model, tokenizer, thinking, batch_rows
        self.end_token_ids = end_token_ids(model.generation_config, tokenizer)

    @classmethod
    def load(cls, folder: str | Path, thinking: str, batch_rows: int = 256) -> "TransformersGenerator":
        """Return a generator for a Hugging Face folder: on a GPU in the folder's dtype, on a CPU in float32."""
        cuda = torch.cuda.is_available()
        model = load_model(folder, dtype="auto" if cuda else "float32").to("cuda" if cuda else "cpu").eval()
        return cls(model, load_tokenizer(folder), thinking, batch_rows)

    def banned_ids(self, words: Sequence[str]) -> list[int]:
        """Return the token ids of `words`. Raise ValueError if a word is not a single token of the vocabulary."""
        ids = self.tokenizer.convert_tokens_to_ids(list(words))
        missing = [
            w for w, i in zip(words, ids, strict=True) if i is None or i == self.tokenizer.unk_token_id
        ]
        if missing:
            raise ValueError(
                f"banned words must be single tokens of the vocabulary; these are not: {', '.join(missing)}"
            )
        return ids

    def generate(
        self, user_turns: list[str], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Return `samples` completions per user turn, decoded in batches of at most `batch_rows` rows."""
        device = next(self.model.parameters()).device
        generator = torch.Generator(device=device).manual_seed(seed)
        rows = [
            ids for ids in tokenize_prompts(self.tokenizer, user_turns, self.thinking) for _ in range(samples)
        ]
        completions: list[Completion] = []
        for start in range(0, len(rows), self.batch_rows):
            drawn = sample_batch(
                self.model,
                rows[start : start + self.batch_rows],
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                eos_token_ids=self.end_token_ids,
                pad_token_id=self.tokenizer.pad_token_id,
                generator=generator,
                banned_token_ids=self.banned_ids(sampling.banned_words),
            ).token_ids
            texts = self.tokenizer.batch_decode(drawn, skip_special_tokens=True)
            completions += [
                Completion(tuple(ids), text, ids[-1] not in self.end_token_ids)
                for ids, text in zip(drawn, texts, strict=True)
            ]
        return [completions[i : i + samples] for i in range(0, len(completions), samples)]
