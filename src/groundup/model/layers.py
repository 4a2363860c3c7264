"""The small layers that every block is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundup.model.config import ModelConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · gain (Zhang and Sennrich, 2019), computed in float32.

    x: (..., d) -> (..., d)

    >>> y = RMSNorm(2, eps=0.0)(torch.tensor([3.0, 4.0]))  # rms = sqrt(12.5) = 3.5355
    >>> [round(value, 4) for value in y.tolist()]
    [0.8485, 1.1314]
    """

    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., d) -> (..., d)"""
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def build_norm(config: ModelConfig) -> nn.Module:
    """The norm that the config asks for, over d_model."""
    match config.norm:
        case "rmsnorm":
            return RMSNorm(config.d_model, config.norm_eps)
        case "layernorm":
            return nn.LayerNorm(config.d_model, config.norm_eps)
