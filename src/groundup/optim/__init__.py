"""Optimizers and learning-rate schedules."""

from groundup.optim.optimizers import (
    OPTIMIZER_NAMES,
    AdamWConfig,
    MuonConfig,
    Optimizer,
    OptimizerConfig,
)
from groundup.optim.schedules import ScheduleConfig, lr_factor

__all__ = [
    "OPTIMIZER_NAMES",
    "AdamWConfig",
    "MuonConfig",
    "Optimizer",
    "OptimizerConfig",
    "ScheduleConfig",
    "lr_factor",
]
