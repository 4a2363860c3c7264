"""Batches made ready while the step before them runs.

A batch is a function of its place in the data's order, so a feed can be thrown away and begun
again anywhere: after a resume, or with other data after a roll-back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

import torch

from groundup.train.profile import phase

AHEAD = 2  # batches made before they are asked for


class Batches(Protocol):
    """Where batches come from: a function of the step, with a fingerprint of all it depends on."""

    @property
    def fingerprint(self) -> str:
        """Changes when any batch would."""

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[Any]:
        """The batch of `step`, in pieces of at most `micro_rows` rows."""


class Feed:
    """The batches of places `first` … `last - 1`, in order, made by a thread of its own.

    waited_s: how long `take` has waited for data since this was last set to 0.
    """

    def __init__(
        self, batches: Batches, first: int, last: int, *, micro_rows: int, device: torch.device
    ) -> None:
        self.waited_s = 0.0
        self._source, self._places, self._micro_rows = batches, range(first, last), micro_rows
        self._pins = device.type == "cuda"
        self._ready: queue.Queue[list[Any] | BaseException] = queue.Queue(AHEAD)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._make, name="feed", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed.set()
        while self._thread.is_alive():  # it may be waiting for room
            try:
                self._ready.get(timeout=0.01)
            except queue.Empty:
                continue

    def take(self) -> list[Any]:
        """The next batch as its micro-batches. Raises what making it raised."""
        started = time.perf_counter()
        with phase("data"):
            found = self._ready.get()
        self.waited_s += time.perf_counter() - started
        if isinstance(found, BaseException):
            raise found
        return found

    def _make(self) -> None:
        try:
            for place in self._places:
                pieces = list(self._source.micro_batches(place, self._micro_rows))
                if self._pins:
                    pieces = [piece.pin_memory() for piece in pieces]
                self._put(pieces)
                if self._is_closed.is_set():
                    return
        except BaseException as error:  # told where the batch is asked for
            self._put(error)

    def _put(self, item: list[Any] | BaseException) -> None:
        while not self._is_closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return
