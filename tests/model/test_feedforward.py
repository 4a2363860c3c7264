from __future__ import annotations

import torch
import torch.nn.functional as F

from groundup.model import ModelConfig
from groundup.model.feedforward import GELU, SwiGLU, build_feedforward


def test_swiglu_stacks_the_gate_above_the_up_matrix() -> None:
    layer = build_feedforward(ModelConfig(d_model=8, n_heads=2, d_ff=12))
    assert isinstance(layer, SwiGLU)
    gate, up = layer.gate_up.weight[:12], layer.gate_up.weight[12:]
    x = torch.randn(2, 3, 8)
    expected = (F.silu(x @ gate.T) * (x @ up.T)) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), expected)


def test_gelu_is_the_tanh_form() -> None:
    layer = build_feedforward(ModelConfig(d_model=8, n_heads=2, d_ff=12, feedforward="gelu"))
    assert isinstance(layer, GELU)
    x = 3 * torch.randn(2, 3, 8)
    h = layer.up(x)
    hidden = 0.5 * h * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (h + 0.044715 * h**3)))
    torch.testing.assert_close(layer(x), layer.down(hidden))
