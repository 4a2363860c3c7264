"""Rotary positions: a query at m and a key at n meet in a product that depends on m - n alone.

m      a token's position           θ_i   = rope_theta ** (-2i / d_head)
q, k   one head's query and key     i     = 0 … d_head/2 - 1
"""

from __future__ import annotations

import torch
from torch import Tensor


def rope_table(max_seq_len: int, d_head: int, theta: float) -> Tensor:
    """What `apply_rope` multiplies by, `(2, max_seq_len, d_head)`, float32 (Su et al., 2021).

    Row m holds cos m·θ twice, and sin m·θ twice, the first time negative.
    """
    frequencies = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
    angles = torch.arange(max_seq_len, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()  # (max_seq_len, d_head // 2)
    return torch.stack([torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)])


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i + d_head/2}) of every head by their angle.

    x: (batch, seq_len, n_heads, d_head); cos, sin: (batch or 1, seq_len, 1, d_head), rows of
    `rope_table` -> (batch, seq_len, n_heads, d_head). The pairing is Llama's and Qwen's ("rotate
    half").

    A quarter turn takes (1, 0) to (0, 1):

    >>> turned = apply_rope(torch.tensor([[[[1.0, 0.0]]]]), torch.zeros(2), torch.tensor([-1.0, 1]))
    >>> turned.tolist()
    [[[[0.0, 1.0]]]]
    """
    # Two products over the whole width pass over memory half as often as chunk and cat.
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin
