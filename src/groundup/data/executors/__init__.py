"""Who does the jobs: this process, processes on this machine, or a Ray cluster. The bytes are one.

An executor is handed calls without arguments and gives their answers in the order of the calls. A
call whose worker dies is made again, so a call may be begun twice and must end the same. The caller
is `engine.py`.
"""

from __future__ import annotations

from groundup.data.executors.config import EXECUTORS, ExecutorConfig, ExecutorName
from groundup.data.executors.local import Processes, Serial
from groundup.data.executors.protocol import Executor
from groundup.data.executors.ray_cluster import RayCluster

__all__ = [
    "EXECUTORS",
    "Executor",
    "ExecutorConfig",
    "ExecutorName",
    "Processes",
    "RayCluster",
    "Serial",
    "open_executor",
]


def open_executor(config: ExecutorConfig | None = None) -> Executor:
    """The executor that is asked for; a context manager that ends its workers."""
    config = config or ExecutorConfig()
    match config.name:
        case "serial":
            return Serial()
        case "processes":
            return Processes(config.n_workers)
        case "ray":
            return RayCluster(config.address, config.n_workers)
