"""Forward passes over rows that share their prompts: a prompt is run once, and its keys and values serve all its rows.

The rollouts of a group have one prompt, and the teacher sees two per group at most (its first success, and the second one
for that success itself). With a group of eight, most tokens of a mini-batch are therefore repeated prompts. The completions are
run in parcels of neighbouring rows, so that rows of like length, put side by side, need little padding.

Values and gradients are those of whole sequences: attention reads the same keys, and the gradient of a prompt's keys and
values is the sum over its rows.
"""

from collections.abc import Iterator

import torch
from torch import nn
from transformers import DynamicCache

from selfdistill.fast_cpu import serves
from selfdistill.fast_cpu.attention import attention_masks, padded_prompt

MASK_LIMIT = 2**26  # entries of a mask over all rows
WASTE = 64  # tokens of padding that cost about as much as another parcel: measured


def can_share(model: nn.Module) -> bool:
    """Return whether `shared_hidden` may stand for a pass over whole sequences.

    Only where the room serves the model; not with several processes, which would make different numbers of forward passes and
    wait for each other for ever; not while activations are recomputed in the backward pass, for which transformers switches
    the cache off; not with attention kernels that take no mask.
    """
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    recomputed = torch.is_grad_enabled() and getattr(model, "is_gradient_checkpointing", False)
    return (
        serves(model)
        and not several
        and not recomputed
        and model.config._attn_implementation in ("sdpa", "eager")
    )


def pays(prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, completion_ids: torch.Tensor) -> bool:
    """Return whether prompts recur, and sequences are so short that their masks may be written out (MASK_LIMIT).

    At the paper's lengths a pass is one row, and the mask would cost the kernels that need none.
    """
    rows, width = completion_ids.shape
    if rows * width * (prompt_ids.shape[1] + width) > MASK_LIMIT:
        return False
    return len(distinct_rows(prompt_ids, prompt_mask)[0]) < rows


def distinct_rows(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (a row index for each distinct prompt, the prompt's number for each row) of prompts (rows, tokens)."""
    _, number = torch.unique(ids.masked_fill(~mask.bool(), -1), dim=0, return_inverse=True)
    first = torch.full((int(number.max()) + 1,), len(number), device=ids.device)
    return first.scatter_reduce_(0, number, torch.arange(len(number), device=ids.device), "amin"), number


def widths(tokens: torch.Tensor) -> list[int]:
    """Return the columns of each row up to its last chosen token, from bool (rows, completion)."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return (tokens * places).amax(1).tolist()


def parcels(widths: list[int], waste: int = WASTE) -> Iterator[tuple[slice, int]]:
    """Yield (neighbouring rows, their largest width) such that a parcel pads at most `waste` tokens."""
    start, largest, used = 0, 0, 0
    for row, width in enumerate(widths):
        wider = max(largest, width)
        if wider * (row + 1 - start) - used - width > waste:
            yield slice(start, row), largest
            start, wider, used = row, width, 0
        largest, used = wider, used + width
    yield slice(start, len(widths)), largest


def shared_hidden(
    model: nn.Module,
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    completion_ids: torch.Tensor,
    tokens: torch.Tensor,
) -> torch.Tensor | None:
    """Return `shared_prefix_hidden` where it is allowed and pays, else None: the caller then runs whole sequences."""
    if not can_share(model) or not pays(prompt_ids, prompt_mask, completion_ids):
        return None
    return shared_prefix_hidden(model, prompt_ids, prompt_mask, completion_ids, tokens)


def shared_prefix_hidden(
    model: nn.Module,
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    completion_ids: torch.Tensor,
    tokens: torch.Tensor,
) -> torch.Tensor:
    """Return the last hidden states from which the chosen completion tokens are predicted, (chosen tokens, hidden), row by row.

    prompt_ids, prompt_mask: (rows, prompt), padded on the left; completion_ids: (rows, completion), padded on the right, where
    nothing that is chosen can see the padding; tokens: bool, (rows, completion), the chosen ones.
    """
    first, number = distinct_rows(prompt_ids, prompt_mask)
    masks, cache = prompt_mask[first].bool(), DynamicCache()
    allowed, positions = padded_prompt(masks)
    ends = model.base_model(
        input_ids=prompt_ids[first],
        attention_mask=attention_masks(model, allowed, positions, positions),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, -1:]
    chosen = []
    for rows, width in parcels(widths(tokens)):
        states = ends[number[rows]]
        if width > 1:
            of_prompts = number[rows]
            tail = _after_prompts(
                model,
                cache,
                of_prompts,
                masks[of_prompts],
                positions[of_prompts],
                completion_ids[rows, : width - 1],
            )
            states = torch.cat([states, tail], dim=1)
        chosen.append(states[tokens[rows, : states.shape[1]]])
    return torch.cat(chosen)


def _after_prompts(
    model: nn.Module,
    cache: DynamicCache,
    prompts: torch.Tensor,
    prompt_mask: torch.Tensor,
    prompt_positions: torch.Tensor,
    ids: torch.Tensor,
) -> torch.Tensor:
    """Hidden states (rows, tokens, hidden) of completion tokens behind the cached prompts with these numbers, (rows,)."""
    width = ids.shape[1]
    positions = prompt_positions[:, -1:] + 1 + torch.arange(width, device=ids.device)
    causal = torch.ones(width, width, dtype=torch.bool, device=ids.device).tril()
    before = prompt_mask[:, None, :].expand(-1, width, -1)
    allowed = torch.cat([before, causal.expand(len(ids), -1, -1)], dim=2)[:, None]
    keys = torch.cat([prompt_positions, positions], dim=1)
    own = DynamicCache()
    for index, layer in enumerate(cache.layers):
        own.update(layer.keys[prompts], layer.values[prompts], index)
    return model.base_model(
        input_ids=ids,
        attention_mask=attention_masks(model, allowed, positions, keys),
        position_ids=positions,
        past_key_values=own,
        use_cache=True,
    ).last_hidden_state
