"""Forward passes over rows with common prompts: each prompt is run once, and all its rows use its keys and values.

The rollouts of a group have one prompt. The teacher's prompts are two per group at most: one shows the first success; the
rollout that is the first success itself is shown the second. With a group of eight, most tokens of a mini-batch are therefore
repeated prompts. Completions are run in parcels of neighbouring rows. Rows arrive sorted by length, so a parcel needs little
padding.

Values and gradients are those of whole sequences: attention reads the same keys, and the gradient of a prompt's keys and
values is the sum over its rows.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from selfdistill.fast_cpu import serves
from selfdistill.fast_cpu.attention import attention_masks, padded_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MASK_LIMIT = 2**26  # largest number of entries of an explicit mask over all rows
WASTE = 64  # padding tokens that cost about as much as one more parcel (measured)


def can_share(model: "PreTrainedModel") -> bool:
    """Return whether `shared_hidden` may replace a pass over whole sequences.

    Several processes cannot: they would make different numbers of forward passes and deadlock. Activation checkpointing
    cannot: transformers switches the cache off for it. Attention kernels without explicit masks cannot.
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
    """Return whether prompts recur and sequences are short enough for explicit masks (MASK_LIMIT).

    prompt_ids, prompt_mask: (rows, prompt); completion_ids: (rows, completion). At the paper's lengths a pass is one row, and
    an explicit mask would rule out the kernels that need none.
    """
    rows, width = completion_ids.shape
    if rows * width * (prompt_ids.shape[1] + width) > MASK_LIMIT:
        return False
    return len(distinct_rows(prompt_ids, prompt_mask)[0]) < rows


def distinct_rows(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (index of the first row with each distinct prompt, each row's number of its prompt); ids, mask: (rows, tokens)."""
    _, number = torch.unique(ids.masked_fill(~mask.bool(), -1), dim=0, return_inverse=True)
    first = torch.full((int(number.max()) + 1,), len(number), device=ids.device)
    return first.scatter_reduce_(0, number, torch.arange(len(number), device=ids.device), "amin"), number


def widths(tokens: torch.Tensor) -> list[int]:
    """Return each row's number of columns up to its last chosen token; tokens: (rows, completion), bool."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return (tokens * places).amax(1).tolist()


def parcels(widths: list[int], waste: int = WASTE) -> Iterator[tuple[slice, int]]:
    """Yield (neighbouring rows, their largest width); a parcel has at most `waste` padding tokens."""
    start, largest, used = 0, 0, 0
    for row, width in enumerate(widths):
        wider = max(largest, width)
        # rows x width with this row, less the tokens in use, is the padding
        if wider * (row + 1 - start) - used - width > waste:
            yield slice(start, row), largest
            start, wider, used = row, width, 0
        largest, used = wider, used + width
    yield slice(start, len(widths)), largest


def shared_hidden(
    model: "PreTrainedModel",
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    completion_ids: torch.Tensor,
    tokens: torch.Tensor,
) -> torch.Tensor | None:
    """Return `shared_prefix_hidden` if it is possible and pays, else None: the caller then runs whole sequences."""
    if not can_share(model) or not pays(prompt_ids, prompt_mask, completion_ids):
        return None
    return shared_prefix_hidden(model, prompt_ids, prompt_mask, completion_ids, tokens)


def shared_prefix_hidden(
    model: "PreTrainedModel",
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    completion_ids: torch.Tensor,
    tokens: torch.Tensor,
) -> torch.Tensor:
    """Return the last hidden states that predict the chosen completion tokens, (chosen tokens, hidden), row by row.

    prompt_ids, prompt_mask: (rows, prompt), left-padded; completion_ids: (rows, completion), right-padded, so no chosen token
    sees the padding; tokens: (rows, completion), bool, the chosen ones.
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
        states = ends[number[rows]]  # the prompt's last state predicts the first completion token
        if width > 1:  # and the state of each completion token but the last predicts the next one
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
    model: "PreTrainedModel",
    cache: DynamicCache,
    prompts: torch.Tensor,
    prompt_mask: torch.Tensor,
    prompt_positions: torch.Tensor,
    ids: torch.Tensor,
) -> torch.Tensor:
    """Return the hidden states, (rows, tokens, hidden), of completion tokens after cached prompts.

    cache: keys and values of the distinct prompts; prompts: (rows,), each row's number of its prompt; prompt_mask,
    prompt_positions: (rows, prompt); ids: (rows, tokens).
    """
    width = ids.shape[1]
    positions = prompt_positions[:, -1:] + 1 + torch.arange(width, device=ids.device)
    causal = torch.ones(width, width, dtype=torch.bool, device=ids.device).tril()
    before = prompt_mask[:, None, :].expand(-1, width, -1)
    allowed = torch.cat([before, causal.expand(len(ids), -1, -1)], dim=2)[:, None]
    keys = torch.cat([prompt_positions, positions], dim=1)
    own = DynamicCache()  # a copy per parcel: the forward pass appends the completion's keys and values
    for index, layer in enumerate(cache.layers):
        own.update(layer.keys[prompts], layer.values[prompts], index)
    return model.base_model(
        input_ids=ids,
        attention_mask=attention_masks(model, allowed, positions, keys),
        position_ids=positions,
        past_key_values=own,
        use_cache=True,
    ).last_hidden_state
