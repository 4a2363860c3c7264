from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from groundup.model import ModelConfig
from groundup.model.attention import Attention, document_mask, reference_attention
from groundup.model.position import apply_rope, rope_table

from .shapes import SIZE

CONFIGS = {
    "plain": ModelConfig(**SIZE),
    "grouped": ModelConfig(**SIZE, n_kv_heads=2, qk_norm=False),
    "one_kv_head": ModelConfig(**SIZE, n_kv_heads=1, d_head=12),
    "biased": ModelConfig(**SIZE, bias=True, qk_norm=False, position="learned"),
}


def _by_hand(
    layer: Attention,
    config: ModelConfig,
    x: Tensor,
    rope: tuple[Tensor, Tensor] | None,
    mask: Tensor,
) -> Tensor:
    """The layer written out with `reference_attention` and repeated key-value heads."""
    batch, seq_len, _ = x.shape
    d_q, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    q, k, v = layer.qkv(x).split([d_q, d_kv, d_kv], dim=-1)
    q = q.view(batch, seq_len, config.n_heads, config.d_head)
    k = k.view(batch, seq_len, config.n_kv_heads, config.d_head)
    v = v.view(batch, seq_len, config.n_kv_heads, config.d_head)
    if config.qk_norm:
        q, k = layer.q_norm(q), layer.k_norm(k)
    if rope is not None:
        q, k = apply_rope(q, *rope), apply_rope(k, *rope)
    n_copies = config.n_heads // config.n_kv_heads
    k, v = (part.repeat_interleave(n_copies, dim=2) for part in (k, v))
    attended = reference_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask)
    return layer.out(attended.transpose(1, 2).reshape(batch, seq_len, d_q))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_fast_kernel_equals_the_reference(name: str, masked: bool) -> None:
    config = CONFIGS[name]
    layer = Attention(config, layer=0)
    if layer.q_norm is not None:
        with torch.no_grad():
            layer.q_norm.weight.uniform_(0.5, 2)
            layer.k_norm.weight.uniform_(0.5, 2)
    x = torch.randn(2, 9, config.d_model)
    rope = None
    if config.position == "rope":
        cos, sin = rope_table(16, config.d_head, config.rope_theta)[:, None, :9].unsqueeze(-2)
        rope = (cos, sin)
    causal = torch.ones(9, 9, dtype=torch.bool).tril()
    mask = None
    if masked:
        mask = document_mask(torch.tensor([[0] * 4 + [1] * 5, [7] * 8 + [2]]))
    got = layer(x, rope=rope, mask=mask, cache=None)
    expected = _by_hand(layer, config, x, rope, causal if mask is None else mask)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_a_head_by_hand() -> None:
    """Scores 0 and ln 3 weigh the two values as 1 : 3."""
    q = torch.tensor([[[[1.0]]]])
    k = torch.tensor([[[[0.0], [math.log(3)]]]])
    v = torch.tensor([[[[4.0], [8.0]]]])
    seen = reference_attention(q, k, v, torch.ones(1, 2, dtype=torch.bool))
    assert seen.item() == pytest.approx(7.0)


def test_document_mask_keeps_equal_ids_apart_from_others_only() -> None:
    mask = document_mask(torch.tensor([[4, 4, 9, 9], [0, 0, 0, 0]]))
    assert mask.shape == (2, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert torch.equal(mask[1, 0], torch.ones(4, 4, dtype=torch.bool).tril())


@pytest.mark.parametrize("n_kv_heads", [1, 2])
def test_gradients_are_those_of_the_numbers(n_kv_heads: int) -> None:
    config = ModelConfig(
        vocab_size=5, d_model=4, n_heads=2, n_kv_heads=n_kv_heads, qk_norm=False, bias=True
    )
    layer = Attention(config, layer=0).double()
    cos, sin = rope_table(3, config.d_head, 100.0).double()[:, None].unsqueeze(-2)
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = tuple(layer.parameters())

    def forward(x: Tensor, *weights: Tensor) -> Tensor:
        named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        inputs = {"rope": (cos, sin), "mask": None, "cache": None}
        return torch.func.functional_call(layer, named, (x,), inputs)

    assert torch.autograd.gradcheck(forward, (x, *weights))
