"""Adafactor: the second moments of a matrix from the means of its rows and of its columns.

g   gradient      v   mean of g²      r, c   means of v over a row, over a column      t   step
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from groundup.optim.stacked import SCALAR, Entry, Layout, StackedOptimizer, State, per_tensor


class Adafactor(StackedOptimizer):
    """Adafactor (Shazeer and Stern, 2018), with the learning rate given from outside.

    r ← β₂r + (1-β₂) mean over columns of (g² + eps), c likewise over rows, β₂ = 1 - t^(-decay_rate)
    v = r cᵀ / mean(r)      u = g / sqrt(v)      update = u / max(1, rms(u) / clip)

    A parameter of one dimension keeps v itself. With `beta1` the update is averaged over time.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        beta1: float | None = None,
        decay_rate: float = 0.8,
        eps: float = 1e-30,
        clip: float = 1.0,
        weight_decay: float = 0.0,
        cautious: bool = False,
    ) -> None:
        moments = {"beta1": beta1, "decay_rate": decay_rate, "eps": eps, "clip": clip}
        decay = {"weight_decay": weight_decay, "cautious": cautious}
        super().__init__(parameters, {"lr": lr, **moments, **decay})

    def state_layout(self, parameter: Tensor) -> Layout:
        """A count, and rows and columns or, for a vector, every entry."""
        shape, dtype = parameter.shape, parameter.dtype
        layout = {"step": SCALAR}
        if parameter.ndim >= 2:
            layout["exp_avg_sq_row"] = Entry(shape[:-1], dtype)
            layout["exp_avg_sq_col"] = Entry(shape[:-2] + shape[-1:], dtype)
        else:
            layout["exp_avg_sq"] = Entry(shape, dtype)
        if self.defaults["beta1"] is not None:
            layout["exp_avg"] = Entry(shape, dtype)
        return layout

    def update(
        self, parameters: list[Tensor], gradients: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """gradients: (n, *shape) -> (n, *shape), and the next state"""
        after = {"step": state["step"] + 1}
        weight = after["step"].pow(-group["decay_rate"])  # 1 - β₂: (n,)
        squares = gradients.square().add_(group["eps"])

        def averaged(entry: str, new: Tensor) -> Tensor:
            after[entry] = torch.lerp(state[entry], new, per_tensor(weight, new).to(new.dtype))
            return after[entry]

        if gradients.ndim >= 3:  # n matrices, or n stacks of them
            rows = averaged("exp_avg_sq_row", squares.mean(-1))
            columns = averaged("exp_avg_sq_col", squares.mean(-2))
            by_row = (rows / rows.mean(-1, keepdim=True)).rsqrt_().unsqueeze(-1)
            update = gradients * by_row * columns.rsqrt().unsqueeze(-2)
        else:
            update = gradients * averaged("exp_avg_sq", squares).rsqrt()
        size = update.reshape(len(update), -1).square().mean(1).sqrt_()  # (n,)
        update.div_(per_tensor((size / group["clip"]).clamp_(min=1.0), update))
        if group["beta1"] is not None:
            after["exp_avg"] = state["exp_avg"].lerp(update, 1 - group["beta1"])
            update = after["exp_avg"].clone()
        return update, after
