"""Which executor, and how many workers. None of it can change a byte of what is made."""

from __future__ import annotations

from typing import Literal, get_args

from groundup.runtime import config

ExecutorName = Literal["serial", "processes", "ray"]
EXECUTORS: tuple[str, ...] = get_args(ExecutorName)


@config
class ExecutorConfig:
    """Who does the jobs.

    name: serial (this process), processes (on this machine) or ray (a cluster)
    n_workers: processes, or jobs at a time on Ray; None for one per processor
    address: of a running Ray cluster, such as ray://head:10001 or auto; None starts Ray here
    """

    name: ExecutorName = "serial"
    n_workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.n_workers is not None and self.n_workers < 1:
            raise ValueError(f"n_workers={self.n_workers} must be at least 1")
        if self.address is not None and self.name != "ray":
            raise ValueError(
                f"an address ({self.address}) is for ray, not for {self.name}; "
                "give --executor ray, or no address"
            )
