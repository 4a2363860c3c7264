"""Processes that do jobs, on every system, and end with the process that started them.

Called by `counting.py`. A job is anything without arguments that can be pickled; so is its answer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from groundup.runtime import GroundupError

T = TypeVar("T")


class Workers:
    """Processes that do jobs; with one worker, or one job, this process does them.

    They are started anew (spawn), which every system can, and end when this process does, however
    it ends.
    """

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for pipe, process in self._processes.items():
            pipe.close()  # by which an idle worker ends
            if exception[0] is not None:
                process.terminate()
        for process in self._processes.values():
            process.join()

    def do(
        self, jobs: Sequence[Callable[[], T]], on_done: Callable[[int], None] = lambda n: None
    ) -> list[T]:
        """What each job gives, in the order of the jobs; `on_done` hears how many are done."""
        results: dict[int, T] = {}
        todo = deque(enumerate(jobs))
        if self._n_workers <= 1 or len(jobs) <= 1:
            for index, job in todo:
                results[index] = job()
                on_done(len(results))
            return list(results.values())
        while len(self._processes) < min(self._n_workers, len(jobs)):
            self._start()
        idle, at_work = list(self._processes), dict[Connection, int]()
        while len(results) < len(jobs):
            while idle and todo:
                pipe = idle.pop()
                at_work[pipe], job = todo.popleft()
                self._send(pipe, job)
            for pipe in cast(list[Connection], wait(list(at_work))):
                results[at_work.pop(pipe)] = self._answer(pipe)
                idle.append(pipe)
                on_done(len(results))
        return [results[index] for index in range(len(jobs))]

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the worker's end is its own, and closes with it
        self._processes[ours] = process

    def _send(self, pipe: Connection, job: Callable[[], Any]) -> None:
        try:
            pipe.send(job)
        except OSError as error:
            raise self._lost(pipe) from error

    def _answer(self, pipe: Connection) -> Any:
        try:
            succeeded, answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost(pipe) from error
        if not succeeded:
            raise answer
        return answer

    def _lost(self, pipe: Connection) -> GroundupError:
        process = self._processes[pipe]
        process.join()
        return GroundupError(
            f"a worker that counted words has ended (exit code {process.exitcode}): killed, or out "
            "of memory; use fewer n_workers or less table_bytes, and run the same again; a script "
            'must call this under if __name__ == "__main__":'
        )


def _work(pipe: Connection) -> None:
    """A worker: do jobs until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller hears it and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_answer_to(pipe.recv()))


def _answer_to(job: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether a job succeeded, and what it gave or why not."""
    try:
        return True, job()
    except GroundupError as error:
        return False, error
    except Exception:
        return False, RuntimeError(f"in a worker:\n{traceback.format_exc()}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def n_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
