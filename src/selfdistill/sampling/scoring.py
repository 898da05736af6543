"""Log-probabilities of given responses under given prompts (teacher forcing), in batches of rows of like length."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

BATCH_TOKENS = 2**14
LOGIT_BYTES = 2**31
"""Largest number of tokens of a batch, and of bytes of its logits in float32; a longer row is a batch of its own."""
CHUNK_TOKENS = 512
"""Tokens whose logits are cast to float64 at once: sums over a response would add up the rounding of float32."""


@torch.no_grad()
def response_log_probs(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    ends: Sequence[int] = (),
) -> list[np.ndarray]:
    """Return the log-probability (nats, temperature 1) of every token of each response after its prompt, (tokens,) each, float64.

    prompts, responses: token ids, as many of both; no prompt is empty. ends: the tokens that end a response; where one stands, the
    probability is that of ending, the sum over all of them.
    """
    lengths = np.array([len(p) + len(r) for p, r in zip(prompts, responses, strict=True)], dtype=np.int64)
    limit = min(BATCH_TOKENS, LOGIT_BYTES // (4 * model.config.get_text_config().vocab_size))

    def log_probs(rows: np.ndarray) -> np.ndarray:
        """Return those of a batch of rows, one after the other."""
        own = [responses[row] for row in rows]
        return _batch_log_probs(model, [prompts[row] for row in rows], own, ends)

    return by_response(lengths, responses, limit, log_probs)


def by_response(
    lengths: np.ndarray,
    responses: Sequence[Sequence[int]],
    tokens: int,
    values: Callable[[np.ndarray], np.ndarray],
) -> list[np.ndarray]:
    """Return the values of every response, (tokens, ...) each, computed in `batches` of rows of these lengths.

    values: returns those of the tokens of some rows, one row after the other, (all tokens, ...).
    """
    found: list[np.ndarray] = [np.empty(0)] * len(lengths)
    for rows in batches(lengths, tokens):
        borders = np.cumsum([len(responses[row]) for row in rows])[:-1]
        for row, own in zip(rows, np.split(values(rows), borders), strict=True):
            found[row] = own
    return found


def fitting(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[int]:
    """Return the rows (prompt and response) that do not exceed the model's positions; the others are logged."""
    limit = model.config.get_text_config().max_position_embeddings
    lengths = [len(prompt) + len(own) for prompt, own in zip(prompts, responses, strict=True)]
    kept = [row for row, length in enumerate(lengths) if length <= limit]
    if len(kept) < len(lengths):
        logger.warning(
            "left out: %d of %d rows exceed %d positions", len(lengths) - len(kept), len(lengths), limit
        )
    return kept


def batches(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, shortest rows first; rows times largest length is at most `tokens`, or it is one row."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > tokens:
            yield order[start:end]
            start = end


def _batch_log_probs(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    end_tokens: Sequence[int],
) -> np.ndarray:
    """Return the log-probabilities of the tokens of all responses, one row after the other, (all tokens,)."""
    logits, targets = response_logits(model, prompts, responses)
    parts = [
        _log_probs(part.double(), own, end_tokens)
        for part, own in zip(logits.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True)
    ]
    return torch.cat(parts).cpu().numpy()


def response_logits(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (logits (all tokens, vocabulary) that predict the tokens of the responses, token ids (all tokens,)), one batch of rows."""
    device = next(model.parameters()).device
    rows = [torch.tensor([*prompt, *response]) for prompt, response in zip(prompts, responses, strict=True)]
    # padding is on the right, where no token sees it, so attention needs no mask
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    starts = torch.tensor([len(prompt) for prompt in prompts], device=device)[:, None]
    ends = torch.tensor([len(row) for row in rows], device=device)[:, None]
    first, width = int(starts.min()), ids.shape[1]
    columns = torch.arange(first, width, device=device)
    logits = model(input_ids=ids, logits_to_keep=columns - 1, use_cache=False).logits
    chosen = (columns >= starts) & (columns < ends)
    return logits[chosen], ids[:, first:][chosen]


def _log_probs(logits: torch.Tensor, tokens: torch.Tensor, ends: Sequence[int]) -> torch.Tensor:
    """Return the log-probabilities of tokens, (tokens,), from logits, (tokens, vocabulary); an end token stands for all of them."""
    given = logits.gather(1, tokens[:, None]).squeeze(1)
    if ends:
        every = torch.tensor(list(ends), device=tokens.device)
        given = torch.where(torch.isin(tokens, every), logits[:, every].logsumexp(-1), given)
    return given - logits.logsumexp(-1)
