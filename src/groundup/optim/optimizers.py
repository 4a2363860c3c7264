"""Which optimizer moves which parameter, behind one `Optimizer` that the loop drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from groundup.optim.adafactor import Adafactor
from groundup.optim.adamw import AdamW, FusedAdamW
from groundup.optim.adamw8bit import AdamW8bit
from groundup.optim.configs import (
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    AnyOptimizerConfig,
    LionConfig,
    MuonConfig,
)
from groundup.optim.groups import ParameterGroups, parameter_groups
from groundup.optim.lion import Lion
from groundup.optim.muon import NEWTON_SCHULZ, POLAR_EXPRESS, Muon
from groundup.optim.offload import HostWeights
from groundup.optim.stacked import Entry, StackedOptimizer, fresh_state
from groundup.runtime import CheckpointError, GroundupError

Part = FusedAdamW | StackedOptimizer


@runtime_checkable
class StacksRows(Protocol):
    """A model some of whose parameters are several matrices, one below the other."""

    def stacked_rows(self) -> dict[str, tuple[int, ...]]:
        """Row counts of those matrices, by the parameter's name."""


class Optimizer:
    """One or two torch optimizers over a model's parameters, with their state kept by name."""

    def __init__(
        self, model: nn.Module, config: AnyOptimizerConfig, *, _offload_from_cpu: bool = False
    ) -> None:
        groups = parameter_groups(model)
        trained = {**groups.matrices, **groups.others}
        if not trained:
            raise GroundupError("the model has no parameter to train; unfreeze some of it")
        self.parameters = {
            name: parameter for name, parameter in model.named_parameters() if name in trained
        }
        on_cpu = all(parameter.device.type == "cpu" for parameter in trained.values())
        offloads = config.offload and (not on_cpu or _offload_from_cpu)
        self.host = HostWeights(self.parameters) if offloads else None
        self.weights = self.host.weights if self.host else self.parameters
        stepped = ParameterGroups(
            {name: self.weights[name] for name in groups.matrices},
            {name: self.weights[name] for name in groups.others},
        )
        self.parts = _parts(config, stepped, _matrices_in(model, groups.matrices))
        self.peak_lr = config.lr
        owner_of = {
            id(p): part for part in self.parts for g in part.param_groups for p in g["params"]
        }
        self.owners = {name: owner_of[id(weight)] for name, weight in self.weights.items()}

    def set_lr(self, lr: float) -> None:
        """Use `lr` from the next step on."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr * group.get("lr_ratio", 1.0)

    def step(self, found_inf: Tensor | None = None) -> None:
        """Move the parameters along their gradients.

        found_inf: 0-d float32 on the parameters' device; 1 leaves parameters and state as they are
            to the last bit, whatever the gradients hold, and nobody waits for it to be known.
        """
        if self.host:
            self.host.fetch()
            found_inf = found_inf if found_inf is None else found_inf.cpu()
        for part in self.parts:
            part.found_inf = found_inf
            try:
                part.step()
            finally:
                part.found_inf = None
        if self.host:
            self.host.give_back()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state_layout(self) -> dict[str, Entry]:
        """Shape and type of every tensor that `state_by_name` gives after a step."""
        return {
            f"{name}/{key}": entry
            for name, weight in self.weights.items()
            for key, entry in self.owners[name].state_layout(weight).items()
        }

    def state_by_name(self) -> dict[str, Tensor]:
        """Every tensor of the state as `parameter/entry`, ready for safetensors.

        Empty before the first step; from then on also of parameters that had no gradient yet.
        """
        if not any(part.state for part in self.parts):
            return {}
        tensors: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            owner = self.owners[name]
            state = owner.state.get(weight) or fresh_state(owner.state_layout(weight), weight)
            tensors.update({f"{name}/{entry}": value for entry, value in state.items()})
        return tensors

    def load_state_by_name(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state_by_name` gave; nothing, as before the first step, is a state too.

        Raises CheckpointError if the state is of other parameters, shapes or another optimizer.
        """
        layout = self.state_layout() if tensors else {}
        if unknown := sorted(tensors.keys() - layout.keys()):
            raise CheckpointError(f"optimizer state for {unknown[0]!r}, which this optimizer lacks")
        if missing := sorted(layout.keys() - tensors.keys()):
            raise CheckpointError(f"the optimizer state lacks {missing[0]!r}")
        for key, value in tensors.items():
            if value.shape != layout[key].shape:
                raise CheckpointError(
                    f"the optimizer state {key} has shape {tuple(value.shape)}, "
                    f"it needs {tuple(layout[key].shape)}"
                )
            if value.dtype != layout[key].dtype:
                raise CheckpointError(
                    f"the optimizer state {key} is {value.dtype}, it needs {layout[key].dtype}"
                )
        for part in self.parts:
            part.state.clear()
        for key, value in tensors.items():
            name, entry = key.rsplit("/", 1)
            weight = self.weights[name]
            self.owners[name].state[weight][entry] = value.to(weight.device).clone()


