"""Which optimizer moves which parameter, behind one `Optimizer` that the loop drives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator, Tag
from torch import Tensor

from groundup.model import Decoder
from groundup.optim.muon import Muon
from groundup.runtime import CheckpointError, config


@config
class AdamWConfig:
    """AdamW (Loshchilov and Hutter, 2019). Norms, biases and embeddings are not decayed."""

    name: Literal["adamw"] = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr={self.lr} must be positive; try lr=0.001")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"beta1={self.beta1} and beta2={self.beta2} must lie in [0, 1)")


@config
class MuonConfig(AdamWConfig):
    """Muon for the matrices of the blocks, AdamW with the same lr for all the rest.

    momentum: Muon's; the fields of AdamW serve the other parameters.
    """

    name: Literal["muon"] = "muon"  # type: ignore[assignment]
    momentum: float = 0.95


OPTIMIZER_NAMES = ("adamw", "muon")


def _tag(value: Any) -> str | None:
    return value.get("name") if isinstance(value, dict) else value.name


OptimizerConfig = Annotated[
    Annotated[AdamWConfig, Tag("adamw")] | Annotated[MuonConfig, Tag("muon")],
    Discriminator(_tag),
]


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
            f"{name}/{key}": value
            for name, parameter in self.parameters.items()
            for part in self.parts
            for key, value in part.state.get(parameter, {}).items()
        }

    def load_state_by_name(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state_by_name` gave.

        Raises CheckpointError if the state belongs to other parameters.
        """
        owners = {
            id(parameter): part
            for part in self.parts
            for group in part.param_groups
            for parameter in group["params"]
        }
        for key, value in tensors.items():
            name, entry = key.rsplit("/", 1)
            if name not in self.parameters:
                raise CheckpointError(f"optimizer state for {name!r}, which this model lacks")
            parameter = self.parameters[name]
            device = parameter.device
            owners[id(parameter)].state[parameter][entry] = value.to(device).clone()
