"""The small layers that every block is made of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from groundup.model.config import ModelConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · gain (Zhang and Sennrich, 2019), computed in float32 at least.

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
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            normed: Tensor = _CpuRMSNorm.apply(wide, self.weight, self.eps)
            return normed.to(x.dtype)
        return F.rms_norm(wide, self.weight.shape, self.weight, self.eps).to(x.dtype)


class _CpuRMSNorm(torch.autograd.Function):
    """RMSNorm for a CPU, where each kernel is a pass over memory: half the time of torch's own.

    With r = 1 / sqrt(mean(x²) + eps), x̂ = r x and y = g x̂:

        ∂L/∂g = Σ ∂L/∂y · x̂          ∂L/∂x = r (g ∂L/∂y - x̂ mean(g ∂L/∂y · x̂))
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        """x: (..., d), gain: (d,) -> (..., d)"""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        ctx.save_for_backward(x, gain, r)
        return (x * r).mul_(gain)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """grad: (..., d) -> (..., d), (d,), None"""
        x, gain, r = ctx.saved_tensors
        d = x.shape[-1]
        grad = grad.reshape(-1, d)
        unit = (x * r).reshape(-1, d)
        product = grad * unit
        # A product with ones sums over rows in one pass over memory; `sum(0)` takes several.
        grad_gain = product.t() @ product.new_ones(len(product))
        mean = (product @ gain).div_(d).unsqueeze(-1)
        grad_x = (grad * gain).addcmul_(unit, mean, value=-1).mul_(r.reshape(-1, 1))
        return grad_x.view(x.shape), grad_gain, None


def build_norm(config: ModelConfig) -> nn.Module:
    """The norm that the config asks for, over d_model."""
    match config.norm:
        case "rmsnorm":
            return RMSNorm(config.d_model, config.norm_eps)
        case "layernorm":
            return nn.LayerNorm(config.d_model, config.norm_eps)
