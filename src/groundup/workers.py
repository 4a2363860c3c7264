"""Processes that do jobs, on every system, and end with the process that started them.

Called where words are counted and where data is prepared. A job is anything without arguments that
can be pickled; so is its answer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter, deque
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
    it ends. A job whose worker is killed is given to a new one, up to `n_retries` times; the jobs
    of a caller that allows this may be begun twice and must end the same.

    advice: what to do when workers end, for the error that says so
    """

    def __init__(
        self,
        n_workers: int,
        *,
        n_retries: int = 0,
        advice: str = "use fewer n_workers or less table_bytes, and run the same again",
    ) -> None:
        self._n_workers, self._n_retries, self._advice = n_workers, n_retries, advice
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

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that were started and have not been lost."""
        return [process.pid for process in self._processes.values() if process.pid is not None]

    def do(
        self, jobs: Sequence[Callable[[], T]], on_done: Callable[[int], None] = lambda n: None
    ) -> list[T]:
        """What each job gives, in the order of the jobs; `on_done` hears how many are done."""
        results: dict[int, T] = {}
        todo = deque(range(len(jobs)))
        if self._n_workers <= 1 or len(jobs) <= 1:
            for index in todo:
                results[index] = jobs[index]()
                on_done(len(results))
            return list(results.values())
        n_lost: Counter[int] = Counter()
        at_work: dict[Connection, int] = {}
        while len(results) < len(jobs):
            while len(self._processes) < min(self._n_workers, len(at_work) + len(todo)):
                self._start()
            for pipe in [pipe for pipe in self._processes if pipe not in at_work]:
                if not todo:
                    break
                at_work[pipe] = todo.popleft()
                with suppress(OSError):  # where the worker has ended, its answer says so
                    pipe.send(jobs[at_work[pipe]])
            for pipe in cast(list[Connection], wait(list(at_work))):
                index = at_work.pop(pipe)
                try:
                    results[index] = self._answer(pipe)
                except _Lost as lost:
                    n_lost[index] += 1
                    if n_lost[index] > self._n_retries:
                        raise self._explained(lost.code) from lost
                    todo.appendleft(index)
                    continue
                on_done(len(results))
        return [results[index] for index in range(len(jobs))]

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the worker's end is its own, and closes with it
        self._processes[ours] = process

    def _answer(self, pipe: Connection) -> Any:
        try:
            succeeded, answer = pipe.recv()
        except (EOFError, OSError) as error:
            process = self._processes.pop(pipe)
            process.join()
            pipe.close()
            raise _Lost(process.exitcode) from error
        if not succeeded:
            raise answer
        return answer

    def _explained(self, code: int | None) -> GroundupError:
        return GroundupError(
            f"a worker has ended (exit code {code}): killed, or out of memory; {self._advice}; "
            'a script must call this under if __name__ == "__main__":'
        )


class _Lost(Exception):  # noqa: N818 - a worker's end, caught by `do`
    """A worker has ended in the middle of a job."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


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
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
