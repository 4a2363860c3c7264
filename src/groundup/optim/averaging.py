"""An average of the weights over the steps of a run, which often does better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from groundup.runtime import CheckpointError, config


@config
class AveragingConfig:
    """An exponential moving average of the weights.

    decay: the share of the old average that stays at each step; 0.999 looks back about 1000 steps.
    start: the share of the run after which averaging begins.
    """

    decay: float = 0.999
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"decay={self.decay} must lie between 0 and 1; try decay=0.999")
        if not 0 <= self.start < 1:
            raise ValueError(f"start={self.start} must lie in [0, 1); 0 averages from the start")


class WeightAverage:
    """The running average of a model's weights, in float32 on the model's device.

    average ← decay · average + (1 - decay) · weights; the first update copies, so that no weight
    of the average is spent on a value that never was.
    """

    def __init__(self, model: nn.Module, config: AveragingConfig) -> None:
        self.config = config
        self.parameters = dict(model.named_parameters())
        self.averages: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, step: int, n_steps: int) -> None:
        """Take in the weights after `step` of `n_steps` steps, if averaging has begun by then."""
        if step < self.config.start * n_steps:
            return
        weights = {name: weight.detach().float() for name, weight in self.parameters.items()}
        if not self.averages:
            self.averages = {name: weight.clone() for name, weight in weights.items()}
            return
        averages = [self.averages[name] for name in weights]
        torch._foreach_lerp_(averages, list(weights.values()), 1 - self.config.decay)

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Lend `model` the averaged weights; afterwards it has its own again, bit for bit.

        Before averaging has begun it keeps its own.
        """
        parameters = dict(model.named_parameters()) if self.averages else {}
        own = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        try:
            _copy(self.averages, parameters)
            yield
        finally:
            _copy(own, parameters)

    def state_by_name(self) -> dict[str, Tensor]:
        """The averages by the parameters' names; empty before averaging has begun."""
        return dict(self.averages)

    def load_state_by_name(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state_by_name` gave.

        Raises CheckpointError if the averages are of other parameters or shapes.
        """
        if tensors and (unknown := sorted(tensors.keys() - self.parameters.keys())):
            raise CheckpointError(f"averaged weights of {unknown[0]!r}, which this model lacks")
        if tensors and (missing := sorted(self.parameters.keys() - tensors.keys())):
            raise CheckpointError(f"the averaged weights lack {missing[0]!r}")
        for name, value in tensors.items():
            if value.shape != self.parameters[name].shape:
                raise CheckpointError(
                    f"the averaged weights of {name} have shape {tuple(value.shape)}, "
                    f"they need {tuple(self.parameters[name].shape)}"
                )
        self.averages = {
            name: value.to(self.parameters[name].device, torch.float32, copy=True)
            for name, value in tensors.items()
        }


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, parameter in target.items():
        parameter.copy_(source[name])
