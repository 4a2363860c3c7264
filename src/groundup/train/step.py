"""One optimizer step, and what it measured.

g  gradient of the summed loss    n  trained tokens of the whole batch    c  largest norm of g / n

    g ← Σ over micro-batches          w ← optimizer(w, g/n · min(1, c / ‖g/n‖))

Nothing here waits for the device: the figures of a step are read when the loop asks for them, and
a step whose loss or gradient is not finite is left out on the device itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from groundup.model import Decoder
from groundup.optim import Optimizer
from groundup.runtime import Precision, autocast
from groundup.train.objectives import Loss
from groundup.train.profile import phase

LossFunction = Callable[[Decoder, Any], Loss]


@dataclass(frozen=True)
class StepFigures:
    """What a step measured, on its way from the device to the host.

    values: (3 + n_figures,) on the host once `read` returns: summed loss, gradient norm, whether
        the update was left out, and the sums of what the loss function counted, as in `names`.
    """

    names: tuple[str, ...]
    values: Tensor
    arrived: torch.cuda.Event | None
    lr: float
    count: int
    n_tokens: int

    def read(self) -> dict[str, float]:
        """As numbers; this is where the host waits for the device, if it has to."""
        loss, norm, _, *sums = self._arrived_values()
        figures = {name: value / self.count for name, value in zip(self.names, sums, strict=True)}
        return {"loss": loss / self.count, **figures, "gradient_norm": norm, "lr": self.lr}

    @property
    def was_skipped(self) -> bool:
        """Whether the update was left out."""
        return bool(self._arrived_values()[2])

    def _arrived_values(self) -> list[float]:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.values.tolist()


@dataclass(frozen=True)
class StepRule:
    """How a step is taken, the same for all steps of a run.

    gradient_clip: c; 0 never clips.
    """

    model: Decoder
    optimizer: Optimizer
    loss_fn: LossFunction
    precision: Precision
    gradient_clip: float

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def gradients(self, batches: Iterable[Any]) -> tuple[list[Loss], int]:
        """Run every micro-batch forward and backward; returns what was summed, and all tokens."""
        parts, n_tokens = [], 0
        for batch in batches:
            batch = batch.to(self.device)
            with phase("forward"), autocast(self.device, self.precision):
                part = self.loss_fn(self.model, batch)
            with phase("backward"):
                part.total.backward()
            parts.append(part.detach())
            n_tokens += batch.n_tokens
        return parts, n_tokens

    def take(
        self,
        batches: Iterable[Any],
        lr: float,
        *,
        loss_limit: float = float("inf"),
        around_update: AbstractContextManager[Any] | None = None,
    ) -> StepFigures:
        """Gather gradients, clip, move the parameters; leave it out if it is not fit to be taken.

        A step is left out, with every byte of parameters and optimizer as before, when its mean
        loss or its gradient norm is not finite, or when the loss is above `loss_limit`.
        """
        parts, n_tokens = self.gradients(batches)
        count = sum(part.count for part in parts)
        loss = torch.stack([part.total for part in parts]).sum()
        with phase("optimizer"):
            gradients = [p.grad for p in self.optimizer.parameters.values() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients) / count
            is_number = torch.isfinite(norm) & torch.isfinite(loss)
            unfit = ~(is_number & (loss / count <= loss_limit))
            scale = torch.ones_like(norm)
            if self.gradient_clip:
                scale = (self.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, scale / count)
            self.optimizer.set_lr(lr)
            if around_update is None:
                self._update(unfit)
            else:
                with around_update:
                    self._update(unfit)
            self.optimizer.zero_grad()
        names = tuple(parts[0].figures)
        sums = [torch.stack([part.figures[name] for part in parts]).sum() for name in names]
        values = torch.stack([loss, norm, unfit, *sums]).float()
        host, arrived = _to_host(values)
        return StepFigures(names, host, arrived, lr, count, n_tokens)

    def _update(self, unfit: Tensor) -> None:
        if self.device.type == "cpu":  # nothing to wait for: look, and save the pass over memory
            if not unfit:
                self.optimizer.step()
        else:
            self.optimizer.step(found_inf=unfit.float())


def _to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """The values on the host, and when they will be there; None if they are there now."""
    if values.device.type != "cuda":
        return values.cpu(), None
    host = torch.empty(values.shape, pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return host, arrived
