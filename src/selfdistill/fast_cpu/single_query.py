"""Attention of one new token per row over the cache, for decoding on a CPU.

PyTorch's kernel makes two tiny products for each row and head there; two batched products take a fraction of its time.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from selfdistill.fast_cpu import serves

NAME = "selfdistill_single_query"


def attend(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    """Be transformers' attention function: query (rows, heads, tokens, head_dim), boolean mask (rows, 1, tokens, keys)."""
    rows, heads, tokens, dim = query.shape
    if tokens > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    query = query.view(rows, key.shape[1], -1, dim) * scaling  # heads that share keys and values side by side
    scores = torch.where(attention_mask, query @ key.transpose(2, 3), -torch.inf)
    return (scores.softmax(-1) @ value).view(rows, 1, heads, dim), None


AttentionInterface.register(NAME, attend)


@contextmanager
def single_query_attention(model: torch.nn.Module) -> Iterator[None]:
    """Put `attend` in place of sdpa or eager attention in float32; a model that the room does not serve keeps its own."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    fits = before in ("sdpa", "eager") and model.dtype == torch.float32
    if fits and serves(model) and model._can_set_attn_implementation():
        config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
