from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.optim.muon import (
    MINIMAX,
    POLAR_EXPRESS,
    QUINTIC,
    Muon,
    Polynomial,
    orthogonalize,
)

SHAPES = [(32, 32), (16, 64), (64, 16), (1, 8), (96, 32)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_singular_values_are_pushed_towards_one(shape: tuple[int, int], scale: float) -> None:
    matrices = scale * torch.randn(6, *shape)
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_vectors_stay(shape: tuple[int, int]) -> None:
    """Uᵀ O V is diagonal, and its entries are the quintic's, five times over, of each Σ."""
    matrix = torch.randn(shape, dtype=torch.float64)
    u, sigma, vh = torch.linalg.svd(matrix, full_matrices=False)
    expected = sigma / sigma.norm()
    a, b, c = QUINTIC
    for _ in range(5):
        expected = a * expected + b * expected**3 + c * expected**5
    turned = u.T @ orthogonalize(matrix[None])[0] @ vh.T
    torch.testing.assert_close(turned, expected.diag(), rtol=1e-4, atol=1e-5)


def test_each_matrix_of_a_batch_is_on_its_own() -> None:
    matrices = torch.randn(3, 8, 20) * torch.tensor([1e-3, 1, 1e3])[:, None, None]
    together = orthogonalize(matrices)
    for matrix, result in zip(matrices, together, strict=True):
        torch.testing.assert_close(orthogonalize(matrix[None])[0], result)


def test_no_gradient_no_direction() -> None:
    assert torch.equal(orthogonalize(torch.zeros(1, 4, 6)), torch.zeros(1, 4, 6))


# --- Polar Express --------------------------------------------------------------------------------


def _odd(polynomial: Polynomial, x: float) -> float:
    a, b, c = polynomial
    return a * x + b * x**3 + c * x**5


def _minimax_quintic(low: float, high: float) -> Polynomial:
    """The odd quintic with the least max |1 - p| on [low, high], by Remez' exchange.

    Its error has one size and changes sign at four points: both ends, and the two in between where
    p' is 0.
    """
    start = [low, (3 * low + high) / 4, (low + 3 * high) / 4, high]
    points = torch.tensor(start, dtype=torch.float64)
    signs = torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    for _ in range(30):
        system = torch.stack([points, points**3, points**5, signs], dim=1)
        a, b, c, _ = torch.linalg.solve(system, torch.ones(4).double()).tolist()
        root = (9 * b * b - 20 * a * c) ** 0.5
        points[1] = ((-3 * b - root) / (10 * c)) ** 0.5
        points[2] = ((-3 * b + root) / (10 * c)) ** 0.5
    return a, b, c


def test_the_polynomials_of_polar_express_are_minimax_each_on_what_the_last_one_left() -> None:
    low, high, cushion = 1e-3, 1.0, 0.02407327424182761
    for step, polynomial in enumerate(MINIMAX):
        a, b, c = _minimax_quintic(max(low, cushion * high), high)
        ends = _odd((a, b, c), low) + _odd((a, b, c), high)
        centre = 2 / ends if low < cushion * high else 1.0
        assert (centre != 1) == (step < 3)
        assert polynomial == pytest.approx((a * centre, b * centre, c * centre), rel=1e-9)
        low, high = _odd(polynomial, low), 2 - _odd(polynomial, low)


def test_polar_express_leaves_less_to_be_wished_for() -> None:
    """Over the whole interval: within 16% of 1, where one quintic five times is off by half."""
    x = torch.logspace(-3, 0, 2000, dtype=torch.float64)
    polar, quintic = x.clone(), x.clone()
    for a, b, c in POLAR_EXPRESS:
        polar = a * polar + b * polar**3 + c * polar**5
        quintic = QUINTIC[0] * quintic + QUINTIC[1] * quintic**3 + QUINTIC[2] * quintic**5
    assert (polar - 1).abs().max() < 0.16
    assert (quintic - 1).abs().max() > 0.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_polar_express_on_matrices_is_its_polynomials_on_singular_values(
    shape: tuple[int, int], scale: float
) -> None:
    matrix = scale * torch.randn(shape)
    u, sigma, vh = torch.linalg.svd(matrix, full_matrices=False)
    expected = sigma / (sigma.norm() + 1e-7)
    for a, b, c in POLAR_EXPRESS:
        expected = a * expected + b * expected**3 + c * expected**5
    turned = u.T @ orthogonalize(matrix[None], POLAR_EXPRESS)[0] @ vh.T
    torch.testing.assert_close(turned, expected.diag(), rtol=1e-3, atol=1e-4)


# --- the optimizer --------------------------------------------------------------------------------


def _parameter(value: Tensor, gradient: Tensor) -> Tensor:
    parameter = value.clone().requires_grad_()
    parameter.grad = gradient.clone()
    return parameter


def test_two_steps_by_hand() -> None:
    lr, momentum, weight_decay = 0.03, 0.9, 0.1
    start, gradients = torch.randn(8, 24), torch.randn(2, 8, 24)
    parameter = _parameter(start, gradients[0])
    muon = Muon([parameter], [[8]], lr=lr, momentum=momentum, weight_decay=weight_decay)
    expected, average = start.clone(), torch.zeros(8, 24)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        muon.step()
        average = momentum * average + (1 - momentum) * gradient
        nesterov = momentum * average + (1 - momentum) * gradient
        update = orthogonalize(nesterov[None])[0]
        expected = expected * (1 - lr * weight_decay) - lr * 0.2 * 24**0.5 * update
    torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("shape", [(32, 32), (16, 64), (128, 32)])
def test_the_update_is_as_large_as_adamws(shape: tuple[int, int]) -> None:
    parameter = _parameter(torch.zeros(shape), torch.randn(shape))
    Muon([parameter], [[shape[0]]], lr=0.01).step()
    assert parameter.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.2)


