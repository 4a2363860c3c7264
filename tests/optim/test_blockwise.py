from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.optim.blockwise import BLOCK, Codebook, dynamic_map, n_blocks

CPU = torch.device("cpu")


def test_the_signed_map_by_hand() -> None:
    values = dynamic_map(signed=True)
    assert len(values) == len(values.unique()) == 256
    assert (values[0] > -1, values[-1] == 1, values[127] == 0) == (True, True, True)
    torch.testing.assert_close(values[:127], -values[128:255].flip(0))
    # the last decade has one value, the one before two, the first sixty-four
    torch.testing.assert_close(values[128], torch.tensor(0.55e-6))
    torch.testing.assert_close(values[129:131], torch.tensor([0.325e-5, 0.775e-5]))
    top = 0.1 + 0.9 * (torch.arange(64) + 0.5) / 64
    torch.testing.assert_close(values[191:255], top)


def test_the_unsigned_map_is_twice_as_fine() -> None:
    values = dynamic_map(signed=False)
    assert len(values) == len(values.unique()) == 256
    assert (values[0], values[-1]) == (0, 1)
    torch.testing.assert_close(values[1:3], torch.tensor([0.325e-6, 0.775e-6]))
    torch.testing.assert_close(values[127:255], 0.1 + 0.9 * (torch.arange(128) + 0.5) / 128)


@pytest.mark.parametrize("signed", [True, False])
def test_every_entry_gets_the_nearest_value(signed: bool) -> None:
    """Against a search through all 256, over eight orders of magnitude."""
    generator = torch.Generator().manual_seed(1)
    exponents = -8 * torch.rand(3, 1000, generator=generator)
    values = 10**exponents * torch.randn(3, 1000, generator=generator)
    values = values if signed else values.abs()
    book = Codebook(signed=signed, device=CPU)
    codes, scales = book.quantize(values)
    assert codes.dtype == torch.uint8
    assert (codes.shape, scales.shape) == ((3, 1000), (3, 4))
    whole = scales.repeat_interleave(BLOCK, dim=1)[:, :1000]
    for start in range(0, 1000, BLOCK):
        block = values[:, start : start + BLOCK]
        assert torch.equal(scales[:, start // BLOCK], block.abs().amax(1))
    shares = values / whole
    distances = (shares[..., None] - book.values).abs()
    if not signed:
        distances[..., 0] = torch.where(shares > 0, torch.inf, distances[..., 0])
    chosen = distances.gather(-1, codes.long()[..., None])[..., 0]
    torch.testing.assert_close(chosen, distances.amin(-1), rtol=0, atol=1e-8)
    torch.testing.assert_close(book.dequantize(codes, scales), book.values[codes.long()] * whole)


@pytest.mark.parametrize("signed", [True, False])
def test_the_error_is_bounded_in_every_decade(signed: bool) -> None:
    """Half the distance of two values: 0.9 · 10^-e over the parts that decade e is cut into."""
    shares = torch.logspace(-6, 0, 20 * (BLOCK - 1)).view(20, -1)
    values = (
        torch.cat([torch.ones(20, 1), shares], dim=1) * 37.0
    )  # each block begins with its scale
    book = Codebook(signed=signed, device=CPU)
    codes, scales = book.quantize(values)
    errors = (book.dequantize(codes, scales) - values).abs() / 37
    n_bits = 6 if signed else 7
    for decade in range(6):
        inside = (values / 37 >= 10.0 ** -(decade + 1)) & (values / 37 <= 10.0**-decade)
        assert inside.any()
        assert errors[inside].max() <= 0.45 * 10.0**-decade / 2 ** (n_bits - decade) * 1.001


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 700), st.booleans(), st.integers(0, 2**31))
def test_what_has_been_through_the_codes_stays_as_it_is(n: int, signed: bool, seed: int) -> None:
    values = torch.randn(2, n, generator=torch.Generator().manual_seed(seed))
    values = values if signed else values.abs()
    book = Codebook(signed=signed, device=CPU)
    codes, scales = book.quantize(values)
    assert scales.shape == (2, n_blocks(n))
    once = book.dequantize(codes, scales)
    signs_of_top = torch.sign(once) == torch.sign(values)
    assert signs_of_top[values.abs() > 1e-5 * values.abs().max()].all()
    if not signed:  # the largest entry is 1 there, so that the scale stays
        again = book.quantize(once)
        assert torch.equal(again[0], codes)
        assert torch.equal(again[1], scales)


def test_zeros_are_zeros_and_nothing_else_is() -> None:
    values = torch.zeros(1, 2 * BLOCK)
    values[0, 1], values[0, 2] = 1.0, 1e-30
    unsigned = Codebook(signed=False, device=CPU)
    codes, scales = unsigned.quantize(values)
    assert codes[0, :4].tolist() == [0, 255, 1, 0]
    assert scales.tolist() == [[1.0, 0.0]]
    signed = Codebook(signed=True, device=CPU)
    back = signed.dequantize(*signed.quantize(values))
    assert back.count_nonzero() == 1
