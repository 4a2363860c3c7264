"""A Ray cluster: the same calls, on as many machines as there are.

The folder that is written to, and the sources, must be at the same path on every machine (a shared
file system), and groundup installed on each. Ray (Moritz et al., 2018) is an extra.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from groundup.data.executors.protocol import RETRIES, Call
from groundup.runtime import DataError, GroundupError

CONNECT_TIMEOUT_S = 10.0


class RayCluster:
    """Ray tasks, at most `n_workers` at a time; a task whose worker dies is begun again by Ray.

    address: of a running cluster; None starts Ray on this machine, with `n_workers` processors
    """

    def __init__(self, address: str | None = None, n_workers: int | None = None) -> None:
        self.address, self.n_workers = address, n_workers
        self._ray: Any = None
        self._task: Any = None

    def run(self, calls: Sequence[Call], on_done: Callable[[int], None]) -> list[Any]:
        assert self._ray is not None, "a context manager"
        answers: dict[int, Any] = {}
        waiting: dict[Any, int] = {}
        todo = iter(range(len(calls)))
        at_once = self.n_workers or max(int(self._ray.cluster_resources().get("CPU", 1)), 1) * 2
        while len(answers) < len(calls):
            while len(waiting) < at_once and (index := next(todo, None)) is not None:
                waiting[self._task.remote(calls[index])] = index
            self._ray.wait(list(waiting), num_returns=1)
            ready, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
            for reference in ready:
                answers[waiting.pop(reference)] = self._answer(reference)
                on_done(len(answers))
        return [answers[index] for index in range(len(calls))]

    def _answer(self, reference: Any) -> Any:
        try:
            succeeded, answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise RuntimeError(f"in a Ray task:\n{error}") from error
        except self._ray.exceptions.RayError as error:
            line = str(error).strip().splitlines()[0]
            raise GroundupError(
                f"Ray gave up a job after {RETRIES} more tries ({line}); "
                "see its logs, then run the same command again to go on"
            ) from error
        if not succeeded:
            raise answer
        return answer

    def __enter__(self) -> RayCluster:
        try:
            import ray
        except ImportError as error:
            raise DataError(
                "the executor ray needs Ray; run: pip install 'groundup[ray]', "
                "or use --executor processes"
            ) from error
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if self.address is None:
            options |= {"num_cpus": self.n_workers, "include_dashboard": False}
        try:
            _knock(self.address)
            ray.init(address=self.address or "local", **options)
        except (OSError, RuntimeError, ValueError, TimeoutError) as error:
            raise DataError(
                f"no Ray cluster answers at {self.address or 'this machine'} "
                f"({str(error).strip().splitlines()[0]}); see that it runs (ray status), give "
                "another --address, or none to start Ray on this machine"
            ) from error
        self._ray = ray
        self._task = ray.remote(max_retries=RETRIES, num_cpus=1)(_answer_to)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = self._task = None


def _knock(address: str | None) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()


def _answer_to(call: Call) -> tuple[bool, Any]:
    """Whether a call succeeded, and what it gave; our own errors travel as they are."""
    try:
        return True, call()
    except GroundupError as error:
        return False, error
