from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from groundup.model.layers import RMSNorm


def test_rmsnorm_equals_torch() -> None:
    ours, theirs = RMSNorm(24, eps=1e-5), nn.RMSNorm(24, eps=1e-5)
    gain = torch.rand(24) + 0.5
    with torch.no_grad():
        ours.weight.copy_(gain)
        theirs.weight.copy_(gain)
    x = 3 * torch.randn(2, 5, 24)
    torch.testing.assert_close(ours(x), theirs(x))


def _strided(shape: tuple[int, ...], layout: str) -> Tensor:
    """Random numbers laid out as the heads cut from one product, or as swapped dimensions, are."""
    match layout:
        case "cut":
            return torch.randn(*shape[:-1], 3 * shape[-1])[..., : shape[-1]]
        case "swapped":
            return torch.randn(shape[1], shape[0], *shape[2:]).transpose(0, 1)
    return torch.randn(shape)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((24,), "whole"),
        ((7, 24), "whole"),
        ((2, 5, 3, 24), "whole"),
        ((2, 5, 3, 24), "cut"),
        pytest.param(
            (2, 5, 3, 24),
            "swapped",
        ),
    ],
)
def test_rmsnorms_gradients_equal_torchs(shape: tuple[int, ...], layout: str) -> None:
    """Held to float64, since ours is written out by hand."""
    ours, theirs = RMSNorm(24, eps=1e-2), nn.RMSNorm(24, eps=1e-2).double()
    gain = torch.rand(24) + 0.5
    with torch.no_grad():
        ours.weight.copy_(gain)
        theirs.weight.copy_(gain)
    x = 0.3 * _strided(shape, layout)
    weights = torch.randn(shape)
    x_ours, x_theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    if layout != "whole":
        x_ours = x.detach().requires_grad_()
    (ours(x_ours) * weights).sum().backward()
    (theirs(x_theirs) * weights).sum().backward()
    torch.testing.assert_close(x_ours.grad.double(), x_theirs.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.weight.grad.double(), theirs.weight.grad, rtol=1e-4, atol=1e-5)


def test_rmsnorms_gradients_in_bfloat16_keep_their_type() -> None:
    norm = RMSNorm(24, eps=1e-6)
    x = torch.randn(4, 24, dtype=torch.bfloat16, requires_grad=True)
    norm(x).float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert norm.weight.grad.dtype == torch.float32


def test_rmsnorm_is_computed_in_float32() -> None:
    """In bfloat16 a sum of 4096 squares would lose most of its terms."""
    x = torch.ones(4096, dtype=torch.bfloat16)
    x[0] = 300.0
    y = RMSNorm(4096, eps=0.0)(x)
    assert y.dtype == torch.bfloat16
    expected = x.double() / x.double().pow(2).mean().sqrt()
    torch.testing.assert_close(y.double(), expected, rtol=2**-8, atol=0)


def test_the_scale_of_the_input_does_not_matter() -> None:
    norm, x = RMSNorm(16, eps=1e-12), torch.randn(3, 16)
    torch.testing.assert_close(norm(x), norm(1000 * x))


def test_a_float64_norm_is_as_exact_as_float64() -> None:
    norm = RMSNorm(8, eps=1e-6).double()
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(x), expected, rtol=1e-14, atol=0)
    norm(x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float64
