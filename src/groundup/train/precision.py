"""float8 matrix products: the blocks' linear layers on Hopper's fastest units.

x  input (n, d_in)     w  weight (d_out, d_in)     g  gradient of the output (n, d_out)
s  scale of a tensor, max|t| / largest number of its format; t ≈ s · float8(t / s)

    y = x wᵀ, ∂x = g w, ∂w = gᵀ x      inputs and weights in E4M3, gradients in E5M2

as Micikevicius et al. (2022) have it, with one scale for each tensor found anew at each use. Sums
are in float32 and results in bfloat16; weights, their gradients and the optimizer stay in float32.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from groundup.model import Decoder
from groundup.runtime import GroundupError, Precision

INPUT, GRADIENT = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # what the units want sizes to be multiples of
HOPPER = (8, 9)  # the first compute capability with float8 products, Ada's


def apply_precision(model: Decoder, precision: Precision, device: torch.device) -> None:
    """Make the blocks' linear layers multiply in float8 if `precision` says so.

    The output projection, the norms and attention itself stay in bfloat16. Raises GroundupError
    where the device has no such products or a layer's sizes do not fit them.
    """
    if precision != "float8":
        return
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < HOPPER:
        raise GroundupError(
            f"precision=float8 needs a GPU of compute capability 8.9 or higher, "
            f"{torch.cuda.get_device_name(device)} has less; use precision=bfloat16"
        )
    if device.type not in ("cuda", "cpu"):
        raise GroundupError(f"precision=float8 does not run on {device}; use precision=float32")
    for name, module in model.blocks.named_modules():
        if isinstance(module, nn.Linear):
            if module.in_features % MULTIPLE or module.out_features % MULTIPLE:
                raise GroundupError(
                    f"precision=float8 needs sizes that are multiples of {MULTIPLE}; blocks.{name} "
                    f"is {module.out_features} x {module.in_features}; use precision=bfloat16"
                )
            module.forward = partial(_linear, module)  # type: ignore[method-assign]


def _linear(module: nn.Linear, x: Tensor) -> Tensor:
    """x: (..., d_in) -> (..., d_out) in bfloat16"""
    rows = x.reshape(-1, x.shape[-1])
    padding = -len(rows) % MULTIPLE
    if padding:  # the product that makes ∂w sums over rows
        rows = torch.nn.functional.pad(rows, (0, 0, 0, padding))
    y: Tensor = _Float8Product.apply(rows, module.weight)
    y = y[: len(y) - padding].view(*x.shape[:-1], -1)
    return y if module.bias is None else y + module.bias.to(y.dtype)


class _Float8Product(torch.autograd.Function):
    """y = x wᵀ with all three products in float8."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x: (n, d_in), weight: (d_out, d_in) -> (n, d_out)"""
        x8, x_scale = _quantize(x, INPUT)
        w8, w_scale = _quantize(weight, INPUT)
        ctx.save_for_backward(x8, x_scale, w8, w_scale)
        ctx.types = x.dtype, weight.dtype
        return _product(x8, x_scale, w8.t(), w_scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """grad: (n, d_out) -> (n, d_in), (d_out, d_in)"""
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        x_type, w_type = ctx.types
        g8, g_scale = _quantize(grad, GRADIENT)
        grad_x = _product(g8, g_scale, _by_columns(w8), w_scale)
        grad_w = _product(g8.t().contiguous(), g_scale, _by_columns(x8), x_scale)
        return grad_x.to(x_type), grad_w.to(w_type)


def _quantize(tensor: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """float8 numbers of the same shape, and the scale () in float32 that takes them back."""
    largest = torch.finfo(dtype).max
    scale = (tensor.detach().abs().amax().float() / largest).clamp(min=1e-12)
    return (tensor.detach().float() / scale).clamp(-largest, largest).to(dtype), scale


def _by_columns(matrix: Tensor) -> Tensor:
    """The same matrix, laid out by columns as the right factor has to be."""
    return matrix.t().contiguous().t()


def _product(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor) -> Tensor:
    """a: (n, k) by rows, b: (k, m) by columns -> (n, m) in bfloat16"""
    with torch.autocast(a.device.type, enabled=False):  # a CPU makes it of products in float32
        return torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16)
