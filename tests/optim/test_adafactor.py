from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from groundup.optim.adafactor import Adafactor

SHAPES = [(7,), (5, 6), (5, 6), (2, 3, 4)]


def _parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"beta1": 0.9}, {"beta1": 0.9}),
        ({"weight_decay": 0.1}, {"weight_decay": 0.1}),
        ({"decay_rate": 0.6, "clip": 0.5}, {"decay_rate": -0.6, "clip_threshold": 0.5}),
        ({"eps": 1e-2}, {"eps": (1e-2, 1e-3)}),
    ],
    ids=["plain", "momentum", "decay", "clip", "eps"],
)
def test_it_is_that_of_transformers(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    mine, reference = _parameters(), _parameters()
    optimizer = Adafactor(mine, lr=0.02, **ours)
    other = transformers.Adafactor(
        reference, lr=0.02, scale_parameter=False, relative_step=False, **theirs
    )
    generator = torch.Generator().manual_seed(4)
    for step in range(8):
        for a, b in zip(mine, reference, strict=True):
            scale = 10.0 ** (step % 3)  # gradients that grow, so that clipping has work to do
            a.grad = torch.randn(a.shape, generator=generator) * scale
            b.grad = a.grad.clone()
        optimizer.step()
        other.step()
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        for entry in optimizer.state_layout(a).keys() - {"step", "exp_avg"}:
            torch.testing.assert_close(optimizer.state[a][entry], other.state[b][entry])


def test_a_matrix_of_one_rank_is_known_exactly() -> None:
    """Where g² = r cᵀ the factored second moment loses nothing: the update is the sign of g."""
    g = torch.tensor([1.0, -2.0, 3.0])[:, None] * torch.tensor([0.1, 5.0, -1.0, 2.0])
    parameter = torch.zeros(3, 4, requires_grad=True)
    parameter.grad = g.clone()
    Adafactor([parameter], lr=0.1).step()
    torch.testing.assert_close(parameter.detach(), -0.1 * g.sign())


def test_no_update_is_larger_than_the_clip() -> None:
    parameter = torch.zeros(6, 8, requires_grad=True)
    optimizer = Adafactor([parameter], lr=1.0, clip=0.25)
    parameter.grad = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert parameter.square().mean().sqrt().item() == pytest.approx(0.25, rel=1e-5)


def test_entries_without_gradient_do_not_move() -> None:
    parameter = torch.ones(3, 4, requires_grad=True)
    parameter.grad = torch.zeros(3, 4)
    Adafactor([parameter], lr=0.1).step()
    assert torch.equal(parameter.detach(), torch.ones(3, 4))


def test_a_single_number_is_a_vector_of_one() -> None:
    parameter = torch.tensor(2.0, requires_grad=True)
    parameter.grad = torch.tensor(-3.0)
    Adafactor([parameter], lr=0.5).step()
    assert parameter.item() == pytest.approx(2.5)
