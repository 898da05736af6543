"""Micro-batches of a number of tokens: how the rows of an optimizer mini-batch are grouped into passes.

A pass is a rectangle of rows x (longest prompt + longest completion), padding included. With a row per pass, short rows leave a
GPU waiting for weights that are gathered for every pass. Rows come sorted by length, and neighbours share a pass.
"""

from collections.abc import Sequence

import torch
from accelerate import Accelerator

SILENT = 2
"""Tokens per row of a pass over rows without loss: one of the prompt, one of the completion (`rollouts.with_loss`)."""


def group_sizes(contexts: Sequence[int], completions: Sequence[int], limit: int) -> list[int]:
    """Return the numbers of neighbouring rows that share a pass of at most `limit` tokens; a longer row has one of its own.

    contexts, completions: tokens per row before and in the completion, the shortest completions first; completion 0: the row has
    no loss, and no pass with rows that have one. No grouping of neighbours has fewer passes.
    """
    sizes, count, context, completion = [], 0, 0, 0
    for own, response in zip(reversed(contexts), reversed(completions), strict=True):
        wider = max(context, own), max(completion, response)
        full = (count + 1) * max(sum(wider), SILENT) > limit
        if count and (full or bool(response) != bool(completion)):
            sizes.append(count)
            count, wider = 0, (own, response)
        (context, completion), count = wider, count + 1
    return [count, *reversed(sizes)]


def row_lengths(batch: dict) -> torch.Tensor:
    """Return (tokens before the completion, completion tokens) of each row, (rows, 2): of student or teacher, whoever reads more."""
    completion, context = batch["completion_mask"].sum(1), batch["prompt_mask"].sum(1)
    if "teacher_attention_mask" in batch:
        context = torch.maximum(context, batch["teacher_attention_mask"].sum(1) - completion)
    return torch.stack([context, completion], dim=1)


def groups(accelerator: Accelerator, lengths: torch.Tensor, used: torch.Tensor, limit: int) -> list[int]:
    """Return the rows of each pass over a mini-batch sorted by `used`: the same on all processes, which must run the same passes.

    lengths: (rows, 2), of `row_lengths`; used: (rows,), tokens in the loss. The longest of the processes' rows counts; they are
    about as long as each other, because `exchange.deal` deals them out by length.
    """
    with_loss = lengths * (used > 0).unsqueeze(1)
    ordered = with_loss[torch.argsort(used, stable=True)]
    longest = accelerator.gather(ordered).view(accelerator.num_processes, -1, 2).amax(0)
    return group_sizes(*longest.T.tolist(), limit)
