"""From hidden states to log-probabilities of tokens through an output head, held to a budget of bytes."""

from typing import NamedTuple

import torch
from torch.nn import functional as F
from trl.kernels import ChunkedLogProbFunction
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE

CHUNK_BYTES = 256 * 2**20
# (tokens, vocabulary) tensors that are alive at once, in units of float32: measured, rounded up
LOG_PROB_COPIES = 4


class Head(NamedTuple):
    """An output head: weight (vocabulary, hidden) and bias (vocabulary,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """`values` in float32, or in float64 if that is what they are."""
    return values if values.dtype == torch.float64 else values.float()


def token_log_probs(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Log-probability of each token, the shape of token_ids; logits (..., vocabulary).

    TRL's `selective_log_softmax` loops over the rows in Python, here over the tokens, and fails without any.
    """
    return logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def project(hidden: torch.Tensor, head: Head, temperature: float) -> torch.Tensor:
    """Logits of a chunk, (tokens, vocabulary), rounded as the model's own head does and then widened."""
    logits = at_least_float32(F.linear(hidden, head.weight, head.bias))
    return logits if temperature == 1.0 else logits.div_(temperature)


def chunked_log_probs(
    hidden: torch.Tensor, head: Head, token_ids: torch.Tensor, temperature: float, budget: int | None = None
) -> torch.Tensor:
    """Log-probability of each token, (tokens,) in float32, with gradient. Within the byte budget from
    the logits, else by TRL's kernel, which the width of its tiles holds to the budget.
    """
    rows, width = _tile(hidden, head, budget)
    if len(token_ids) <= rows and width == head.weight.shape[0]:
        return token_log_probs(project(hidden, head, temperature), token_ids)
    return _by_tiles(hidden, head, token_ids, temperature, width, ("log_probs",))[0]


def chunked_statistics(
    hidden: torch.Tensor, head: Head, token_ids: torch.Tensor, temperature: float, budget: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probability with gradient, entropy in nats of the distribution it is drawn from) of each token, (tokens,) each, in
    float32, by TRL's kernel within the byte budget.
    """
    width = _tile(hidden, head, budget)[1]
    return _by_tiles(hidden, head, token_ids, temperature, width, ("log_probs", "entropy"))[:2]


def _tile(hidden: torch.Tensor, head: Head, budget: int | None) -> tuple[int, int]:
    """Tokens and vocabulary entries that are projected together."""
    rows = max(min(len(hidden), TOKEN_CHUNK_SIZE), 1)
    width = (budget or CHUNK_BYTES) // (rows * 4 * LOG_PROB_COPIES)
    return rows, min(max(width, 1), head.weight.shape[0])


def _by_tiles(hidden, head: Head, token_ids, temperature: float, width: int, outputs: tuple[str, ...]):
    return ChunkedLogProbFunction.apply(
        hidden, *head, token_ids, temperature, width, None, 1.0, outputs
    )  # fmt: skip
