"""Which optimizer moves which parameter, behind one `Optimizer` that the loop drives."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator, Tag
from torch import Tensor

from groundup.model import Decoder
from groundup.optim.muon import Muon
from groundup.runtime import CheckpointError, config


@config
class AdamWConfig:
    """AdamW (Loshchilov and Hutter, 2019).

    Only the blocks' matrices are decayed: no embedding, output projection, norm or bias is.
    """

    name: Literal["adamw"] = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr} must be positive; try lr=0.001")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"beta1={self.beta1} and beta2={self.beta2} must lie in [0, 1)")
        if self.eps <= 0:
            raise ValueError(f"eps={self.eps} must be positive; try eps=1e-8")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay={self.weight_decay} must not be negative")


@config
class MuonConfig(AdamWConfig):
    """Muon for the matrices of the blocks, AdamW with the same lr for all the rest.

    momentum: Muon's; the fields of AdamW serve the other parameters.
    """

    name: Literal["muon"] = "muon"  # type: ignore[assignment]
    momentum: float = 0.95

    def __post_init__(self) -> None:
        AdamWConfig.__post_init__(self)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must lie in [0, 1); try momentum=0.95")


OPTIMIZER_NAMES = ("adamw", "muon")


def _tag(value: Any) -> str | None:
    return value.get("name") if isinstance(value, dict) else getattr(value, "name", None)


OptimizerConfig = Annotated[
    Annotated[AdamWConfig, Tag("adamw")] | Annotated[MuonConfig, Tag("muon")],
    Discriminator(_tag),
]


STATE_ENTRIES: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    Muon: ("momentum",),
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
}


class Optimizer:
    """One or two torch optimizers over a model's parameters, with their state kept by name."""

    def __init__(self, model: Decoder, config: AdamWConfig | MuonConfig) -> None:
        self.parameters = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        matrices = {
            name: parameter
            for name, parameter in self.parameters.items()
            if parameter.ndim == 2 and "embedding" not in name and not name.startswith("head")
        }
        self.parts: list[torch.optim.Optimizer] = []
        match config:
            case MuonConfig():
                stacked = model.stacked_rows()
                splits = [
                    stacked.get(name, (matrix.shape[0],)) for name, matrix in matrices.items()
                ]
                self.parts.append(
                    Muon(
                        matrices.values(),
                        splits,
                        lr=config.lr,
                        momentum=config.momentum,
                        weight_decay=config.weight_decay,
                    )
                )
                decayed: list[Tensor] = []
            case _:
                decayed = list(matrices.values())
        plain = [parameter for name, parameter in self.parameters.items() if name not in matrices]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.parts.append(
            torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=config.lr,
                betas=(config.beta1, config.beta2),
                eps=config.eps,
                fused=True,
            )
        )
        self.peak_lr = config.lr
        owner_of = {
            id(p): part for part in self.parts for g in part.param_groups for p in g["params"]
        }
        self.owners = {name: owner_of[id(parameter)] for name, parameter in self.parameters.items()}

    def set_lr(self, lr: float) -> None:
        """Use `lr` from the next step on."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr

    def step(self) -> None:
        """Move the parameters along their gradients."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_by_name(self) -> dict[str, Tensor]:
        """Every tensor of the state as `parameter/entry`, ready for safetensors."""
        return {
            f"{name}/{entry}": value
            for name, parameter in self.parameters.items()
            for entry, value in self.owners[name].state.get(parameter, {}).items()
        }

    def load_state_by_name(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state_by_name` gave after at least one step.

        Raises CheckpointError if the state is of other parameters, shapes or another optimizer.
        """
        shapes = {
            f"{name}/{entry}": torch.Size() if entry == "step" else parameter.shape
            for name, parameter in self.parameters.items()
            for entry in STATE_ENTRIES[type(self.owners[name])]
        }
        if unknown := sorted(tensors.keys() - shapes.keys()):
            raise CheckpointError(f"optimizer state for {unknown[0]!r}, which this optimizer lacks")
        if missing := sorted(shapes.keys() - tensors.keys()):
            raise CheckpointError(f"the optimizer state lacks {missing[0]!r}")
        for key, value in tensors.items():
            if value.shape != shapes[key]:
                raise CheckpointError(
                    f"the optimizer state {key} has shape {tuple(value.shape)}, "
                    f"it needs {tuple(shapes[key])}"
                )
        for key, value in tensors.items():
            name, entry = key.rsplit("/", 1)
            parameter = self.parameters[name]
            self.owners[name].state[parameter][entry] = value.to(parameter.device).clone()
