from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.optim import stacked
from groundup.optim.adafactor import Adafactor
from groundup.optim.adamw import AdamW
from groundup.optim.adamw8bit import AdamW8bit
from groundup.optim.lion import Lion
from groundup.optim.muon import Muon
from groundup.optim.stacked import StackedOptimizer

LR, DECAY = 0.05, 0.3


def _make(kind: str, parameters: list[Tensor], *, decay: float, cautious: bool) -> StackedOptimizer:
    settings = {"lr": LR, "weight_decay": decay, "cautious": cautious}
    match kind:
        case "muon":
            return Muon(parameters, [[p.shape[0]] for p in parameters], **settings)
        case "adamw":
            return AdamW(parameters, **settings)
        case "lion":
            return Lion(parameters, **settings)
        case "adafactor":
            return Adafactor(parameters, **settings)
        case _:
            return AdamW8bit(parameters, **settings)


KINDS = ["muon", "adamw", "lion", "adafactor", "adamw8bit"]
SHAPES = [(64, 66), (12, 8), (12, 8), (12, 8), (8, 12)]


def _parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


def _run(kind: str, *, decay: float, cautious: bool, n_steps: int) -> list[list[Tensor]]:
    """The parameters before each step and after the last."""
    parameters = _parameters()
    optimizer = _make(kind, parameters, decay=decay, cautious=cautious)
    generator = torch.Generator().manual_seed(8)
    values = [[p.detach().clone() for p in parameters]]
    for _ in range(n_steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            parameter.grad[0] = 0.0
        optimizer.step()
        values.append([p.detach().clone() for p in parameters])
    return values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cautious", [False, True])
def test_weights_are_decayed_beside_the_update(kind: str, cautious: bool) -> None:
    """Gradients do not depend on the weights here, so that the updates are those without decay."""
    free = _run(kind, decay=0.0, cautious=False, n_steps=4)
    decayed = _run(kind, decay=DECAY, cautious=cautious, n_steps=4)
    n_spared = 0
    for step in range(4):
        for index in range(len(SHAPES)):
            update = (free[step][index] - free[step + 1][index]) / LR
            before = decayed[step][index]
            # where the update is smaller than the rounding of its difference, its sign is unknown
            known = update.abs() > 1e-4
            spared = (update * before <= 0) if cautious else torch.zeros_like(before).bool()
            n_spared += int((spared & known).sum())
            expected = before - LR * (update + DECAY * torch.where(spared, 0.0, before))
            after = decayed[step + 1][index]
            torch.testing.assert_close(after[known], expected[known], rtol=1e-4, atol=1e-5)
    assert (n_spared > 0) == cautious


def test_an_entry_without_an_update_is_spared_where_decay_is_cautious() -> None:
    for cautious, expected in ((True, 2.0), (False, 2.0 * (1 - LR * DECAY))):
        parameter = torch.full((3,), 2.0, requires_grad=True)
        parameter.grad = torch.zeros(3)
        _make("lion", [parameter], decay=DECAY, cautious=cautious).step()
        torch.testing.assert_close(parameter.detach(), torch.full((3,), expected))


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_a_stack_does_not_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = _run(kind, decay=DECAY, cautious=True, n_steps=3)[-1]
    monkeypatch.setattr(stacked, "STACKED_ENTRIES", 200)  # two of the small ones
    apart = _run(kind, decay=DECAY, cautious=True, n_steps=3)[-1]
    torch.testing.assert_close(apart, together)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_left_as_they_are(kind: str) -> None:
    parameters = _parameters()
    optimizer = _make(kind, parameters, decay=DECAY, cautious=False)
    gradients = [torch.randn(parameter.shape) for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_gradient_stays(kind: str) -> None:
    parameters = _parameters()
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters[:3]:
        parameter.grad = torch.ones_like(parameter)
    optimizer = _make(kind, parameters, decay=DECAY, cautious=False)
    optimizer.step()
    changed = [not torch.equal(a, b) for a, b in zip(parameters, before, strict=True)]
    assert changed == [True, True, True, False, False]
    assert [parameter in optimizer.state for parameter in parameters] == changed


@pytest.mark.parametrize("kind", KINDS)
def test_lr_zero_moves_nothing(kind: str) -> None:
    parameters = _parameters()
    optimizer = _make(kind, parameters, decay=DECAY, cautious=False)
    optimizer.param_groups[0]["lr"] = 0.0
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(parameters, _parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_waits_for_a_value(kind: str) -> None:
    """Tensors without values make whoever asks for one raise, as a device would make him wait."""
    parameters = [p.detach().to("meta").requires_grad_() for p in _parameters()]
    optimizer = _make(kind, parameters, decay=DECAY, cautious=True)
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer.found_inf = torch.empty((), device="meta")
    with pytest.raises(RuntimeError):
        optimizer.found_inf.item()
    optimizer.step()
    assert all(optimizer.state[parameter] for parameter in parameters)
