"""Optimizers and learning-rate schedules."""

from groundup.optim.optimizers import AdamWConfig, MuonConfig, Optimizer, OptimizerConfig
from groundup.optim.schedules import ScheduleConfig, lr_factor

__all__ = [
    "AdamWConfig",
    "MuonConfig",
    "Optimizer",
    "OptimizerConfig",
    "ScheduleConfig",
    "lr_factor",
]
