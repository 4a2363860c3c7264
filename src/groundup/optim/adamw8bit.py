"""AdamW whose moments take a byte for an entry: a quarter of the memory of float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from groundup.optim.adamw import adamw_layout, adamw_update
from groundup.optim.blockwise import BLOCK, Codebook, n_blocks
from groundup.optim.stacked import (
    SCALAR,
    STACKED_ENTRIES,
    Entry,
    Layout,
    StackedOptimizer,
    State,
)

# Below this many entries the state stays in float32: little to save, much to lose
# (norms and biases; the limit of Dettmers et al., 2022).
SMALLEST_QUANTIZED = 4096
MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamW8bit(StackedOptimizer):
    """AdamW with block-wise 8-bit states (Dettmers et al., 2022).

    Each step takes the moments out of their codes, is AdamW's in float32, and puts them back.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        cautious: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps}
        super().__init__(
            parameters, {**defaults, "weight_decay": weight_decay, "cautious": cautious}
        )
        self._codebooks: dict[torch.device, tuple[Codebook, Codebook]] = {}

    def state_layout(self, parameter: Tensor) -> Layout:
        """Codes and scales of two moments, or the moments themselves."""
        n_entries = parameter.numel()
        if n_entries < SMALLEST_QUANTIZED:
            return adamw_layout(parameter)
        layout = {"step": SCALAR}
        for moment in MOMENTS:
            layout[f"{moment}_codes"] = Entry(parameter.shape, torch.uint8)
            scales = torch.Size([n_blocks(n_entries)])
            layout[f"{moment}_scales"] = Entry(scales, torch.float32)
        return layout

    def update(
        self, parameters: list[Tensor], gradients: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """gradients: (n, *shape) -> (n, *shape), and the next state"""
        settings = {"betas": group["betas"], "eps": group["eps"]}
        if "exp_avg" in state:
            return adamw_update(gradients, state, **settings)
        books = self._books(gradients.device)
        flat = gradients.flatten(1)  # (n, n_entries)
        update = torch.empty_like(flat)
        before = {name: value.flatten(1) for name, value in state.items() if name != "step"}
        after = {name: torch.empty_like(value) for name, value in before.items()}
        step = state["step"]
        for start in range(0, flat.shape[1], STACKED_ENTRIES):
            entries = slice(start, start + STACKED_ENTRIES)
            blocks = slice(start // BLOCK, (start + STACKED_ENTRIES) // BLOCK)
            moments = {"step": state["step"]}
            for moment, book in zip(MOMENTS, books, strict=True):
                codes = before[f"{moment}_codes"][:, entries]
                scales = before[f"{moment}_scales"][:, blocks]
                moments[moment] = book.dequantize(codes, scales)
            update[:, entries], moments = adamw_update(
                flat[:, entries].float(), moments, **settings
            )
            step = moments["step"]
            for moment, book in zip(MOMENTS, books, strict=True):
                codes, scales = book.quantize(moments[moment])
                after[f"{moment}_codes"][:, entries] = codes
                after[f"{moment}_scales"][:, blocks] = scales
        shaped = {name: value.view(state[name].shape) for name, value in after.items()}
        return update.view(gradients.shape), {"step": step, **shaped}

    def _books(self, device: torch.device) -> tuple[Codebook, Codebook]:
        """For the first moment, which has a sign, and the second."""
        if device not in self._codebooks:
            books = Codebook(signed=True, device=device), Codebook(signed=False, device=device)
            self._codebooks[device] = books
        return self._codebooks[device]
