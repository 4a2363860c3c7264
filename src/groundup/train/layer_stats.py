"""What each layer does in a step: its gradient, how far it moves, how much of it is asleep.

All three stay on the device as scalars until somebody reads them, so that measuring costs no wait.
The names are those of the metrics: `gradient_norm/block0.attention`, `dead_units/block0`.

g  gradient      w  weights      Δw  their change in a step      h  activations of hidden units
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from groundup.model import Decoder

# About the rounding error of a float32 sum whose largest term is 1.
DEAD_BELOW = 1e-6


def layer_groups(model: Decoder) -> dict[str, list[str]]:
    """Names of the trained parameters by layer: a block's norms go with what they feed.

    `embedding`, `block0.attention`, `block0.feedforward`, …, `norm`, and `head` where the output
    projection is not the embedding.

    >>> from groundup.model import ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=8, n_layers=1, qk_norm=False))
    >>> for group, names in layer_groups(model).items():
    ...     print(group, *names)
    embedding embedding.weight
    block0.attention blocks.0.attention_norm.weight blocks.0.attention.qkv.weight \
blocks.0.attention.out.weight
    block0.feedforward blocks.0.feedforward_norm.weight blocks.0.feedforward.gate_up.weight \
blocks.0.feedforward.down.weight
    norm norm.weight
    """
    groups: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_group_of(name), []).append(name)
    return groups


def _group_of(name: str) -> str:
    if block := re.match(r"blocks\.(\d+)\.(\w+?)(_norm)?\.", name):
        return f"block{block[1]}.{block[2]}"
    return name.split(".")[0].removeprefix("position_")


@torch.no_grad()
def gradient_norms(model: Decoder, groups: Mapping[str, list[str]]) -> dict[str, Tensor]:
    """`gradient_norm/GROUP`: ‖g‖ of each group as the gradients stand now, unclipped or clipped.

    Groups without a gradient are left out. The squares add up to that of the global norm.
    """
    parameters = dict(model.named_parameters())
    gradients = {
        group: [g for name in names if (g := parameters[name].grad) is not None]
        for group, names in groups.items()
    }
    return _norms("gradient_norm", {group: g for group, g in gradients.items() if g})


class UpdateRatios:
    """‖Δw‖ / ‖w‖ of each layer over one optimizer step; about 1e-3 is usual (Karpathy, 2015).

    Built before the step, which copies the weights, and read after it. Infinite where a whole
    layer was zero before and moved.
    """

    @torch.no_grad()
    def __init__(self, model: Decoder, groups: Mapping[str, list[str]]) -> None:
        parameters: dict[str, Tensor] = dict(model.named_parameters())
        self._parameters = {
            group: [parameters[name] for name in names] for group, names in groups.items()
        }
        self._before = {
            group: [weights.detach().clone() for weights in tensors]
            for group, tensors in self._parameters.items()
        }

    @torch.no_grad()
    def measure(self) -> dict[str, Tensor]:
        """`update_ratio/GROUP` since this was built; the copies are let go of, so call it once."""
        sizes = _norms("update_ratio", self._before)
        for group, before in self._before.items():
            torch._foreach_sub_(before, self._parameters[group])
        moved = _norms("update_ratio", self._before)
        self._before = {}
        return {name: moved[name] / sizes[name] for name in moved}


def _norms(prefix: str, tensors: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """`PREFIX/GROUP`: the norm over all tensors of a group, as scalars on their device."""
    flat = [tensor for group in tensors.values() for tensor in group]
    norms = iter(torch._foreach_norm(flat) if flat else [])
    return {
        f"{prefix}/{group}": torch.linalg.vector_norm(
            torch.stack([next(norms).float() for _ in members])
        )
        for group, members in tensors.items()
    }


class DeadUnits:
    """The share of each feed-forward layer's hidden units that no token woke.

    A unit is dead when |h| at every token of every forward pass inside the block, padding included,
    is at most `DEAD_BELOW` of the largest |h| in its layer: what it adds is lost in rounding. h is
    silu(gate) · up in SwiGLU and gelu(up) in GELU. Where the layer's largest is about 1, that takes
    weights that are gone, a gate that never rises above -16 (SwiGLU) or an up that never rises
    above -5 (GELU).

        with DeadUnits(model) as dead:
            ...forward passes, backward...
        figures = dead.measure()

    After each pass through a block it runs a second time, without gradients and dropout, and h is
    looked at there. So the pass that trains stays what it is, to the last bit, compiled or not.
    """

    def __init__(self, model: Decoder) -> None:
        self._model = model
        self._peaks: dict[str, Tensor] = {}  # the largest |h| of each unit: (d_ff,)
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> DeadUnits:
        for layer, block in enumerate(self._model.blocks):
            again = partial(self._run_again, f"block{layer}")
            self._handles.append(block.register_forward_hook(again, with_kwargs=True))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def _run_again(
        self, name: str, block: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any], _: Any
    ) -> None:
        """The hook after a block's pass: run it once more and look at what `down` is given."""
        down = block.get_submodule("feedforward.down")
        handle = down.register_forward_pre_hook(partial(self._keep_peak, name))
        was_training = block.training
        block.eval()
        try:
            with _same_autocast(inputs[0].device.type):
                block.forward(*inputs, **named)  # not the block itself: that would come here again
        finally:
            block.train(was_training)
            handle.remove()

    def _keep_peak(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        hidden = inputs[0]  # (batch, seq_len, d_ff)
        peak = hidden.abs().flatten(0, -2).amax(0).float()
        known = self._peaks.get(name)
        self._peaks[name] = peak if known is None else torch.maximum(known, peak)

    @torch.no_grad()
    def measure(self) -> dict[str, Tensor]:
        """`dead_units/blockN`: a share in [0, 1] for each layer that was seen."""
        return {
            f"dead_units/{name}": (peak <= DEAD_BELOW * peak.max()).float().mean()
            for name, peak in self._peaks.items()
        }


def _same_autocast(device_type: str) -> torch.autocast:
    """The precision in force, without its cache: weights cast here would carry no gradient."""
    return torch.autocast(
        device_type,
        dtype=torch.get_autocast_dtype(device_type),
        enabled=torch.is_autocast_enabled(device_type),
        cache_enabled=False,
    )


def read_figures(figures: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars on a device as numbers, with a single wait for all of them.

    >>> read_figures({"a": torch.tensor(0.5), "b": torch.tensor(2.0)})
    {'a': 0.5, 'b': 2.0}
    """
    if not figures:
        return {}
    values = torch.stack([value.float() for value in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True))


class LayerStats:
    """All three over one training step, as the loop takes it.

    with stats.measuring():
        ...forward and backward passes...
        with stats.around_update():
            ...the optimizer's step...
    figures = stats.take()
    """

    def __init__(self, model: Decoder, groups: Mapping[str, list[str]]) -> None:
        self._model, self._groups = model, groups
        self._figures: dict[str, Tensor] = {}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Around the forward passes: looks for dead units."""
        with DeadUnits(self._model) as dead:
            yield
        self._figures |= dead.measure()

    @contextmanager
    def around_update(self) -> Iterator[None]:
        """Around the optimizer's step: gradients as it takes them, and how far it moves."""
        self._figures |= gradient_norms(self._model, self._groups)
        ratios = UpdateRatios(self._model, self._groups)
        yield
        self._figures |= ratios.measure()

    def take(self) -> dict[str, Tensor]:
        """What was measured since the last call, still on the device."""
        figures, self._figures = self._figures, {}
        return figures
