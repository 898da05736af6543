"""Attention masks written out, for forward passes whose keys come partly from a cache.

transformers makes them anew in each pass from a mask of the valid tokens; its plain twin is that mask.
"""

import torch

from selfdistill.fast_cpu import serves

Masks = dict[str, torch.Tensor] | torch.Tensor


def attention_masks(
    model: torch.nn.Module, allowed: torch.Tensor, query_positions: torch.Tensor, key_positions: torch.Tensor
) -> Masks:
    """Return one mask per attention type of the model; sliding layers also forget keys beyond their window. Boolean, but for
    eager attention, which adds its mask to the scores.

    allowed: (rows or 1, 1, queries, keys), which keys a query may see in a full layer; positions: (rows, queries) and
    (rows, keys), counted without padding. A model that knows one type only (Llama's) takes its mask bare.
    """
    config = model.config.get_text_config()
    types = getattr(config, "layer_types", None)

    def written(mask: torch.Tensor) -> torch.Tensor:
        if config._attn_implementation != "eager":
            return mask
        lowest = torch.finfo(model.dtype).min
        return torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill(~mask, lowest)

    if not types:
        return written(allowed)
    masks = {"full_attention": written(allowed)}
    if "sliding_attention" in types:
        near = query_positions[:, None, :, None] - key_positions[:, None, None, :] < config.sliding_window
        masks["sliding_attention"] = written(allowed & near)
    return masks


def positions_of(valid: torch.Tensor) -> torch.Tensor:
    """Return the positions (rows, tokens) of tokens behind padding on the left; valid: (rows, tokens), bool."""
    return (valid.long().cumsum(-1) - 1).clamp(min=0)


def padded_prompt(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (allowed keys (rows, 1, tokens, tokens), positions (rows, tokens)) of prompts padded on the left.

    mask: (rows, tokens), 1 or True where a token is no padding. A padding query attends to itself: a row without any key
    would give NaN.
    """
    valid, width = mask.bool(), mask.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=mask.device).tril()
    itself = torch.eye(width, dtype=torch.bool, device=mask.device)
    return (causal & valid[:, None, :] | itself)[:, None], positions_of(valid)


def prompt_masks(model: torch.nn.Module, valid: torch.Tensor) -> Masks:
    """Return the `attention_mask` of prompts padded on the left; valid: (rows, tokens), bool."""
    if not serves(model):
        return valid
    allowed, positions = padded_prompt(valid)
    return attention_masks(model, allowed, positions, positions)


def last_token_masks(model: torch.nn.Module, valid: torch.Tensor, positions: torch.Tensor) -> Masks:
    """Return the `attention_mask` of the last token of each row behind a cache of the others, as `prompt_masks`."""
    if not serves(model):
        return valid
    return attention_masks(model, valid[:, None, None, :], positions[:, -1:], positions)
