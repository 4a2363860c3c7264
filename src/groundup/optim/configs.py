"""What can be asked of an optimizer: one config for each, told apart by `name`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Tag

from groundup.runtime import config


@config
class AdamWConfig:
    """AdamW (Loshchilov and Hutter, 2019).

    Only the blocks' matrices are decayed: no embedding, output projection, norm or bias is.

    cautious: decay an entry only where the update moves it towards 0 anyway, that is where the
        update and the parameter have the same sign (cautious weight decay; Chen et al., 2025).
    offload: keep the optimizer's state and the float32 weights it steps in the CPU's memory.
    """

    name: Literal["adamw"] = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    cautious: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        _check_lr_and_decay(self.lr, self.weight_decay, usual_lr=1e-3)
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"beta1={self.beta1} and beta2={self.beta2} must lie in [0, 1)")
        if self.eps <= 0:
            raise ValueError(f"eps={self.eps} must be positive; try eps=1e-8")


@config
class MuonConfig(AdamWConfig):
    """Muon for the matrices of the blocks, AdamW for all the rest.

    momentum: Muon's; the fields of AdamW serve the other parameters.
    other_lr_ratio: the lr of the parameters that AdamW moves, as a share of `lr`.
    orthogonalization: `newton_schulz` repeats one polynomial (Jordan et al., 2024),
        `polar_express` takes the best one at each step (Amsel et al., 2025).
    """

    name: Literal["muon"] = "muon"  # type: ignore[assignment]
    momentum: float = 0.95
    other_lr_ratio: float = 1.0
    orthogonalization: Literal["newton_schulz", "polar_express"] = "newton_schulz"

    def __post_init__(self) -> None:
        AdamWConfig.__post_init__(self)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must lie in [0, 1); try momentum=0.95")
        if not 0 < self.other_lr_ratio < math.inf:
            raise ValueError(f"other_lr_ratio={self.other_lr_ratio} must be positive; try 1.0")


@config
class AdamW8bitConfig(AdamWConfig):
    """AdamW that keeps its two moments in 8 bits for an entry (Dettmers et al., 2022)."""

    name: Literal["adamw8bit"] = "adamw8bit"  # type: ignore[assignment]


@config
class LionConfig:
    """Lion: the sign of an interpolated momentum (Chen et al., 2023).

    Its update is as large as can be in every entry, so it takes an lr three to ten times smaller
    than AdamW's, and a weight decay as many times larger. `cautious`, `offload`: as for AdamW.
    """

    name: Literal["lion"] = "lion"
    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 1.0
    cautious: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        _check_lr_and_decay(self.lr, self.weight_decay, usual_lr=1e-4)
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"beta1={self.beta1} and beta2={self.beta2} must lie in [0, 1)")


@config
class AdafactorConfig:
    """Adafactor: second moments of a matrix kept as rows and columns (Shazeer and Stern, 2018).

    The lr is the schedule's, not relative to the parameters' size.

    decay_rate: the second moments' β₂ at step t is 1 - t^(-decay_rate).
    clip: largest root mean square of an update before it is multiplied by lr.
    beta1: average the updates with this momentum, which costs a state as large as the parameters;
        None keeps none.
    cautious, offload: as for AdamW.
    """

    name: Literal["adafactor"] = "adafactor"
    lr: float = 1e-3
    beta1: float | None = None
    decay_rate: float = 0.8
    eps: float = 1e-30
    clip: float = 1.0
    weight_decay: float = 0.1
    cautious: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        _check_lr_and_decay(self.lr, self.weight_decay, usual_lr=1e-3)
        if self.beta1 is not None and not 0 <= self.beta1 < 1:
            raise ValueError(f"beta1={self.beta1} must lie in [0, 1), or be left out")
        if not 0 < self.decay_rate <= 1:
            raise ValueError(f"decay_rate={self.decay_rate} must lie in (0, 1]; try 0.8")
        if self.eps <= 0:
            raise ValueError(f"eps={self.eps} must be positive; try eps=1e-30")
        if self.clip <= 0:
            raise ValueError(f"clip={self.clip} must be positive; try clip=1.0")


def _check_lr_and_decay(lr: float, weight_decay: float, *, usual_lr: float) -> None:
    if not 0 < lr < math.inf:
        raise ValueError(f"lr={lr} must be positive; try lr={usual_lr}")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay={weight_decay} must not be negative; 0 never decays")


OPTIMIZER_NAMES = ("adamw", "muon", "lion", "adafactor", "adamw8bit")

AnyOptimizerConfig: TypeAlias = (
    AdamWConfig | MuonConfig | LionConfig | AdafactorConfig | AdamW8bitConfig
)


def _tag(value: Any) -> str | None:
    return value.get("name") if isinstance(value, dict) else getattr(value, "name", None)


OptimizerConfig = Annotated[
    Annotated[AdamWConfig, Tag("adamw")]
    | Annotated[MuonConfig, Tag("muon")]
    | Annotated[LionConfig, Tag("lion")]
    | Annotated[AdafactorConfig, Tag("adafactor")]
    | Annotated[AdamW8bitConfig, Tag("adamw8bit")],
    Discriminator(_tag),
]
