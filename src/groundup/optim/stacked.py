"""What our own optimizers share: how a formula on stacked tensors becomes a step.

Adam's, Lion's or Muon's formula is all that stands in a file of its own. Here the parameters of one
shape are stacked, so that many small ones cost a few operations, weight is decayed, and a step
that was called off leaves no trace.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Entries stacked at a time: enough to fill a device, little beside the model.
STACKED_ENTRIES = 1 << 24


class Entry(NamedTuple):
    """Shape and type of one tensor of the state."""

    shape: torch.Size
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """What it takes."""
        return self.shape.numel() * self.dtype.itemsize


Layout = dict[str, Entry]
State = dict[str, Tensor]
SCALAR = Entry(torch.Size(), torch.float32)


class StackedOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer given by its state's layout and by one function of gradients and state.

    found_inf: 0-d, on the parameters' device: 1 calls the next step off without the host having to
        wait for the device to know. The same name and meaning as torch's fused optimizers have.

    θ ← θ - lr · (update + weight_decay · θ); cautiously, θ is decayed only in those entries that
    have the sign of their update (Chen et al., 2025).
    """

    found_inf: Tensor | None = None

    @abstractmethod
    def state_layout(self, parameter: Tensor) -> Layout:
        """The tensors kept for a parameter, all of them 0 before the first step."""

    @abstractmethod
    def update(
        self, parameters: list[Tensor], gradients: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """The direction to move against and the next state; neither argument is written to.

        parameters: n of one kind; gradients: (n, *shape); state: (n, *shape of the entry)
        -> (n, *shape), and as `state`
        """

    def kind(self, parameter: Tensor) -> Hashable:
        """What parameters must have in common to be stacked."""
        return parameter.shape, parameter.dtype, parameter.device

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            for parameters in self._stacks(group["params"]):
                self._step(parameters, group)

    def _step(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = fresh_state(self.state_layout(parameter), parameter)
        kept = [self.state[parameter] for parameter in parameters]
        state = {name: _stack(entries[name] for entries in kept) for name in kept[0]}
        gradients = _stack(parameter.grad for parameter in parameters if parameter.grad is not None)
        moves, after = self.update(parameters, gradients, state, group)
        moves = moves.mul_(group["lr"])
        if group["weight_decay"]:
            decayed = _stack(parameters)
            if group["cautious"]:
                decayed = decayed * (moves.sign().mul_(decayed) > 0)
            moves.add_(decayed, alpha=group["lr"] * group["weight_decay"])
        if self.found_inf is not None:
            skips = self.found_inf != 0
            moves.masked_fill_(skips, 0.0)  # θ - 0 is θ to the last bit, even where θ is -0
            after = {name: torch.where(skips, state[name], after[name]) for name in after}
        torch._foreach_sub_(parameters, moves.unbind())
        for name, values in after.items():
            torch._foreach_copy_([entries[name] for entries in kept], values.unbind())

    def _stacks(self, parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """The parameters that have a gradient, in lists of one kind and of bounded size."""
        by_kind: dict[Hashable, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            if parameter.grad is not None:
                by_kind[self.kind(parameter)].append(parameter)
        for same in by_kind.values():
            at_once = max(1, STACKED_ENTRIES // max(1, same[0].numel()))
            for start in range(0, len(same), at_once):
                yield same[start : start + at_once]


def fresh_state(layout: Layout, parameter: Tensor) -> State:
    """What is kept for `parameter` before its first step: zeros."""
    return {
        name: torch.zeros(entry.shape, dtype=entry.dtype, device=parameter.device)
        for name, entry in layout.items()
    }


def _stack(tensors: Iterable[Tensor]) -> Tensor:
    """tensors: n of one shape -> (n, *shape); a single one is not copied."""
    several = list(tensors)
    return several[0].unsqueeze(0) if len(several) == 1 else torch.stack(several)


def per_tensor(values: Tensor, like: Tensor) -> Tensor:
    """values: (n,) -> (n, 1, …, 1), with as many dimensions as `like`, to multiply a stack."""
    return values.view(-1, *[1] * (like.ndim - 1))
