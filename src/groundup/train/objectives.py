"""What a training step minimises: loss functions of the form `(model, batch) -> Loss`.

The loss is a sum, with the count it is to be divided by beside it, so that the loop can normalise
by the whole global batch however it is cut into micro-batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from groundup.data.loader import TokenBatch
from groundup.model import Decoder, Labels


@dataclass(frozen=True)
class Loss:
    """A sum of losses, how many were summed, and figures that are sums over the same count."""

    total: Tensor
    count: int
    figures: Mapping[str, Tensor] = field(default_factory=dict)

    def detach(self) -> Loss:
        """The same numbers, with no gradient behind them."""
        figures = {name: value.detach() for name, value in self.figures.items()}
        return Loss(self.total.detach(), self.count, figures)


def next_token_loss(model: Decoder, batch: TokenBatch, *, z_weight: float = 0.0) -> Loss:
    """Cross-entropy of the next token, in nats, summed over the trained positions.

    L = - Σ_t log p(x_{t+1} | x_≤t) over positions whose `loss_mask` is true. Only their logits are
    computed, so masked prompts and padding cost no output projection. With `z_weight` the z-loss
    is added to what is minimised, and the plain cross-entropy is told as a figure.
    """
    labels = batch.labels.flatten()
    if batch.trained is not None:
        labels = labels.index_select(0, batch.trained)
    sums = model(
        batch.input_ids,
        positions=batch.positions,
        document_ids=batch.document_ids,
        document_offsets=batch.document_offsets,
        select=batch.trained,
        labels=Labels(labels, z_weight=z_weight),
    )  # (2,): what is minimised, and the cross-entropy alone
    figures = {"cross_entropy": sums[1]} if z_weight else {}
    return Loss(sums[0], batch.n_trained, figures)
