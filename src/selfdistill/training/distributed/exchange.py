"""Rows of rollouts between processes: on any number of them a mini-batch is made of the rows that it has on one.

TRL splits a step into mini-batches on every process by itself. On N processes a mini-batch would then hold other
rollouts than on one, and the course of a run would depend on the number of GPUs.
"""

from typing import Any

import torch
from accelerate import Accelerator

LEFT_PADDED = ("prompt_ids", "prompt_mask")
PROMPT_THEN_COMPLETION = ("teacher_input_ids", "teacher_attention_mask")


def is_column(value: Any) -> bool:
    """Whether a value of a batch has one entry a row (the others belong to the whole batch)."""
    return torch.is_tensor(value) and value.ndim > 0


def joined(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of several batches as one."""
    return {
        name: torch.cat([batch[name] for batch in batches]) if is_column(value) else value
        for name, value in batches[0].items()
    }


def rows_of(batch: dict[str, Any], rows: torch.Tensor | slice) -> dict[str, Any]:
    """`batch` with the given rows only."""
    return {name: value[rows] if is_column(value) else value for name, value in batch.items()}


def deal(
    used: torch.Tensor, order: torch.Tensor, mini_batches: int, process: int, processes: int
) -> torch.Tensor:
    """The rows that a process trains on, mini-batch after mini-batch.

    used: tokens in the loss, (rows of all processes,); order: the rows as one process splits them into
    `mini_batches` equal parts. Each part is dealt out by length, one row a process in turn, so that the
    processes, which wait for each other at every pass, have passes of like length.
    """
    dealt = []
    for part in order.split(len(order) // mini_batches):
        ranked = part[torch.argsort(used[part], stable=True)]
        dealt.append(ranked[process::processes])
    return torch.cat(dealt)


def rows_of_all(
    accelerator: Accelerator, batch: dict[str, Any], name: str, pad_token_id: int
) -> torch.Tensor:
    """Column `name` of a batch with the rows of all processes, in the order of the processes.

    Prompts are widened on the left and completions on the right; teacher inputs are one after the other.
    """
    value, pad_index = batch[name], pad_token_id if name.endswith("_ids") else 0

    def widened(part: torch.Tensor, left: bool) -> torch.Tensor:
        return accelerator.pad_across_processes(part, dim=1, pad_index=pad_index, pad_first=left)

    if name in PROMPT_THEN_COMPLETION:
        end = value.shape[1] - batch["completion_ids"].shape[1]
        value = torch.cat([widened(value[:, :end], True), widened(value[:, end:], False)], dim=1)
    elif value.ndim > 1:
        value = widened(value, name in LEFT_PADDED)
    return accelerator.gather(value.contiguous())


def exchange(
    accelerator: Accelerator, batch: dict[str, Any], rows: torch.Tensor, pad_token_id: int
) -> dict[str, Any]:
    """`batch` with the given rows (indices into the rows of all processes) in place of this process's own."""
    return {
        name: rows_of_all(accelerator, batch, name, pad_token_id)[rows.to(value.device)]
        if is_column(value)
        else value
        for name, value in batch.items()
    }