def optimizer_state_bytes(model: nn.Module, config: AnyOptimizerConfig) -> int:
    """Bytes of the state after a step, without making any; the model may be on the meta device.

    With `offload` they lie in the CPU's memory, beside 8 more for each parameter: the weights that
    are stepped and their gradients.
    """
    layout = Optimizer(model, replace(config, offload=False)).state_layout()
    return sum(entry.n_bytes for entry in layout.values())


def _matrices_in(model: nn.Module, parameters: dict[str, Tensor]) -> dict[str, Sequence[int]]:
    """Row counts of the matrices in each parameter.

    A low-rank factor beside a stacked weight has other rows than it; it is one matrix.
    """
    stacked = model.stacked_rows() if isinstance(model, StacksRows) else {}
    rows = {name: parameter.shape[-2] for name, parameter in parameters.items()}
    return {
        name: stacked[name] if sum(stacked.get(name, ())) == n_rows else (n_rows,)
        for name, n_rows in rows.items()
    }


def _parts(
    config: AnyOptimizerConfig, groups: ParameterGroups, rows: dict[str, Sequence[int]]
) -> list[Part]:
    """The torch optimizers that `config` asks for, over those groups that are not empty."""
    matrices: dict[str, Any] = {
        "params": list(groups.matrices.values()),
        "weight_decay": config.weight_decay,
    }
    others: dict[str, Any] = {"params": list(groups.others.values()), "weight_decay": 0.0}
    both = [group for group in (matrices, others) if group["params"]]
    cautious = config.cautious
    match config:
        case MuonConfig():
            others.update(lr_ratio=config.other_lr_ratio, lr=config.lr * config.other_lr_ratio)
            parts: list[Part] = [_muon(config, matrices["params"], rows)] if groups.matrices else []
            return parts + ([_fused_adamw(config, [others])] if groups.others else [])
        case LionConfig():
            betas = (config.beta1, config.beta2)
            return [Lion(both, lr=config.lr, betas=betas, cautious=cautious)]
        case AdafactorConfig():
            return [
                Adafactor(
                    both,
                    lr=config.lr,
                    beta1=config.beta1,
                    decay_rate=config.decay_rate,
                    eps=config.eps,
                    clip=config.clip,
                    cautious=cautious,
                )
            ]
        case AdamW8bitConfig():
            return [AdamW8bit(both, **_adamw_settings(config), cautious=cautious)]
        case AdamWConfig() if cautious and config.weight_decay and groups.matrices:
            plain: list[Part] = [AdamW([matrices], **_adamw_settings(config), cautious=True)]
            return plain + ([_fused_adamw(config, [others])] if groups.others else [])
        case _:
            return [_fused_adamw(config, both)]


def _muon(config: MuonConfig, matrices: list[Tensor], rows: dict[str, Sequence[int]]) -> Muon:
    is_polar = config.orthogonalization == "polar_express"
    return Muon(
        matrices,
        list(rows.values()),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        cautious=config.cautious,
        polynomials=POLAR_EXPRESS if is_polar else NEWTON_SCHULZ,
    )


def _adamw_settings(config: AdamWConfig) -> dict[str, Any]:
    return {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": config.eps}


def _fused_adamw(config: AdamWConfig, groups: list[dict[str, Any]]) -> FusedAdamW:
    return FusedAdamW(groups, **_adamw_settings(config))
