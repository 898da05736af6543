"""A model that reads the same tokens as others do, row by row: its cache, masks, and the logits of the next token."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from selfdistill.fast_cpu.attention import Masks, last_token_masks, positions_of, prompt_masks
from selfdistill.fast_cpu.growing_cache import decoding_cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Decoder:
    """A model with its cache of the rows being decoded: valid, positions and logits of their tokens, (rows, ...)."""

    def __init__(
        self, model: "PreTrainedModel", prompts: Sequence[Sequence[int]], new: int, pad_token_id: int
    ) -> None:
        """Run the distinct prompts, left-padded, and give each row its prompt's logits and cache; new: largest number of new tokens."""
        self.model, self.device = model, next(model.parameters()).device
        runs = [(prompt, len(list(rows))) for prompt, rows in groupby(map(tuple, prompts))]
        self.width = max(len(prompt) for prompt, _ in runs)
        padded = [[pad_token_id] * (self.width - len(prompt)) + list(prompt) for prompt, _ in runs]
        lengths = torch.tensor([len(prompt) for prompt, _ in runs], device=self.device)
        valid = torch.arange(self.width, device=self.device)[None] >= self.width - lengths[:, None]
        positions, self.cache = positions_of(valid), decoding_cache(self.model)
        logits = self._logits(
            torch.tensor(padded, device=self.device), prompt_masks(self.model, valid), positions
        )
        counts = torch.tensor([count for _, count in runs], device=self.device)
        rows = torch.arange(len(runs), device=self.device).repeat_interleave(counts)
        self.cache.batch_select_indices(rows)
        # mask and positions for the longest completion: each decoding step reads a prefix of them
        after = torch.arange(new, device=self.device)
        self.logits = logits[rows]
        self.valid = torch.cat([valid[rows], valid.new_ones(len(rows), new)], dim=1)
        self.positions = torch.cat([positions[rows], lengths[rows][:, None] + after], dim=1)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep these rows, in this order; their logits are those of the next `forward`."""
        self.valid, self.positions = self.valid[rows], self.positions[rows]
        self.cache.batch_select_indices(rows)

    def forward(self, tokens: torch.Tensor, count: int) -> None:
        """Run one new token per row, (rows,), the `count`-th after the prompt."""
        end = self.width + count
        valid, positions = self.valid[:, :end], self.positions[:, :end]
        masks = last_token_masks(self.model, valid, positions)
        self.logits = self._logits(tokens[:, None], masks, positions[:, -1:])

    def _logits(self, ids: torch.Tensor, masks: Masks, positions: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary), after the tokens `ids`, (rows, tokens), and cache these."""
        return self.model(
            input_ids=ids,
            attention_mask=masks,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
