"""Counts the memory that is alive: an outside measure of what a forward pass keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveStorages(TorchDispatchMode):
    """Follows every storage that an operation makes until nobody holds it, but for the `known`."""

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.known = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in known}
        self.followed: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self.n_calls: dict[Any, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.n_calls[func] = self.n_calls.get(func, 0) + 1
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self.known:
                    self.followed.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.peak = max(self.peak, self.alive())
        return result

    def alive(self) -> int:
        """Bytes of what is held now."""
        self.followed = {
            key: (reference, size)
            for key, (reference, size) in self.followed.items()
            if not reference.expired()
        }
        return sum(size for _, size in self.followed.values())


def state_of(model: torch.nn.Module) -> list[Tensor]:
    """Parameters, their gradients if there are any, and buffers."""
    parameters = list(model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    return [*parameters, *gradients, *model.buffers()]


def saved_bytes(model: torch.nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """The result of `run`, and the bytes of all storages autograd saved for it, but for weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in state_of(model)}
    saved: dict[int, Tensor] = {}  # held, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    return result, sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
