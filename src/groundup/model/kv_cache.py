"""Keys and values of the tokens already read, so that each new token costs one position."""

from __future__ import annotations

import torch
from torch import Tensor

from groundup.model.config import ModelConfig


class KVCache:
    """Room for `max_len` positions of every layer, filled from the left.

    All rows of a batch advance together. Rows shorter than the longest prompt are padded on the
    left; `hidden` marks those positions, and attention never looks at them.

    keys, values: (n_layers, batch, n_kv_heads, max_len, d_head)
    hidden: (batch, max_len) bool, or None if no row is padded
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        max_len: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        n_padding: Tensor | None = None,
    ) -> None:
        shape = (config.n_layers, batch_size, config.n_kv_heads, max_len, config.d_head)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.max_len = max_len
        self.max_position = config.max_seq_len - 1
        self.length = 0
        self.n_padding = n_padding
        self.hidden: Tensor | None = None
        if n_padding is not None and bool(n_padding.any()):
            self.hidden = torch.arange(max_len, device=device) < n_padding[:, None]

    def positions(self, n_new: int) -> Tensor:
        """Positions of the next `n_new` tokens: (batch or 1, n_new), 0 for padding.

        Rows that have used up the model's context while others go on stay at its last position.
        """
        device = self.keys.device
        positions = torch.arange(self.length, self.length + n_new, device=device)[None]
        if self.n_padding is not None:
            positions = (positions - self.n_padding[:, None]).clamp(min=0)
        return positions.clamp(max=self.max_position)

    def mask(self, n_new: int) -> Tensor | None:
        """Who sees whom, (batch or 1, 1, n_new, length + n_new) bool.

        None where no mask is needed: one new token sees all, an empty cache is plain causal.
        """
        end = self.length + n_new
        if self.hidden is None and (n_new == 1 or self.length == 0):
            return None
        device = self.keys.device
        rows = torch.arange(self.length, end, device=device)[:, None]
        columns = torch.arange(end, device=device)
        mask = (columns <= rows)[None, None]
        if self.hidden is not None:
            # A padded query still sees itself: a row with nothing to attend to would be NaN.
            mask = mask & (~self.hidden[:, None, None, :end] | (columns == rows))
        return mask

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (batch, n_kv_heads, n_new, d_head) and return all of the layer so far."""
        end = self.length + keys.shape[2]
        assert end <= self.max_len, "the cache is full"
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, n_new: int) -> None:
        """Count `n_new` tokens as read, once every layer has stored them."""
        self.length += n_new
