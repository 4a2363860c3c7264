from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from groundup.train.feed import AHEAD, Feed

from .small_job import RandomBatches

CPU = torch.device("cpu")


@dataclass
class Numbers:
    """Batches of one piece that is their place; `before` is called before each is made."""

    before: Callable[[int], object] = lambda place: None
    fingerprint: str = "numbers"
    made: list[int] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[Any]:
        self.before(step)
        self.threads.add(threading.current_thread())
        self.made.append(step)
        yield step


def feed_of(source: Any, first: int = 0, last: int = 5, device: torch.device = CPU) -> Feed:
    return Feed(source, first, last, micro_rows=4, device=device)


def wait_until(holds: Callable[[], bool]) -> None:
    limit = time.perf_counter() + 20
    while not holds():
        assert time.perf_counter() < limit, "it never came to that"
        time.sleep(0.002)


@pytest.mark.parametrize(("first", "last"), [(0, 6), (3, 8), (7, 8)])
def test_it_gives_what_the_source_gives_in_order(first: int, last: int) -> None:
    """The same pieces, bit for bit, wherever it begins."""
    with feed_of(RandomBatches(), first, last) as feed:
        for place in range(first, last):
            pieces = list(RandomBatches().micro_batches(place, 4))
            taken = feed.take()
            assert [len(piece.input_ids) for piece in taken] == [4, 2]
            for ours, theirs in zip(taken, pieces, strict=True):
                assert ours.n_trained == theirs.n_trained
                for name in ("input_ids", "labels", "loss_mask", "positions", "trained"):
                    assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_batches_are_made_ahead_by_another_thread_and_only_a_few() -> None:
    source = Numbers()
    with feed_of(source, last=50) as feed:
        wait_until(lambda: len(source.made) == AHEAD + 1)  # one more waits for room
        time.sleep(0.25)
        assert source.made == [*range(AHEAD + 1)]
        assert feed.take() == [0]
        wait_until(lambda: len(source.made) == AHEAD + 2)
    assert threading.current_thread() not in source.threads
    assert len(source.threads) == 1


class BrokenError(Exception):
    """What a source raises."""


def test_an_error_is_raised_where_its_batch_is_taken() -> None:
    """Batch 2 cannot be made: 0 and 1 are still good, and nothing after it is made."""
    error = BrokenError("batch 2")

    def refuse(place: int) -> None:
        if place == 2:
            raise error

    source = Numbers(refuse)
    with feed_of(source) as feed:
        assert [feed.take(), feed.take()] == [[0], [1]]
        with pytest.raises(BrokenError) as caught:
            feed.take()
    assert caught.value is error
    assert source.made == [0, 1]


def test_an_error_nobody_takes_is_nobodys() -> None:
    """A run that stops before a batch that cannot be made does not fail by it."""

    def refuse(place: int) -> None:
        if place == 1:
            raise BrokenError

    with feed_of(Numbers(refuse)) as feed:
        assert feed.take() == [0]


@pytest.mark.parametrize("n_taken", [0, 1, 3])
def test_it_is_left_early_without_hanging(n_taken: int) -> None:
    source = Numbers()
    started = time.perf_counter()
    with feed_of(source, last=10**9) as feed:
        assert [feed.take() for _ in range(n_taken)] == [[place] for place in range(n_taken)]
    (thread,) = source.threads
    assert not thread.is_alive()
    assert time.perf_counter() - started < 5
    assert len(source.made) <= n_taken + AHEAD + 3  # room was made for what was under way


def test_it_is_left_while_a_batch_is_being_made() -> None:
    """It waits for that one, so that nobody reads the data any more, and begins no other."""
    begun, gate = threading.Event(), threading.Event()

    def hold(place: int) -> None:
        begun.set()
        gate.wait(20)

    source = Numbers(hold)
    threading.Timer(0.1, gate.set).start()
    with feed_of(source):
        assert begun.wait(20)
    assert gate.is_set()
    assert source.made == [0]
    assert not any(thread.is_alive() for thread in source.threads)


def test_what_goes_wrong_in_the_block_passes_through() -> None:
    source = Numbers()
    with pytest.raises(BrokenError), feed_of(source, last=10**9):
        raise BrokenError
    assert not any(thread.is_alive() for thread in source.threads)


def test_waiting_for_slow_data_is_counted() -> None:
    with feed_of(Numbers(lambda place: time.sleep(0.1))) as feed:
        feed.take()
        first = feed.waited_s
        assert 0.09 < first < 10
        feed.take()
        assert feed.waited_s > first + 0.05, "it adds up"
        feed.waited_s = 0.0
        feed.take()
        assert 0.05 < feed.waited_s < 10


def test_data_that_is_ready_is_not_waited_for() -> None:
    slow = 0.4
    source = Numbers(lambda place: time.sleep(slow))
    with feed_of(source, last=AHEAD) as feed:
        wait_until(lambda: len(source.made) == AHEAD)
        time.sleep(0.05)
        for _ in range(AHEAD):
            feed.take()
        assert feed.waited_s < slow / 4


@pytest.mark.parametrize(("device", "is_pinned"), [("cpu", False), ("cuda", True), ("mps", False)])
def test_batches_for_a_gpu_come_in_page_locked_memory(device: str, is_pinned: bool) -> None:
    @dataclass(frozen=True)
    class Piece:
        is_pinned: bool = False

        def pin_memory(self) -> Piece:
            return Piece(is_pinned=True)

    class Pieces(Numbers):
        def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[Any]:
            yield from (Piece(), Piece())

    with feed_of(Pieces(), device=torch.device(device)) as feed:
        assert feed.take() == [Piece(is_pinned)] * 2
