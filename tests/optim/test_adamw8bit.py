from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.optim import adamw8bit
from groundup.optim.adamw import AdamW
from groundup.optim.adamw8bit import AdamW8bit

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}


def _gradient(shape: tuple[int, ...], step: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step))


def _run(optimizer: type[AdamW] | type[AdamW8bit], shape: tuple[int, ...], n_steps: int) -> Tensor:
    parameter = torch.ones(shape, requires_grad=True)
    moves = optimizer([parameter], **SETTINGS)
    for step in range(n_steps):
        parameter.grad = _gradient(shape, step)
        moves.step()
    return parameter.detach()


def test_small_parameters_are_adamws() -> None:
    assert torch.equal(_run(AdamW8bit, (63, 65), 5), _run(AdamW, (63, 65), 5))


def test_the_first_step_is_adamws() -> None:
    """No rounding has reached the weights yet."""
    torch.testing.assert_close(_run(AdamW8bit, (64, 65), 1), _run(AdamW, (64, 65), 1))


def test_the_state_is_two_bytes_for_an_entry_and_the_scales() -> None:
    parameter = torch.ones(100, 50, requires_grad=True)
    optimizer = AdamW8bit([parameter], **SETTINGS)
    parameter.grad = _gradient((100, 50), 0)
    optimizer.step()
    state = optimizer.state[parameter]
    assert {key: (value.shape, value.dtype) for key, value in state.items()} == {
        "step": ((), torch.float32),
        "exp_avg_codes": ((100, 50), torch.uint8),
        "exp_avg_scales": ((20,), torch.float32),
        "exp_avg_sq_codes": ((100, 50), torch.uint8),
        "exp_avg_sq_scales": ((20,), torch.float32),
    }
    first, second = optimizer._books(parameter.device)
    codes = [state[f"{moment}_codes"].view(1, -1) for moment in ("exp_avg", "exp_avg_sq")]
    scales = [state[f"{moment}_scales"].view(1, -1) for moment in ("exp_avg", "exp_avg_sq")]
    gradient = _gradient((100, 50), 0).view(1, -1)
    m, v = first.dequantize(codes[0], scales[0]), second.dequantize(codes[1], scales[1])
    limit_m = 0.45 / 64 * scales[0].max()
    limit_v = 0.45 / 128 * scales[1].max()
    assert (m - 0.1 * gradient).abs().max() <= limit_m * 1.001
    assert (v - 0.05 * gradient**2).abs().max() <= limit_v * 1.001


def test_it_follows_adamw() -> None:
    """Least squares from the same start: the losses stay within a few per cent all the way down."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 64, generator=generator)
    targets = inputs @ torch.randn(64, 80, generator=generator)
    curves = []
    for kind in (AdamW, AdamW8bit):
        weight = torch.zeros(64, 80, requires_grad=True)
        optimizer = kind([weight], lr=0.02, betas=(0.9, 0.95))
        losses = []
        for _ in range(100):
            loss = (inputs @ weight - targets).square().mean()
            (weight.grad,) = torch.autograd.grad(loss, [weight])
            optimizer.step()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    plain, quantized = curves
    assert plain[-1] < 0.02 * plain[0]
    torch.testing.assert_close(quantized, plain, rtol=0.03, atol=0.002 * plain[0].item())


def test_entries_of_all_sizes_in_one_block_move_no_further_than_adamw_lets_them() -> None:
    """A second moment that rounded to 0 would throw its entry far away."""
    sizes = torch.logspace(-9, 0, 4096)
    parameter = torch.zeros(4096, requires_grad=True)
    optimizer = AdamW8bit([parameter], lr=1.0, betas=(0.9, 0.95))
    for step in range(20):
        before = parameter.detach().clone()
        parameter.grad = sizes[torch.randperm(4096, generator=torch.Generator().manual_seed(step))]
        optimizer.step()
        # √v ≥ √(1-β₂) |g|, in float32; a few per cent more with v and m in 8 bits
        assert (parameter.detach() - before).abs().max() < 5


def test_large_parameters_are_taken_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _run(AdamW8bit, (90, 100), 4)
    monkeypatch.setattr(adamw8bit, "STACKED_ENTRIES", 2048)
    assert torch.equal(_run(AdamW8bit, (90, 100), 4), whole)


def test_several_of_one_shape_are_those_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    starts = torch.randn(3, 70, 60, generator=generator)
    together = [start.clone().requires_grad_() for start in starts]
    optimizer = AdamW8bit(together, **SETTINGS)
    alone = [start.clone().requires_grad_() for start in starts]
    others = [AdamW8bit([parameter], **SETTINGS) for parameter in alone]
    for step in range(3):
        for index, (a, b) in enumerate(zip(together, alone, strict=True)):
            a.grad = b.grad = _gradient((70, 60), 10 * step + index)
        optimizer.step()
        for other in others:
            other.step()
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a, b)
