"""Documents without a mask, on a GPU: held against the mask, and against float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from groundup.data.loader import document_offsets
from groundup.model import Decoder, Labels, ModelConfig, build_decoder
from groundup.model.attention import (
    attend_within_documents,
    document_mask,
    has_document_kernel,
    reference_attention,
)
from groundup.runtime import autocast, deterministic
from groundup.train.compiling import compile_blocks
from groundup.train.recompute import apply_recompute

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = torch.device("cuda")
BATCH, SEQ_LEN = 3, 160
# Lengths of each row's documents; what they leave of a row is padding.
LENGTHS = ([160], [1, 7, 64, 65, 23], [100, 20])


def document_ids() -> Tensor:
    """(BATCH, SEQ_LEN) on the CPU."""
    ids = torch.full((BATCH, SEQ_LEN), -1, dtype=torch.int32)
    for row, lengths in zip(ids, LENGTHS, strict=True):
        row[: sum(lengths)] = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return ids


def offsets() -> Tensor:
    """(n_documents + 1,) on the device, some of the last ones empty."""
    found = torch.from_numpy(document_offsets(document_ids().numpy()))
    assert found[-2] == found[-1]
    return found.to(DEVICE)


@contextmanager
def masks_only() -> Iterator[None]:
    """Without the kernel for documents."""
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        assert not has_document_kernel(DEVICE, torch.bfloat16, 64)
        yield


def test_this_gpu_has_the_kernel() -> None:
    expected = torch.cuda.get_device_capability(DEVICE) >= (8, 0)
    assert has_document_kernel(DEVICE, torch.bfloat16, 64) is expected
    assert not has_document_kernel(DEVICE, torch.float32, 64)


def error(got: Tensor, truth: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    difference = (got.double() - truth).detach()
    return float(difference.abs().max() / truth.detach().abs().max())


@pytest.mark.parametrize("d_head", [16, 64, 128])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_the_kernel_is_as_exact_as_the_mask(n_kv_heads: int, d_head: int) -> None:
    """Forward and gradients: bfloat16 is off by its rounding in both, so float64 judges."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    shapes = [(4, d_head), (n_kv_heads, d_head), (n_kv_heads, d_head), (4, d_head)]
    q, k, v, grad = (
        torch.randn(BATCH * SEQ_LEN, *shape, generator=generator, device=DEVICE).bfloat16()
        for shape in shapes
    )
    mask = document_mask(document_ids().to(DEVICE))

    def by_row(flat: Tensor) -> Tensor:
        return flat.view(BATCH, SEQ_LEN, -1, d_head).transpose(1, 2)

    def flattened(rows: Tensor) -> Tensor:
        return rows.transpose(1, 2).reshape(BATCH * SEQ_LEN, -1, d_head)

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_within_documents(q, k, v, offsets(), longest=SEQ_LEN)

    def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (part.repeat_interleave(4 // n_kv_heads, dim=1) for part in (k, v))
        rows = [by_row(part) for part in (q, k, v)]
        return flattened(F.scaled_dot_product_attention(*rows, attn_mask=mask))

    def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (part.repeat_interleave(4 // n_kv_heads, dim=1) for part in (k, v))
        return flattened(reference_attention(by_row(q), by_row(k), by_row(v), mask))

    found = {}
    for attend in (kernel, masked, exact):
        dtype = torch.float64 if attend is exact else torch.bfloat16
        inputs = [part.detach().to(dtype).requires_grad_() for part in (q, k, v)]
        out = attend(*inputs)
        found[attend] = [out, *torch.autograd.grad(out, inputs, grad.to(dtype))]
    for ours, theirs, truth in zip(*found.values(), strict=True):
        assert error(ours, truth) < 2 * error(theirs, truth) + 2e-3


def test_a_loose_bound_of_the_length_changes_no_bit() -> None:
    q, k, v = torch.randn(3, BATCH * SEQ_LEN, 4, 64, device=DEVICE, dtype=torch.bfloat16)
    tight, loose = (
        attend_within_documents(q, k, v, offsets(), longest=longest) for longest in (160, 4096)
    )
    assert torch.equal(tight, loose)


def test_other_documents_have_no_influence() -> None:
    q, k, v = torch.randn(3, BATCH * SEQ_LEN, 4, 64, device=DEVICE, dtype=torch.bfloat16)
    before = attend_within_documents(q, k, v, offsets(), longest=SEQ_LEN)
    k, v = k.clone(), v.clone()
    k[SEQ_LEN : SEQ_LEN + 8], v[SEQ_LEN : SEQ_LEN + 8] = 9.0, 9.0  # the second row's first two
    after = attend_within_documents(q, k, v, offsets(), longest=SEQ_LEN)
    moved = (before != after).flatten(1).any(1).nonzero().flatten().tolist()
    assert moved
    assert set(moved) <= set(range(SEQ_LEN, SEQ_LEN + 8))


# --- in a model -----------------------------------------------------------------------------------


def small_decoder(n_kv_heads: int) -> Decoder:
    config = ModelConfig(
        vocab_size=211,
        max_seq_len=SEQ_LEN,
        d_model=256,
        n_layers=3,
        n_heads=4,
        n_kv_heads=n_kv_heads,
    )
    return build_decoder(config, seed=0).to(DEVICE)


def gradients(model: Decoder, *, unmasked: bool) -> dict[str, Tensor]:
    """Of the mean loss, in bfloat16, and the loss itself."""
    ids = torch.randint(211, (BATCH, SEQ_LEN), generator=torch.Generator().manual_seed(1))
    ids = ids.to(DEVICE)
    model.zero_grad()
    with autocast(DEVICE, "bfloat16"):
        sums = model(
            ids,
            document_ids=document_ids().to(DEVICE),
            document_offsets=offsets() if unmasked else None,
            labels=Labels(ids.flatten().roll(-1)),
        )
    (sums[0] / ids.numel()).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": sums[1] / ids.numel(), **found}


def assert_near(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Equal to what bfloat16 leaves of a gradient's direction and length."""
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (gradient - theirs[name]).norm() < 0.03 * theirs[name].norm(), name


@pytest.mark.parametrize("n_kv_heads", [1, 4])
def test_a_model_learns_the_same_without_a_mask(n_kv_heads: int) -> None:
    model = small_decoder(n_kv_heads)
    with masks_only():
        masked = gradients(model, unmasked=True)
    assert_near(gradients(model, unmasked=False), masked)
    assert_near(gradients(model, unmasked=True), masked)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("mode", ["none", "selective", "layers"])
def test_compiled_blocks_take_offsets(mode: str) -> None:
    plain, compiled = small_decoder(2), small_decoder(2)
    apply_recompute(compiled, mode)
    compile_blocks(compiled)
    assert_near(gradients(compiled, unmasked=True), gradients(plain, unmasked=True))


@pytest.mark.parametrize("mode", ["selective", "layers"])
def test_recomputing_gives_the_same_bits(mode: str) -> None:
    """The kernel's backward pass adds up in any order unless it is asked not to."""
    model = small_decoder(2)
    deterministic(DEVICE, True)
    try:
        plain = gradients(model, unmasked=True)
        apply_recompute(model, mode)
        again = gradients(model, unmasked=True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert [name for name in plain if not torch.equal(plain[name], again[name])] == []
