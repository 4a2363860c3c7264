"""What every executor offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

RETRIES = 3  # of a call whose worker died, before it is given up

Call = Callable[[], Any]


class Executor(Protocol):
    """Does calls; a context manager that ends its workers."""

    def run(self, calls: Sequence[Call], on_done: Callable[[int], None]) -> list[Any]:
        """What each call gives, in the order of the calls; `on_done` hears how many are done.

        Raises what a call raises, and GroundupError if its workers keep dying.
        """

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...
