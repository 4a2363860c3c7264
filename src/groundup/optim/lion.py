"""Lion: every entry moves by the same length, in the direction that momentum and gradient agree on.

g   gradient      m   momentum
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from groundup.optim.stacked import Entry, Layout, StackedOptimizer, State


class Lion(StackedOptimizer):
    """Lion (Chen et al., 2023): half of AdamW's state, and no division.

    update = sign(β₁m + (1-β₁)g)      m ← β₂m + (1-β₂)g
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        cautious: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas}
        super().__init__(
            parameters, {**defaults, "weight_decay": weight_decay, "cautious": cautious}
        )

    def state_layout(self, parameter: Tensor) -> Layout:
        """The momentum."""
        return {"exp_avg": Entry(parameter.shape, parameter.dtype)}

    def update(
        self, parameters: list[Tensor], gradients: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """gradients: (n, *shape) -> (n, *shape), and the next state"""
        beta1, beta2 = group["betas"]
        momentum = state["exp_avg"]
        update = momentum.lerp(gradients, 1 - beta1).sign_()
        return update, {"exp_avg": momentum.lerp(gradients, 1 - beta2)}
