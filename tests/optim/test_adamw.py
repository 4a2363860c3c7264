from __future__ import annotations

import pytest
import torch

from groundup.optim.adamw import AdamW, FusedAdamW, adamw_update

SHAPES = [(), (7,), (5, 6), (5, 6), (2, 3, 4)]


def _parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.0, 0.999), (0.9, 0.0)])
def test_it_is_torchs(betas: tuple[float, float]) -> None:
    ours, theirs = _parameters(), _parameters()
    settings = {"lr": 0.01, "betas": betas, "eps": 1e-8, "weight_decay": 0.1}
    mine = AdamW(ours, **settings)
    reference = torch.optim.AdamW(theirs, **settings)
    generator = torch.Generator().manual_seed(4)
    for step in range(6):
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(a.shape, generator=generator)
            # the second matrix has no gradient every other step: its count of steps lags behind
            a.grad = b.grad = None if index == 3 and step % 2 else gradient
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        for entry, value in reference.state[b].items():
            torch.testing.assert_close(mine.state[a][entry], value)


def test_fused_is_the_formula() -> None:
    ours, theirs = _parameters(), _parameters()
    mine = AdamW(ours, lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    groups = [{"params": theirs, "weight_decay": 0.1}]
    fused = FusedAdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = b.grad = torch.randn(a.shape, generator=generator)
        mine.step()
        fused.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        assert mine.state_layout(a) == fused.state_layout(b)


def test_the_first_steps_of_a_slow_average_are_exact() -> None:
    """1 - βᵗ for β near 1 must not lose its digits: the update is the sign of the gradient."""
    gradient = torch.full((1, 3), 1e-3)
    state = {"step": torch.zeros(1), "exp_avg": torch.zeros(1, 3), "exp_avg_sq": torch.zeros(1, 3)}
    update, after = adamw_update(gradient, state, betas=(0.9999, 0.99999), eps=1e-12)
    torch.testing.assert_close(update, torch.ones(1, 3), rtol=2e-6, atol=0)
    assert after["step"].item() == 1
    assert state["step"].item() == 0
