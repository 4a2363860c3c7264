"""What a training step minimises: loss functions of the form `(model, batch) -> Loss`.

The loss is a sum, with the count it is to be divided by beside it, so that the loop can normalise
by the whole global batch however it is cut into micro-batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from groundup.data.loader import TokenBatch
from groundup.model import Decoder


@dataclass(frozen=True)
class Loss:
    """A sum of losses, how many were summed, and figures that are sums over the same count."""

    total: Tensor
    count: int
    figures: Mapping[str, Tensor] = field(default_factory=dict)


def next_token_loss(model: Decoder, batch: TokenBatch) -> Loss:
    """Cross-entropy of the next token, in nats, summed over the trained positions.

    L = - Σ_t log p(x_{t+1} | x_≤t) over positions whose `loss_mask` is true. Only their logits are
    computed, so masked prompts and padding cost no output projection.
    """
    select = None if batch.n_trained == batch.input_ids.numel() else batch.loss_mask
    logits = model(
        batch.input_ids,
        positions=batch.positions,
        document_ids=batch.document_ids,
        select=select,
    )
    labels = batch.labels.flatten() if select is None else batch.labels[select]
    total = F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), labels, reduction="sum")
    return Loss(total, batch.n_trained)
