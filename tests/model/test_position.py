from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from groundup.model.position import apply_rope, rope_table

MAX_SEQ_LEN, D_HEAD = 64, 8


def _rotate(x: torch.Tensor, position: int) -> torch.Tensor:
    """One head's vector at one position."""
    cos, sin = rope_table(MAX_SEQ_LEN, D_HEAD, 10_000.0)[:, position]
    return apply_rope(x[None, None, None], cos, sin).flatten()


@given(m=st.integers(0, 31), n=st.integers(0, 31), shift=st.integers(0, 32))
def test_the_score_depends_on_the_distance_alone(m: int, n: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(m * 100 + n)
    q, k = torch.randn(2, D_HEAD, generator=generator)
    score = _rotate(q, m) @ _rotate(k, n)
    shifted = _rotate(q, m + shift) @ _rotate(k, n + shift)
    torch.testing.assert_close(score, shifted, rtol=1e-4, atol=1e-5)


def test_the_score_does_depend_on_the_distance() -> None:
    q, k = torch.randn(2, D_HEAD, generator=torch.Generator().manual_seed(1))
    scores = torch.stack([_rotate(q, m) @ _rotate(k, 0) for m in range(8)])
    assert scores.std() > 0.1


def test_position_zero_stays_and_lengths_stay() -> None:
    x = torch.randn(D_HEAD, generator=torch.Generator().manual_seed(2))
    assert torch.equal(_rotate(x, 0), x)
    torch.testing.assert_close(_rotate(x, 63).norm(), x.norm())


def test_angles() -> None:
    """Position 3, pair 1 of 2 at theta 100: 3 · 100^(-2/4) = 0.3 radians."""
    table = rope_table(4, 4, 100.0)
    assert table.shape == (2, 4, 4)
    cos, sin = torch.tensor([3.0, 0.3]).cos(), torch.tensor([3.0, 0.3]).sin()
    expected = torch.stack([torch.cat([cos, cos]), torch.cat([-sin, sin])])
    torch.testing.assert_close(table[:, 3], expected)


def test_pairs_are_half_a_head_apart() -> None:
    x = torch.tensor([1.0, 0.0, 0.0, 0.0])
    turned = apply_rope(x[None, None, None], torch.zeros(4), torch.tensor([-1.0, -1, 1, 1]))
    assert turned.flatten().tolist() == [0.0, 0.0, 1.0, 0.0]
