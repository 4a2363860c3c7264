from __future__ import annotations

import torch

from groundup.optim.lion import Lion


def test_two_steps_by_hand() -> None:
    parameter = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    lion = Lion([parameter], lr=0.1, betas=(0.5, 0.75), weight_decay=0.2)
    parameter.grad = torch.tensor([4.0, -8.0, 0.0])
    lion.step()
    # sign(g / 2) = (1, -1, 0); θ - 0.1 (sign + 0.2 θ); m = g / 4
    expected = torch.tensor([1 - 0.12, -2 + 0.14, 0.5 - 0.01])
    torch.testing.assert_close(parameter.detach(), expected)
    torch.testing.assert_close(lion.state[parameter]["exp_avg"], torch.tensor([1.0, -2.0, 0.0]))
    parameter.grad = torch.tensor([-2.0, 1.0, -1.0])
    lion.step()
    # m/2 + g/2 = (-0.5, -0.5, -0.5)
    torch.testing.assert_close(parameter.detach(), expected - 0.1 * (-1 + 0.2 * expected))
    momentum = torch.tensor([0.75 - 0.5, -1.5 + 0.25, -0.25])
    torch.testing.assert_close(lion.state[parameter]["exp_avg"], momentum)


def test_it_is_the_papers_program() -> None:
    """Algorithm 2 of Chen et al. (2023), line by line, in float64."""
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(3, 5, 8, generator=generator, dtype=torch.float64)
    parameters = [value.clone().requires_grad_() for value in start]
    lion = Lion(parameters, lr=3e-3, weight_decay=0.5)
    theta, m = start.clone(), torch.zeros_like(start)
    for step in range(20):
        lr = 3e-3 / (1 + step)
        lion.param_groups[0]["lr"] = lr
        g = torch.randn(3, 5, 8, generator=generator, dtype=torch.float64)
        for parameter, gradient in zip(parameters, g, strict=True):
            parameter.grad = gradient.clone()
        lion.step()
        c = 0.9 * m + (1 - 0.9) * g
        theta = theta - lr * (c.sign() + 0.5 * theta)
        m = 0.99 * m + (1 - 0.99) * g
    torch.testing.assert_close(torch.stack([p.detach() for p in parameters]), theta)
