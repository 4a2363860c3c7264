"""Cross-entropy of the next token, straight from hidden states, a block of rows at a time.

h    hidden states (n, d_model)      W    output projection (n_rows, d_model)
y    labels (n,)                     z    a token's logits, h Wᵀ       p    softmax(z)
S    log Σ_i exp(z_i)                λ    weight of the z-loss

    L_t = S - z_y                    ∂L_t/∂z = p - onehot(y)
    Z_t = S²                         ∂Z_t/∂z = 2 S p

All n rows of logits would take n · vocab_size numbers, more than the rest of a small model does.
Here a block of rows is projected, turned into its losses and gradients, and forgotten, so that
memory does not grow with n · vocab_size. `Decoder.forward(labels=…)` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A block of logits is to stay in a CPU's caches; on an accelerator it has to fill the machine.
BLOCK_BYTES = {"cpu": 16 << 20}
BLOCK_BYTES_ACCELERATOR = 512 << 20


@dataclass(frozen=True)
class Labels:
    """What `Decoder.forward` is to compare its predictions with.

    ids: (n,) int64, the token that follows at each selected place.
    per_token: give every token's loss, not their sum.
    z_weight: λ, of the sum alone.
    """

    ids: Tensor
    per_token: bool = False
    z_weight: float = 0.0

    def loss(self, hidden: Tensor, weight: Tensor, vocab_size: int) -> Tensor:
        """hidden: (n, d_model), weight: (n_rows, d_model) -> (n,), or (2,) as `summed_loss`."""
        if self.per_token:
            return token_losses(hidden, weight, self.ids, vocab_size=vocab_size)
        return summed_loss(hidden, weight, self.ids, vocab_size=vocab_size, z_weight=self.z_weight)


def summed_loss(
    hidden: Tensor, weight: Tensor, labels: Tensor, *, vocab_size: int, z_weight: float = 0.0
) -> Tensor:
    """Σ (L_t + λ Z_t) and, without gradient, Σ L_t: (n, d_model), (n_rows, d_model), (n,) -> (2,).

    Rows of `weight` from `vocab_size` on are padding: no probability, no gradient. `z_weight` is λ
    (Chowdhery et al., 2022, use 1e-4): it keeps S near 0. A block's gradients are made while its
    logits are at hand: three matrix products in all, none of them twice.

    >>> h, W = torch.zeros(3, 2), torch.ones(4, 2)  # four equal logits: log 4 for each token
    >>> round(summed_loss(h, W, torch.tensor([0, 1, 2]), vocab_size=4)[0].item() / 3, 4)
    1.3863
    """
    sums: Tensor = _SummedLoss.apply(hidden, weight, labels, vocab_size, z_weight)
    return sums


def token_losses(hidden: Tensor, weight: Tensor, labels: Tensor, *, vocab_size: int) -> Tensor:
    """L_t of each token: (n, d_model), (n_rows, d_model), (n,) -> (n,).

    How much each token's loss counts is known in the backward pass only, so the logits are computed
    a second time there.
    """
    losses: Tensor = _TokenLosses.apply(hidden, weight, labels, vocab_size)
    return losses


class _SummedLoss(torch.autograd.Function):
    """Gradients are made in the forward pass and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, vocab_size: int, z_weight: float
    ) -> Tensor:
        wants_gradient = any(ctx.needs_input_grad)
        hidden, weight = _in_compute_type(hidden, weight)
        sums = torch.zeros(2, device=hidden.device)
        gradients = _Gradients(hidden, weight) if wants_gradient else None
        for rows, log_p, log_sum in _blocks(hidden, weight, labels, vocab_size):
            index = labels[rows, None]
            z_loss = z_weight * log_sum.square().sum() if z_weight else 0
            loss = -log_p.gather(1, index).sum()
            sums += torch.stack([loss + z_loss, loss])
            if gradients is not None:
                p = log_p.exp_()
                if z_weight:
                    p.mul_(1 + 2 * z_weight * log_sum)
                p.scatter_add_(1, index, p.new_full(index.shape, -1.0))
                gradients.add(rows, p)
        if gradients is not None:
            ctx.save_for_backward(gradients.hidden, gradients.weight)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = ctx.saved_tensors
        assert not hasattr(ctx, "is_spent"), "the gradients are scaled in place, once"
        ctx.is_spent = True
        return of_hidden.mul_(grad[0]), of_weight.mul_(grad[0]), None, None, None


class _TokenLosses(torch.autograd.Function):
    """Nothing of the logits is kept; the backward pass makes them again."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, vocab_size: int
    ) -> Tensor:
        hidden, weight = _in_compute_type(hidden, weight)
        ctx.save_for_backward(hidden, weight, labels)
        ctx.vocab_size = vocab_size
        losses = torch.empty(len(labels), device=hidden.device)
        for rows, log_p, _ in _blocks(hidden, weight, labels, vocab_size):
            losses[rows] = -log_p.gather(1, labels[rows, None]).squeeze(1)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, labels = ctx.saved_tensors
        gradients = _Gradients(hidden, weight)
        for rows, log_p, _ in _blocks(hidden, weight, labels, ctx.vocab_size):
            index = labels[rows, None]
            p = log_p.exp_()
            p.scatter_add_(1, index, p.new_full(index.shape, -1.0))
            gradients.add(rows, p.mul_(grad[rows, None]))
        return gradients.hidden, gradients.weight, None, None


def _in_compute_type(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both as the matrix products want them: the type of autocast, where it is on."""
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    return hidden.to(dtype), weight.to(dtype)


def _blocks(
    hidden: Tensor, weight: Tensor, labels: Tensor, vocab_size: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Blocks of rows: (which, log p in float32 (rows, n_rows of weight), S (rows, 1))."""
    block_bytes = BLOCK_BYTES.get(hidden.device.type, BLOCK_BYTES_ACCELERATOR)
    size = max(64, block_bytes // (4 * len(weight)))
    with torch.autocast(hidden.device.type, enabled=False):
        for first in range(0, len(labels), size):
            rows = slice(first, min(first + size, len(labels)))
            z = (hidden[rows] @ weight.t()).float()
            z[:, vocab_size:] = float("-inf")
            log_p = torch.log_softmax(z, dim=-1)
            index = labels[rows, None]
            yield rows, log_p, z.gather(1, index) - log_p.gather(1, index)


class _Gradients:
    """Gradients of `hidden` and `weight`, gathered by blocks; that of the weight in float32."""

    def __init__(self, hidden: Tensor, weight: Tensor) -> None:
        self.of_hidden, self.of_weight = hidden, weight
        self.hidden = torch.empty_like(hidden)
        self.weight = torch.zeros_like(weight, dtype=torch.float32)

    def add(self, rows: slice, grad_z: Tensor) -> None:
        """grad_z: (rows, n_rows of weight), the loss's gradient with respect to the logits."""
        grad_z = grad_z.to(self.of_hidden.dtype)
        with torch.autocast(grad_z.device.type, enabled=False):
            torch.mm(grad_z, self.of_weight, out=self.hidden[rows])
            if grad_z.dtype == torch.float32:
                self.weight.addmm_(grad_z.t(), self.of_hidden[rows])
            else:
                self.weight += grad_z.t() @ self.of_hidden[rows]