def test_stacked_matrices_are_those_apart() -> None:
    """Queries, keys and values stacked move as three parameters of their own would."""
    rows = (16, 8, 8)
    start, gradients = torch.randn(32, 16), torch.randn(2, 32, 16)
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    stacked = _parameter(start, gradients[0])
    parts = [_parameter(part, part) for part in start.split(rows)]
    together = Muon([stacked], [rows], **settings)
    apart = Muon(parts, [[len(part)] for part in parts], **settings)
    for gradient in gradients:
        stacked.grad = gradient.clone()
        for part, piece in zip(parts, gradient.split(rows), strict=True):
            part.grad = piece.clone()
        together.step()
        apart.step()
    torch.testing.assert_close(stacked, torch.cat(parts))
    as_one = _parameter(start, gradients[0])
    Muon([as_one], [[32]], **settings).step()
    whole = _parameter(start, gradients[0])
    Muon([whole], [rows], **settings).step()
    assert not torch.allclose(as_one, whole)


def test_what_has_no_gradient_stays() -> None:
    moved, still = _parameter(torch.ones(4, 4), torch.randn(4, 4)), torch.ones(4, 4)
    Muon([moved, still.requires_grad_()], [[4], [4]], lr=0.1, weight_decay=0.1).step()
    assert not torch.equal(moved, torch.ones(4, 4))
    assert torch.equal(still, torch.ones(4, 4))


def test_matrices_of_a_parameter_with_three_dimensions_are_those_apart() -> None:
    """A stack of experts moves as its experts would, each of them split by rows."""
    rows = (8, 8)
    start, gradient = torch.randn(3, 16, 12), torch.randn(3, 16, 12)
    stacked = _parameter(start, gradient)
    apart = [_parameter(*pair) for pair in zip(start, gradient, strict=True)]
    Muon([stacked], [rows], lr=0.02, weight_decay=0.1).step()
    Muon(apart, [rows] * 3, lr=0.02, weight_decay=0.1).step()
    torch.testing.assert_close(stacked, torch.stack(apart))


def test_parameters_of_one_shape_but_other_matrices_are_not_mixed() -> None:
    start, gradient = torch.randn(16, 12), torch.randn(16, 12)
    whole, halves = _parameter(start, gradient), _parameter(start, gradient)
    Muon([whole, halves], [[16], [8, 8]], lr=0.02).step()
    alone = _parameter(start, gradient)
    Muon([alone], [[8, 8]], lr=0.02).step()
    torch.testing.assert_close(halves, alone)
    assert not torch.allclose(whole, halves)
