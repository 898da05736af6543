"""Explicit attention masks, for forward passes whose keys come partly from a cache.

The plain twin is the mask of valid tokens, from which transformers builds the attention mask in every pass.
"""

from typing import TYPE_CHECKING

import torch

from selfdistill.fast_cpu import serves

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Masks = dict[str, torch.Tensor] | torch.Tensor


def attention_masks(
    model: "PreTrainedModel",
    allowed: torch.Tensor,
    query_positions: torch.Tensor,
    key_positions: torch.Tensor,
) -> Masks:
    """Return one mask per attention type of the model; a model with one type (Llama) gets the mask itself.

    allowed: (rows or 1, 1, queries, keys), which keys a query may see in a layer with full attention; positions: (rows,
    queries) and (rows, keys), counted without padding. Layers with sliding attention also hide keys outside their window.
    The masks are boolean; eager attention gets numbers that it adds to the scores.
    """
    config = model.config.get_text_config()
    types = getattr(config, "layer_types", None)

    def as_needed(mask: torch.Tensor) -> torch.Tensor:
        """Return the mask as the model's attention function expects it."""
        if config._attn_implementation != "eager":
            return mask
        lowest = torch.finfo(model.dtype).min
        return torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill(~mask, lowest)

    if not types:
        return as_needed(allowed)
    masks = {"full_attention": as_needed(allowed)}
    if "sliding_attention" in types:
        near = query_positions[:, None, :, None] - key_positions[:, None, None, :] < config.sliding_window
        masks["sliding_attention"] = as_needed(allowed & near)
    return masks


def positions_of(valid: torch.Tensor) -> torch.Tensor:
    """Return the positions, (rows, tokens), of left-padded tokens; valid: (rows, tokens), bool."""
    return (valid.long().cumsum(-1) - 1).clamp(min=0)


def padded_prompt(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (allowed keys (rows, 1, tokens, tokens), positions (rows, tokens)) of left-padded prompts.

    mask: (rows, tokens), 1 or True for tokens that are not padding. A padding query attends to itself, because the softmax
    over no keys is NaN.
    """
    valid, width = mask.bool(), mask.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=mask.device).tril()
    itself = torch.eye(width, dtype=torch.bool, device=mask.device)
    return (causal & valid[:, None, :] | itself)[:, None], positions_of(valid)


def prompt_masks(model: "PreTrainedModel", valid: torch.Tensor) -> Masks:
    """Return the `attention_mask` of left-padded prompts; valid: (rows, tokens), bool."""
    if not serves(model):
        return valid
    allowed, positions = padded_prompt(valid)
    return attention_masks(model, allowed, positions, positions)


def last_token_masks(model: "PreTrainedModel", valid: torch.Tensor, positions: torch.Tensor) -> Masks:
    """Return the `attention_mask` of each row's last token; all tokens before it are cached.

    valid, positions: (rows, tokens), bool and int, with the last token.
    """
    if not serves(model):
        return valid
    return attention_masks(model, valid[:, None, None, :], positions[:, -1:], positions)
