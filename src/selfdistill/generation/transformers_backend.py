"""Batched sampling with a transformers model: the backend of the mini study, and of every machine without vLLM.

`transformers.generate` keeps decoding rows that have ended and prefills a prompt once per sample. `sample_batch` prefills each
distinct prompt once and drops ended rows; on a CPU it uses the cache, masks and attention of `fast_cpu`. Both sample from the
same distribution; tests compare them.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from selfdistill.fast_cpu.single_query import single_query_attention
from selfdistill.generation.decoder import Decoder
from selfdistill.generation.interventions import NO_INTERVENTION, Intervention, intervention_of
from selfdistill.generation.protocol import Completion, Sampling
from selfdistill.models.finite import NotFinite
from selfdistill.models.loading import load_model, load_tokenizer
from selfdistill.models.prompts import prompt_ids as tokenize_prompts
from selfdistill.models.response_end import end_token_ids, response_room

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

COMPACT_BELOW = 0.85  # ended rows are dropped once fewer than this share of the batch is still decoding
ROWS = 512  # decoded together: 256 take 1.2 times as long (docs/lab-log.md, 2026-11-28)


class Drawn(NamedTuple):
    """Sampled completions: token ids, and the log-probability with which each token was drawn (not the one that replaced it)."""

    token_ids: list[list[int]]
    log_probs: list[list[float]]


def _filtered(logits: torch.Tensor, sampling: Sampling, banned: torch.Tensor | None) -> torch.Tensor:
    """Return logits, (rows, vocabulary), after temperature, bans (token ids), top-k and top-p."""
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
    intervention: Intervention = NO_INTERVENTION,
) -> Drawn:
    """Return one sampled completion per prompt; neighbouring equal prompts are prefilled once.

    prompts: token ids of any lengths. A completion includes its end-of-sequence token, if one was drawn, and has at most
    `response_room` tokens. Only `generator` is used; the global random state does not change.
    """
    sampling = Sampling(temperature, top_p, top_k, max_new_tokens)
    models = [one for one in (model, intervention.reference) if one is not None]
    was_training = model.training
    model.eval()
    try:
        with ExitStack() as stack:
            for one in models:
                stack.enter_context(single_query_attention(one))
            decoders = [Decoder(one, prompts, max_new_tokens, pad_token_id) for one in models]
            batch = _Batch(decoders, prompts, max_new_tokens, eos_token_ids, pad_token_id)
            return batch.decode(sampling, generator, intervention)
    finally:
        model.train(was_training)


class _Batch:
    """Rows being decoded.

    decoders: the model, and the reference of the intervention if it has one.
    Of all rows, in the order of the prompts: room (largest lengths), out (token ids drawn), chances (their probabilities).
    Of active rows, (active,): active (their indices among all rows), place (their ranks by index, i.e. which random number they
    use) and going (whether they have not ended). Ended rows stay active until `decode` drops them.
    """

    def __init__(
        self,
        decoders: Sequence[Decoder],
        prompts: Sequence[Sequence[int]],
        new: int,
        ends: Sequence[int],
        pad_token_id: int,
    ) -> None:
        self.decoders, self.device = decoders, decoders[0].device
        count, config = len(prompts), decoders[0].model.config.get_text_config()
        positions = config.max_position_embeddings
        self.room = [response_room(len(prompt), new, positions) for prompt in prompts]
        self.ends = torch.tensor(list(ends), device=self.device)
        self.out = torch.full((count, new), pad_token_id, device=self.device)
        self.chances = torch.ones(self.out.shape, device=self.device)
        self.active = self.place = torch.arange(count, device=self.device)
        self.going = torch.ones(count, dtype=torch.bool, device=self.device)

    def decode(self, sampling: Sampling, generator: torch.Generator, intervention: Intervention) -> Drawn:
        """Return what is drawn until every row has ended or has max_new_tokens."""
        intervention = intervention.on(self.device)
        for step in range(sampling.max_new_tokens):
            probabilities = self._probabilities(sampling, intervention)
            tokens = _draw(probabilities, generator, self.place)
            self.chances[self.active, step] = probabilities.gather(1, tokens[:, None]).squeeze(1)
            tokens = intervention.after(tokens)
            self.out[self.active, step] = tokens  # `drawn` cuts off what follows an end
            self.going &= ~torch.isin(tokens, self.ends)
            alive = int(self.going.sum())
            if alive == 0 or step + 1 == sampling.max_new_tokens:
                break
            # dropping rows moves the cache, so wait until enough of them have ended
            if alive < COMPACT_BELOW * len(self.active):
                tokens = tokens[self._drop_ended(alive)]
            for decoder in self.decoders:
                decoder.forward(tokens, step + 1)
        return self.drawn()

    def _probabilities(self, sampling: Sampling, intervention: Intervention) -> torch.Tensor:
        """Return what the next tokens of the active rows are drawn from, (active, vocabulary)."""
        own, *reference = (
            _filtered(decoder.logits.float(), sampling, intervention.banned).softmax(-1)
            for decoder in self.decoders
        )
        return intervention.before(own, *(reference or [None]))

    def _drop_ended(self, alive: int) -> torch.Tensor:
        """Keep the `alive` rows that are going; return the old index of each kept row, (alive,).

        Going rows at the end take the places of ended rows at the front, so that the other rows of the cache need no copy.
        """
        source = self.going[alive:].nonzero().squeeze(1) + alive  # going rows beyond the first `alive`
        target = (~self.going[:alive]).nonzero().squeeze(1)  # ended rows among the first `alive`
        rows = torch.arange(alive, device=self.device).index_copy_(0, target, source)
        self.active = self.active[rows]
        # argsort twice gives ranks: the n-th of the remaining rows uses the n-th random number
        self.place, self.going = self.active.argsort().argsort(), self.going[rows]
        for decoder in self.decoders:
            decoder.keep(rows)
        return rows

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

    thinking: switch of the chat template; batch_rows: largest number of rows decoded together; base: model before training, for
    the intervention `force`.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        thinking: str,
        batch_rows: int = ROWS,
        base: "PreTrainedModel | None" = None,
    ) -> None:
        self.model, self.tokenizer, self.thinking, self.batch_rows = model, tokenizer, thinking, batch_rows
        self.base = base
        self.end_token_ids = end_token_ids(model.generation_config, tokenizer)

    @classmethod
    def load(
        cls, folder: str | Path, thinking: str, batch_rows: int = ROWS, base: str | Path | None = None
    ) -> "TransformersGenerator":
        """Return a generator for a Hugging Face folder: on a GPU in the folder's dtype, on a CPU in float32."""
        cuda = torch.cuda.is_available()
        model, reference = (
            load_model(one, dtype="auto" if cuda else "float32").to("cuda" if cuda else "cpu").eval()
            if one is not None
            else None
            for one in (folder, base)
        )
        return cls(model, load_tokenizer(folder), thinking, batch_rows, reference)

    def generate(
        self, user_turns: list[str], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Return `samples` completions per user turn, decoded in batches of at most `batch_rows` rows."""
        device = next(self.model.parameters()).device
        generator = torch.Generator(device=device).manual_seed(seed)
        intervention = intervention_of(sampling, self.tokenizer, self.base)
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
                intervention=intervention,
            ).token_ids
            texts = self.tokenizer.batch_decode(drawn, skip_special_tokens=True)
            completions += [
                Completion(tuple(ids), text, ids[-1] not in self.end_token_ids)
                for ids, text in zip(drawn, texts, strict=True)
            ]
        return [completions[i : i + samples] for i in range(0, len(completions), samples)]
