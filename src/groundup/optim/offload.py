"""Weights that are stepped in the CPU's memory while the model computes elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from groundup.runtime import GroundupError


class HostWeights:
    """A float32 copy on the CPU of each parameter, which the optimizer steps in its place.

    Gradients come over before a step, weights go back after it. A parameter that somebody else has
    written to since (a checkpoint was loaded) is copied over again.

    Raises GroundupError if a parameter is not float32.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            if parameter.dtype != torch.float32:
                raise GroundupError(
                    f"offload=true steps float32 weights and {name} is {parameter.dtype}; "
                    "keep the model in float32, or leave offload out"
                )
        self.parameters = dict(parameters)
        self.is_pinned = any(parameter.is_cuda for parameter in self.parameters.values())
        self.weights = {name: self._empty(value) for name, value in self.parameters.items()}
        self._gradients: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}

    @torch.no_grad()
    def fetch(self) -> None:
        """Copy the gradients, and the weights that were changed from outside."""
        for name, parameter in self.parameters.items():
            weight = self.weights[name]
            if self._versions.get(name) != parameter._version:
                weight.copy_(parameter, non_blocking=self.is_pinned)
                self._versions[name] = parameter._version
            if parameter.grad is None:
                weight.grad = None
                continue
            if name not in self._gradients:
                self._gradients[name] = self._empty(parameter)
            weight.grad = self._gradients[name]
            weight.grad.copy_(parameter.grad, non_blocking=self.is_pinned)
        for device in {parameter.device for parameter in self.parameters.values()}:
            if device.type == "cuda":
                torch.cuda.synchronize(device)

    @torch.no_grad()
    def give_back(self) -> None:
        """Copy the weights into the model."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.weights[name], non_blocking=self.is_pinned)
            self._versions[name] = parameter._version

    def _empty(self, like: Tensor) -> Tensor:
        return torch.empty(like.shape, dtype=torch.float32, pin_memory=self.is_pinned)
