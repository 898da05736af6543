"""Log-probabilities of tokens from hidden states and an output head, within a byte budget."""

from typing import NamedTuple

import torch
from torch.nn import functional as F
from trl.kernels import ChunkedLogProbFunction
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE

CHUNK_BYTES = 256 * 2**20
# (tokens, vocabulary) tensors that exist at once, in units of float32 tensors (measured, rounded up)
LOG_PROB_COPIES = 4


class Head(NamedTuple):
    """An output head: weight (vocabulary, hidden) and bias (vocabulary,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Return `values` in float32, or unchanged if they are float64."""
    return values if values.dtype == torch.float64 else values.float()


def token_log_probs(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each token, in the shape of token_ids; logits: (..., vocabulary).

    TRL's `selective_log_softmax` loops over rows in Python (here: over tokens) and fails if there are none.
    """
    return logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def project(hidden: torch.Tensor, head: Head, temperature: float) -> torch.Tensor:
    """Return the logits of a chunk, (tokens, vocabulary), computed in the head's dtype and then cast to float32 or wider."""
    logits = at_least_float32(F.linear(hidden, head.weight, head.bias))
    return logits if temperature == 1.0 else logits.div_(temperature)


def chunked_log_probs(
    hidden: torch.Tensor, head: Head, token_ids: torch.Tensor, temperature: float, budget: int | None = None
) -> torch.Tensor:
    """Return the log-probability of each token, (tokens,), in float32, with gradient.

    From the logits if they fit the byte budget, else by TRL's kernel with tiles that do.
    """
    rows, width = _tile(hidden, head, budget)
    if len(token_ids) <= rows and width == head.weight.shape[0]:
        return token_log_probs(project(hidden, head, temperature), token_ids)
    return _by_tiles(hidden, head, token_ids, temperature, width, ("log_probs",))[0]


def chunked_statistics(
    hidden: torch.Tensor, head: Head, token_ids: torch.Tensor, temperature: float, budget: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (log-probability with gradient, entropy in nats) per token, both (tokens,) in float32.

    Computed by TRL's kernel within the byte budget; the entropy is that of the distribution of the token.
    """
    width = _tile(hidden, head, budget)[1]
    return _by_tiles(hidden, head, token_ids, temperature, width, ("log_probs", "entropy"))[:2]


def _tile(hidden: torch.Tensor, head: Head, budget: int | None) -> tuple[int, int]:
    """Return (tokens, vocabulary entries) that are projected together."""
    rows = max(min(len(hidden), TOKEN_CHUNK_SIZE), 1)
    width = (budget or CHUNK_BYTES) // (rows * 4 * LOG_PROB_COPIES)
    return rows, min(max(width, 1), head.weight.shape[0])


def _by_tiles(
    hidden: torch.Tensor,
    head: Head,
    token_ids: torch.Tensor,
    temperature: float,
    width: int,
    outputs: tuple[str, ...],
) -> tuple[torch.Tensor, ...]:
    """Return the results of TRL's kernel; width: vocabulary entries per tile; outputs: what it computes."""
    return ChunkedLogProbFunction.apply(
        hidden, *head, token_ids, temperature, width, None, 1.0, outputs
    )  # fmt: skip
