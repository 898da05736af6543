"""A key-value cache that grows by several tokens at a time, so that it is not copied at every token."""

from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from selfdistill.fast_cpu import serves

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROW_BY = 16  # tokens added at least when the cache grows; a long cache grows by an eighth of its length


class GrowingLayer(DynamicLayer):
    """A cache layer with spare capacity.

    Allocating the final length at once would be simpler, but the gaps between rows make reads several times slower.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, (rows, heads, tokens, head_dim), and return views of all cached ones."""
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self._keys, self._values = key_states[..., :0, :], value_states[..., :0, :]
        end = self.length + key_states.shape[-2]
        if end > self._keys.shape[-2]:
            capacity = end + max(GROW_BY, end // 8)
            self._keys, self._values = (self._grown(b, capacity) for b in (self._keys, self._values))
        self._keys[..., self.length : end, :] = key_states
        self._values[..., self.length : end, :] = value_states
        self.length = end
        return self._keys[..., :end, :], self._values[..., :end, :]

    def _grown(self, buffer: torch.Tensor, capacity: int) -> torch.Tensor:
        """Return a copy of the filled part in a new buffer for `capacity` tokens."""
        grown = buffer.new_empty((*buffer.shape[:-2], capacity, buffer.shape[-1]))
        grown[..., : self.length, :] = buffer[..., : self.length, :]
        return grown

    def get_seq_length(self) -> int:
        """Return the number of cached tokens."""
        return self.length

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows `indices`, (rows,), in this order."""
        count = len(indices)
        moved = (indices != torch.arange(count, device=indices.device)).nonzero().squeeze(1)
        source = indices[moved]
        # If every moved row comes from beyond the kept ones, the rows that keep their place need no copy.
        if count <= len(self._keys) and bool((source >= count).all()):
            self._move_rows(source, moved, count)
        else:
            self._keys, self._values = (
                self._keys.index_select(0, indices),
                self._values.index_select(0, indices),
            )

    def _move_rows(self, source: torch.Tensor, target: torch.Tensor, count: int) -> None:
        """Copy the rows `source` to the rows `target` and keep the first `count` rows."""
        for name in ("_keys", "_values"):
            filled = getattr(self, name)[..., : self.length, :]
            filled.index_copy_(0, target, filled.index_select(0, source))
            setattr(self, name, getattr(self, name)[:count])


def decoding_cache(model: "PreTrainedModel") -> DynamicCache:
    """Return an empty cache for decoding: with growing layers if the faster paths apply, else transformers' own."""
    config = model.config.get_text_config()
    if not serves(model):
        return DynamicCache(config=config)
    cache = DynamicCache()
    cache.layers = [GrowingLayer() for _ in range(config.num_hidden_layers)]
    cache.layer_class_to_replicate = None  # else transformers would append layers of its own
    return cache
