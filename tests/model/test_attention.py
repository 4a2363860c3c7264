from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder, ModelConfig, attention, build_decoder
from groundup.model.attention import (
    Attention,
    attend_within_documents,
    document_mask,
    has_document_kernel,
    keep_documents_apart,
    reference_attention,
)
from groundup.model.position import apply_rope, rope_table

from .shapes import SHAPES, SIZE

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


# --- documents without a mask ---------------------------------------------------------------------

# Two rows of 12: documents of 5, 1 and 6 tokens, then of 3 and 4 before padding of 5.
IDS = torch.tensor([[0] * 5 + [1] + [2] * 6, [0] * 3 + [1] * 4 + [-1] * 5])
OFFSETS = torch.tensor([0, 5, 6, 12, 15, 19, 24, 24, 24], dtype=torch.int32)


def document_by_document(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> Tensor:
    """What torch's `varlen_attn` computes, one document after the other, with its arguments."""
    assert window_size == (-1, 0)
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert max_q == max_k >= int(cu_seq_q.diff().max())
    assert enable_gqa or q.shape[1] == k.shape[1]
    n_copies = q.shape[1] // k.shape[1]
    attended = []
    for first, last in cu_seq_q.unfold(0, 2, 1).tolist():
        part = [t[first:last].transpose(0, 1) for t in (q, k, v)]  # (heads, length, d_head)
        k_part, v_part = (t.repeat_interleave(n_copies, dim=0) for t in part[1:])
        causal = torch.ones(last - first, last - first, dtype=torch.bool).tril()
        attended.append(reference_attention(part[0], k_part, v_part, causal).transpose(0, 1))
    return torch.cat(attended)


@pytest.fixture
def kernel_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that has the kernel for documents."""
    from torch.nn.attention import varlen

    monkeypatch.setattr(varlen, "varlen_attn", document_by_document)
    monkeypatch.setattr(attention, "has_document_kernel", lambda *_, **__: True)


def test_offsets_and_ids_say_the_same() -> None:
    q, k, v = torch.randn(3, 24, 4, 8, dtype=torch.float64)
    packed = document_by_document(q, k, v, OFFSETS, OFFSETS, 12, 12, window_size=(-1, 0))
    rows = [part.view(2, 12, 4, 8).transpose(1, 2) for part in (q, k, v)]
    masked = reference_attention(*rows, document_mask(IDS)).transpose(1, 2).reshape(24, 4, 8)
    torch.testing.assert_close(packed, masked)


@pytest.mark.usefixtures("kernel_here")
@pytest.mark.parametrize("takes_grouped_heads", [True, False])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_key_heads_are_shared_or_repeated(
    n_kv_heads: int, takes_grouped_heads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "TAKES_GROUPED_HEADS", takes_grouped_heads)
    q, k, v = torch.randn(24, 4, 8), torch.randn(24, n_kv_heads, 8), torch.randn(24, n_kv_heads, 8)
    got = attend_within_documents(q, k, v, OFFSETS, longest=12)
    rows = [part.view(2, 12, -1, 8).transpose(1, 2) for part in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *rows, attn_mask=document_mask(IDS), enable_gqa=True
    )
    torch.testing.assert_close(got, expected.transpose(1, 2).reshape(24, 4, 8))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_without_a_mask_equals_one_with_it(
    shape: str, request: pytest.FixtureRequest
) -> None:
    model = build_decoder(SHAPES[shape], seed=0)
    ids = torch.randint(97, (2, 12))
    expected = _gradients(model, ids)
    request.getfixturevalue("kernel_here")
    for name, gradient in _gradients(model, ids).items():
        assert (gradient - expected[name]).norm() < 1e-5 * expected[name].norm(), name


def _gradients(model: Decoder, ids: Tensor) -> dict[str, Tensor]:
    """Of a loss in which every logit has its own weight."""
    logits = model(ids, document_ids=IDS, document_offsets=OFFSETS)
    weights = torch.linspace(-1, 1, logits.numel()).view(logits.shape)
    (logits * weights).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    return {"logits": logits.detach(), **gradients}


def test_where_there_is_no_kernel_documents_get_a_mask() -> None:
    for offsets in (None, OFFSETS):
        mask, given = keep_documents_apart(IDS, offsets, dtype=torch.bfloat16, d_head=64)
        assert given is None
        assert mask is not None
        assert mask.dtype == torch.bfloat16
        assert torch.equal(mask == 0, document_mask(IDS))


@pytest.mark.usefixtures("kernel_here")
def test_where_there_is_a_kernel_it_needs_the_offsets() -> None:
    mask, given = keep_documents_apart(IDS, OFFSETS, dtype=torch.bfloat16, d_head=64)
    assert mask is None
    assert given is OFFSETS
    mask, given = keep_documents_apart(IDS, None, dtype=torch.bfloat16, d_head=64)
    assert mask is not None
    assert given is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"dtype": torch.float16}, True),
        ({"dtype": torch.float32}, False),
        ({"d_head": 20}, False),
        ({"d_head": 256}, False),
        ({"device": torch.device("cpu")}, False),
        ({"capability": (7, 5)}, False),
        ({"cuda": None}, False),
        ({"is_allowed": False}, False),
        ({"is_built": False}, False),
    ],
    ids=str,
)
def test_the_kernel_is_taken_where_it_runs(
    change: dict[str, object], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"device": torch.device("cuda"), "dtype": torch.bfloat16, "d_head": 64}
    facts = {"capability": (8, 0), "cuda": "13.0", "is_allowed": True, "is_built": True}
    where, facts = ({key: change.get(key, group[key]) for key in group} for group in (where, facts))
    monkeypatch.setattr(torch.version, "cuda", facts["cuda"])
    flash = torch.backends.cuda
    monkeypatch.setattr(flash, "flash_sdp_enabled", lambda: facts["is_allowed"])
    monkeypatch.setattr(flash, "is_flash_attention_available", lambda: facts["is_built"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: facts["capability"])
    assert has_document_kernel(**where) is expected
