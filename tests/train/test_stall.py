from __future__ import annotations

import importlib
import queue
import sys
import threading
from types import FrameType
from typing import Any

import pytest
import torch

from groundup.train.stall import ADVICE, NO_ADVICE, Beats, StallWatchdog, advice

SOON = 0.05  # seconds without a beat that count as a stall here
PATIENCE = 30.0  # seconds after which a test gives up


class Reports(queue.Queue[str]):
    """What was reported, to be waited for."""

    def next(self) -> str:
        return self.get(timeout=PATIENCE)


# --- when it is a stall ---------------------------------------------------------------------------


def test_the_timeout_is_at_least_ten_times_the_slowest_step() -> None:
    beats = Beats(60.0, now=100.0)
    assert beats.deadline == 160.0
    for now, deadline in [(103.0, 163.0), (110.0, 180.0), (111.0, 181.0), (131.0, 331.0)]:
        beats.beat(now)
        assert beats.deadline == deadline


def test_a_stall_does_not_lengthen_the_timeout() -> None:
    """A step of 500 s that was told as a stall must not let the next hang for 5000 s untold."""
    beats = Beats(60.0, now=0.0)
    beats.beat(8.0)
    beats.is_stalled = True
    beats.beat(508.0)
    assert (beats.is_stalled, beats.deadline) == (False, 588.0)


# --- the thread -----------------------------------------------------------------------------------


def test_a_stall_is_reported_once_and_its_end_too() -> None:
    reports = Reports()
    with StallWatchdog(SOON, reports.put) as watchdog:
        for _ in range(2):
            assert reports.next().startswith("no step has ended for 0.")
            with pytest.raises(queue.Empty):
                reports.get(timeout=4 * SOON)
            watchdog.beat()
            assert reports.next().startswith("it goes on; the stall lasted 0.")
    assert "stall" not in names_of_threads()


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_an_end_just_before_closing_is_still_reported() -> None:
    reports = Reports()
    with StallWatchdog(SOON, reports.put) as watchdog:
        reports.next()
        watchdog.beat()
    assert "lasted" in reports.get_nowait()


def test_while_beats_come_in_time_nothing_is_said() -> None:
    reports = Reports()
    pause = threading.Event()
    with StallWatchdog(PATIENCE, reports.put) as watchdog:
        for _ in range(100):
            watchdog.beat()
        pause.wait(2 * SOON)
    assert reports.empty()


def hang(reports: Reports) -> str:
    """Where the training thread is while it waits."""
    return reports.next()


def test_it_says_where_every_thread_is() -> None:
    reports, release = Reports(), threading.Event()
    other = threading.Thread(target=release.wait, name="other", daemon=True)
    other.start()
    try:
        with StallWatchdog(SOON, reports.put):
            text = hang(reports)
    finally:
        release.set()
        other.join()
    lines = text.splitlines()
    assert lines[0].endswith(NO_ADVICE)
    assert lines[1] == f"thread {threading.current_thread().name}, innermost last:"
    mine, others = text.split("thread other, innermost last:")
    assert f"{__file__}:" in mine
    assert "hang: return reports.next()" in mine
    assert mine.index("test_it_says_where_every_thread_is: ") < mine.index("hang: ")
    assert "threading.py" in others
    assert "_next_event" not in text  # the watchdog itself is of no interest


def test_a_watched_thread_need_not_be_the_main_one() -> None:
    reports = Reports()

    def work() -> None:
        with StallWatchdog(SOON, reports.put):
            hang(reports_of_work)

    reports_of_work = Reports()
    worker = threading.Thread(target=work, name="worker")
    worker.start()
    text = reports.next()
    reports_of_work.put("go on")
    worker.join()
    assert text.splitlines()[1] == "thread worker, innermost last:"
    assert "hang: return reports.next()" in text.split("thread MainThread")[0]


def test_a_timeout_of_0_watches_nothing() -> None:
    before = threading.active_count()
    with StallWatchdog(0.0, pytest.fail) as watchdog:
        assert threading.active_count() == before
        watchdog.beat()


def test_an_error_goes_through_and_the_thread_ends() -> None:
    def fail() -> None:
        with StallWatchdog(PATIENCE, pytest.fail):
            assert "stall" in names_of_threads()
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert "stall" not in names_of_threads()


# --- advice ---------------------------------------------------------------------------------------


def frame_in(*modules: str) -> FrameType:
    """A stack of functions, the innermost last, each in the module that is named."""
    found: list[FrameType] = []

    def innermost() -> None:
        found.append(sys._getframe())

    call = innermost
    for module in reversed(modules):
        space: dict[str, Any] = {"__name__": module, "call": call}
        exec("def function():\n    call()", space)
        call = space["function"]
    call()
    return found[0]


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (["torch.distributed.distributed_c10d"], "other processes"),
        (["groundup.data.loader"], "reading data"),
        (["groundup.train.checkpoint", "groundup.runtime"], "writing"),
        (["torch.autograd.graph"], "backward pass"),
        (["torch.autograd.graph", "torch.distributed.distributed_c10d"], "other processes"),
        (["groundup.data.loader", "numpy"], "reading data"),
    ],
)
def test_advice_follows_the_innermost_known_function(modules: list[str], told: str) -> None:
    assert told in advice(frame_in(*modules))


def test_a_backward_pass_that_hangs_is_known_as_such() -> None:
    seen: list[str] = []
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    y.register_hook(lambda grad: seen.append(advice(sys._getframe())))
    y.backward()
    assert "backward pass" in seen[0]


@pytest.mark.parametrize("place", [beginning for beginning, _ in ADVICE])
def test_the_places_in_the_advice_exist(place: str) -> None:
    name = place.removesuffix(".")
    assert importlib.import_module(name).__name__ == name


def test_without_a_stack_there_is_no_advice() -> None:
    assert advice(None) == NO_ADVICE
