"""Attention of one new token per row over the cache, for decoding on a CPU.

PyTorch's kernel computes two tiny products per row and head; two batched products take a fraction of its time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from selfdistill.fast_cpu import serves

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "selfdistill_single_query"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (outputs (rows, tokens, heads, head_dim), None), as transformers' attention functions do.

    query: (rows, heads, tokens, head_dim); key, value: (rows, key heads, keys, head_dim); attention_mask: (rows, 1, tokens,
    keys), bool.
    """
    rows, heads, tokens, dim = query.shape
    if tokens > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    query = query.view(rows, key.shape[1], -1, dim) * scaling  # the query heads of a key head side by side
    scores = torch.where(attention_mask, query @ key.transpose(2, 3), -torch.inf)
    return (scores.softmax(-1) @ value).view(rows, 1, heads, dim), None


AttentionInterface.register(NAME, attend)


@contextmanager
def single_query_attention(model: "PreTrainedModel") -> Iterator[None]:
    """Inside the block, use `attend` for sdpa or eager attention in float32, if the faster paths apply to `model`."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    fits = before in ("sdpa", "eager") and model.dtype == torch.float32
    if fits and serves(model) and model._can_set_attn_implementation():
        config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
