"""Muon: momentum whose matrix is replaced by the nearest orthogonal one before the step.

G   gradient      M   momentum      O   the update, U Vᵀ for M = U Σ Vᵀ, found without an SVD
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from groundup.optim.stacked import Entry, Layout, StackedOptimizer, State

Polynomial = tuple[float, float, float]

# The quintic of Jordan et al. (2024): steep at 0, so that small singular values grow fast.
QUINTIC: Polynomial = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ = (QUINTIC,) * 5

# Amsel et al. (2025), "The Polar Express": step t has the odd quintic p that keeps |1 - p| smallest
# on the interval [l, u] in which the steps before have left the singular values, from [0.001, 1]
# on. Where l is below 0.0241 u (the first three) it is the best one for [0.0241 u, u], scaled to
# be centred on 1 over all of [l, u]: the best one for all of it is too steep for bfloat16. A test
# derives them.
MINIMAX: tuple[Polynomial, ...] = (
    (8.287212018145626, -23.59588651909882, 17.30038731253092),
    (4.107059111542198, -2.947849916737908, 0.5448431082926598),
    (3.948690853482296, -2.908902115962949, 0.5518191394370134),
    (3.3184196573706, -2.4884880243148744, 0.5100489401237202),
    (2.3006520199548173, -1.66890398457475, 0.4188073119525674),
)
# x is taken 1% smaller, so that rounding cannot push it past the interval, where p diverges.
POLAR_EXPRESS = tuple((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in MINIMAX)


def orthogonalize(matrices: Tensor, polynomials: Sequence[Polynomial] = NEWTON_SCHULZ) -> Tensor:
    """Push every singular value towards 1 by Newton-Schulz steps (Jordan et al., 2024).

    matrices: (n, rows, columns) -> (n, rows, columns), singular values about 0.7 to 1.2, or 0.85 to
    1.15 with POLAR_EXPRESS

    X ← aX + (bA + cA²)X with A = XXᵀ moves each singular value σ to aσ + bσ³ + cσ⁵ and leaves the
    singular vectors as they are.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    if matrices.device.type == "cuda":
        x = x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in polynomials:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(StackedOptimizer):
    """Momentum, orthogonalised, for the hidden matrices (Jordan et al., 2024).

    The update has the root mean square that AdamW's usually has, 0.2 for every entry: O is scaled
    by 0.2 · sqrt(max(rows, columns)) (Liu et al., 2025), so one learning rate and one weight decay
    serve both optimizers. A parameter that holds several matrices stacked by rows (queries, keys
    and values; gate and up) names their row counts in `splits`, and each is treated on its own; so
    is each of the matrices of a parameter with more than two dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        splits: Sequence[Sequence[int]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        cautious: bool = False,
        polynomials: Sequence[Polynomial] = NEWTON_SCHULZ,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, {**defaults, "cautious": cautious})
        self.splits = [list(rows) for rows in splits]
        self.polynomials = tuple(polynomials)
        (group,) = self.param_groups
        self._rows_of = dict(zip(group["params"], self.splits, strict=True))

    def state_layout(self, parameter: Tensor) -> Layout:
        """The momentum."""
        return {"momentum": Entry(parameter.shape, parameter.dtype)}

    def kind(self, parameter: Tensor) -> Hashable:
        """One shape, and the same matrices in it."""
        return super().kind(parameter), tuple(self._rows_of[parameter])

    def update(
        self, parameters: list[Tensor], gradients: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """gradients: (n, …, rows, columns) -> (n, …, rows, columns), and the next momentum"""
        momentum = state["momentum"].lerp(gradients, 1 - group["momentum"])
        nesterov = gradients.lerp(momentum, group["momentum"])
        rows = self._rows_of[parameters[0]]
        updates = self._orthogonal(nesterov.flatten(0, -3).split(rows, dim=-2))
        return torch.cat(updates, dim=-2).view(gradients.shape), {"momentum": momentum}

    def _orthogonal(self, pieces: Sequence[Tensor]) -> list[Tensor]:
        """Pieces (n, rows, columns), orthogonal and scaled; those of one shape go together."""
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for index, piece in enumerate(pieces):
            by_shape[piece.shape].append(index)
        updates: dict[int, Tensor] = {}
        for shape, indices in by_shape.items():
            whole = torch.cat([pieces[index] for index in indices])
            moved = orthogonalize(whole, self.polynomials).mul_(0.2 * max(shape[-2:]) ** 0.5)
            updates.update(zip(indices, moved.chunk(len(indices)), strict=True))
        return [updates[index] for index in range(len(pieces))]
