"""Exchange of rollouts between processes, so that a mini-batch has the same rows on any number of processes.

In TRL every process splits its own part of a step into mini-batches. Mini-batches on N processes would then hold other
rollouts than on one, and the results would depend on the number of GPUs.
"""

from typing import Any

import torch
from accelerate import Accelerator

LEFT_PADDED = ("prompt_ids", "prompt_mask")
PROMPT_THEN_COMPLETION = ("teacher_input_ids", "teacher_attention_mask")
"""Ends of the names of teacher inputs; a trainer with several teacher prompts per rollout puts a prefix before them."""


def is_column(value: Any) -> bool:
    """Return whether a value of a batch has one entry per row; other values belong to the whole batch."""
    return torch.is_tensor(value) and value.ndim > 0


def joined(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one batch with the rows of several."""
    return {
        name: torch.cat([batch[name] for batch in batches]) if is_column(value) else value
        for name, value in batches[0].items()
    }


def rows_of(batch: dict[str, Any], rows: torch.Tensor | slice) -> dict[str, Any]:
    """Return `batch` with the given rows only; rows: indices or a slice."""
    return {name: value[rows] if is_column(value) else value for name, value in batch.items()}


def deal(
    used: torch.Tensor, order: torch.Tensor, mini_batches: int, process: int, processes: int
) -> torch.Tensor:
    """Return the rows that a process trains on, mini-batch after mini-batch.

    used: (rows of all processes,), tokens in the loss; order: the order in which one process splits all rows into
    `mini_batches` equal parts. The rows of a part are sorted by length and dealt out in turn, because processes wait for
    each other in every pass and so need passes of similar length.
    """
    dealt = []
    for part in order.split(len(order) // mini_batches):
        ranked = part[torch.argsort(used[part], stable=True)]
        dealt.append(ranked[process::processes])
    return torch.cat(dealt)


def rows_of_all(
    accelerator: Accelerator, batch: dict[str, Any], name: str, pad_token_id: int
) -> torch.Tensor:
    """Return column `name` of a batch with the rows of all processes, in the order of processes.

    Prompts are padded on the left and completions on the right; teacher inputs are a prompt followed by a completion.
    """
    value, pad_index = batch[name], pad_token_id if name.endswith("_ids") else 0

    def widened(part: torch.Tensor, left: bool) -> torch.Tensor:
        """Return `part` padded to the width of the widest process."""
        return accelerator.pad_across_processes(part, dim=1, pad_index=pad_index, pad_first=left)

    if name.endswith(PROMPT_THEN_COMPLETION):
        end = value.shape[1] - batch["completion_ids"].shape[1]
        value = torch.cat([widened(value[:, :end], True), widened(value[:, end:], False)], dim=1)
    elif value.ndim > 1:
        value = widened(value, name in LEFT_PADDED)
    return accelerator.gather(value.contiguous())


def exchange(
    accelerator: Accelerator, batch: dict[str, Any], rows: torch.Tensor, pad_token_id: int
) -> dict[str, Any]:
    """Return `batch` with other rows than this process's own; rows: indices into the rows of all processes."""
    return {
        name: rows_of_all(accelerator, batch, name, pad_token_id)[rows.to(value.device)]
        if is_column(value)
        else value
        for name, value in batch.items()
    }
