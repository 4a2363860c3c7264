"""AdamW, twice: torch's fused one, and the formula written out, which can decay cautiously.

g   gradient      m   mean of g      v   mean of g²      t   steps taken
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from groundup.optim.stacked import SCALAR, Entry, Layout, StackedOptimizer, State, per_tensor


class FusedAdamW(torch.optim.AdamW):
    """torch's AdamW, all of a step in one kernel."""

    found_inf: Tensor | None = None

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        super().__init__(groups, lr=lr, betas=betas, eps=eps, fused=True)

    def state_layout(self, parameter: Tensor) -> Layout:
        """Two moments and a count."""
        return adamw_layout(parameter)


class AdamW(StackedOptimizer):
    """AdamW (Loshchilov and Hutter, 2019) for what the fused kernel cannot do.

    m ← β₁m + (1-β₁)g      v ← β₂v + (1-β₂)g²
    update = m̂ / (sqrt(v̂) + eps)      m̂ = m / (1-β₁ᵗ)      v̂ = v / (1-β₂ᵗ)
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        cautious: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps}
        super().__init__(
            parameters, {**defaults, "weight_decay": weight_decay, "cautious": cautious}
        )

    def state_layout(self, parameter: Tensor) -> Layout:
        """Two moments and a count."""
        return adamw_layout(parameter)

    def update(
        self, parameters: list[Tensor], gradients: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """gradients: (n, *shape) -> (n, *shape), and the next state"""
        return adamw_update(gradients, state, betas=group["betas"], eps=group["eps"])


def adamw_layout(parameter: Tensor) -> Layout:
    """The names that torch's AdamW gives its state."""
    moment = Entry(parameter.shape, parameter.dtype)
    return {"step": SCALAR, "exp_avg": moment, "exp_avg_sq": moment}


def adamw_update(
    gradients: Tensor, state: State, *, betas: tuple[float, float], eps: float
) -> tuple[Tensor, State]:
    """AdamW's formula. gradients: (n, *shape) -> (n, *shape), and the next state"""
    step = state["step"] + 1
    first = state["exp_avg"].lerp(gradients, 1 - betas[0])
    second = (state["exp_avg_sq"] * betas[1]).addcmul_(gradients, gradients, value=1 - betas[1])
    unbias_first, unbias_second = (
        per_tensor(_one_minus_power(beta, step), gradients) for beta in betas
    )
    denominator = (second / unbias_second).sqrt_().add_(eps).mul_(unbias_first)
    after = {"step": step, "exp_avg": first, "exp_avg_sq": second}
    return torch.div(first, denominator, out=denominator), after


def _one_minus_power(beta: float, step: Tensor) -> Tensor:
    """1 - betaᵗ, exact where betaᵗ is near 1. step: (n,) -> (n,)"""
    return -torch.expm1(step * (math.log(beta) if beta else -math.inf))
