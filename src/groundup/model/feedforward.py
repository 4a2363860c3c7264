"""The position-wise half of a block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from groundup.model.config import ModelConfig


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)) (Shazeer, 2020), gate and up as one product.

    x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)"""
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # each (batch, seq_len, d_ff)
        return self.down(F.silu(gate) * up)


class GELU(nn.Module):
    """down(gelu(up(x))), gelu in its tanh form (Hendrycks and Gimpel, 2016), as GPT-2 has it.

    x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)"""
        return self.down(F.gelu(self.up(x), approximate="tanh"))


def build_feedforward(config: ModelConfig) -> nn.Module:
    """The feed-forward layer that the config asks for."""
    match config.feedforward:
        case "swiglu":
            return SwiGLU(config)
        case "gelu":
            return GELU(config)
