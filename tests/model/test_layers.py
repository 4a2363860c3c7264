from __future__ import annotations

import torch
from torch import nn

from groundup.model.layers import RMSNorm


def test_rmsnorm_equals_torch() -> None:
    ours, theirs = RMSNorm(24, eps=1e-5), nn.RMSNorm(24, eps=1e-5)
    gain = torch.rand(24) + 0.5
    with torch.no_grad():
        ours.weight.copy_(gain)
        theirs.weight.copy_(gain)
    x = 3 * torch.randn(2, 5, 24)
    torch.testing.assert_close(ours(x), theirs(x))


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
