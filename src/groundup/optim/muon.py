"""Muon: momentum whose matrix is replaced by the nearest orthogonal one before the step.

G   gradient      M   momentum      O   the update, U Vᵀ for M = U Σ Vᵀ, found without an SVD
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

# The quintic of Jordan et al. (2024): steep at 0, so that small singular values grow fast.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, n_steps: int = 5) -> Tensor:
    """Push every singular value towards 1 by Newton-Schulz steps (Jordan et al., 2024).

    matrices: (n, rows, columns) -> (n, rows, columns), singular values about 0.7 to 1.2

    X ← aX + (bA + cA²)X with A = XXᵀ moves each singular value σ to aσ + bσ³ + cσ⁵ and leaves the
    singular vectors as they are.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    if matrices.device.type == "cuda":
        x = x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(n_steps):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for the hidden matrices (Jordan et al., 2024).

    The update has the root mean square that AdamW's usually has, 0.2 for every entry: O is scaled
    by 0.2 · sqrt(max(rows, columns)) (Liu et al., 2025), so one learning rate and one weight decay
    serve both optimizers. A parameter that holds several matrices stacked by rows (queries, keys
    and values; gate and up) names their row counts in `splits`, and each is treated on its own.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        splits: Sequence[Sequence[int]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)
        self.splits = [list(rows) for rows in splits]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; matrices of one shape are orthogonalised together."""
        group = self.param_groups[0]
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, rows in zip(group["params"], self.splits, strict=True):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            nesterov = parameter.grad.lerp(momentum, group["momentum"])
            pieces = zip(parameter.split(rows), nesterov.split(rows), strict=True)
            for target, update in pieces:
                by_shape[target.shape].append((target, update))
        for shape, pairs in by_shape.items():
            updates = orthogonalize(torch.stack([update for _, update in pairs]))
            scale = group["lr"] * 0.2 * max(shape) ** 0.5
            for (target, _), update in zip(pairs, updates, strict=True):
                target.mul_(1 - group["lr"] * group["weight_decay"])
                target.add_(update, alpha=-scale)
