"""This process, or several on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from groundup.data.executors.protocol import RETRIES, Call
from groundup.workers import Workers, n_processors


class Serial:
    """One call after the other, in this process.

    >>> from functools import partial
    >>> with Serial() as executor:
    ...     executor.run([partial(pow, 2, 3), partial(pow, 3, 2)], lambda n_done: None)
    [8, 9]
    """

    def run(self, calls: Sequence[Call], on_done: Callable[[int], None]) -> list[Any]:
        answers = []
        for call in calls:
            answers.append(call())
            on_done(len(answers))
        return answers

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is open."""


class Processes:
    """Processes on this machine, kept from one list of calls to the next.

    They start as new interpreters, so a script that uses them stands under
    `if __name__ == "__main__":`.
    """

    def __init__(self, n_workers: int | None = None) -> None:
        self.workers = Workers(
            n_workers or n_processors(),
            n_retries=RETRIES,
            advice="use fewer --workers, and run the same command again to go on",
        )

    def run(self, calls: Sequence[Call], on_done: Callable[[int], None]) -> list[Any]:
        return self.workers.do(calls, on_done)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.workers.__exit__(*exception)
