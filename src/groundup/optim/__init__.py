"""Optimizers, learning-rate schedules and the averaging of weights."""

from groundup.optim.averaging import AveragingConfig, WeightAverage
from groundup.optim.configs import (
    OPTIMIZER_NAMES,
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    AnyOptimizerConfig,
    LionConfig,
    MuonConfig,
    OptimizerConfig,
)
from groundup.optim.groups import ParameterGroups, parameter_groups
from groundup.optim.optimizers import Optimizer, optimizer_state_bytes
from groundup.optim.schedules import ScheduleConfig, lr_factor

__all__ = [
    "OPTIMIZER_NAMES",
    "AdafactorConfig",
    "AdamW8bitConfig",
    "AdamWConfig",
    "AnyOptimizerConfig",
    "AveragingConfig",
    "LionConfig",
    "MuonConfig",
    "Optimizer",
    "OptimizerConfig",
    "ParameterGroups",
    "ScheduleConfig",
    "WeightAverage",
    "lr_factor",
    "optimizer_state_bytes",
    "parameter_groups",
]
