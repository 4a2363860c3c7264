"""Says where a run hangs when no step has ended for a long time.

A thread of its own waits for the loop's beats. It only tells: what hangs may still go on, and
stopping it is for a person to decide. While some native code holds Python's lock no thread can
run, so a hang of that kind is told when it is over.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType

SLOWER_THAN_SLOWEST = 10.0  # a step this many times as long as the longest yet may be a stall
N_FRAMES = 12  # the innermost of the training thread
N_FRAMES_ELSEWHERE = 2

# Beginnings of `module.function` on the stack, and what it means to hang there.
ADVICE: tuple[tuple[str, str], ...] = (
    (
        "torch.distributed.distributed_c10d.",
        "it waits for the other processes: look whether one of them ended or hangs",
    ),
    ("groundup.runtime.", "it is writing: look whether the disk of --out is slow or full"),
    ("groundup.export.", "it is writing: look whether the disk of --out is slow or full"),
    ("groundup.data.", "it is reading data: look whether the disk of the token shards is slow"),
    (
        "torch.cuda.",
        "it waits for the device: look at its load and memory, as with nvidia-smi",
    ),
    (
        "torch.autograd.",
        "it is in the backward pass: look at the device's load and memory, as with nvidia-smi",
    ),
)
NO_ADVICE = "if the stack stays the same it hangs there; Ctrl-C stops it, and it can be resumed"


class Beats:
    """When the last step ended, and how long the next may take; times in seconds of any clock.

    >>> beats = Beats(timeout_s=60.0, now=0.0)
    >>> beats.beat(9.0)  # the slowest step: from now on 90 s are allowed
    >>> beats.deadline
    99.0
    """

    def __init__(self, timeout_s: float, now: float) -> None:
        self.timeout_s = timeout_s
        self.last = now
        self.slowest_s = 0.0
        self.is_stalled = False

    @property
    def deadline(self) -> float:
        """Without a beat until then it is a stall."""
        return self.last + max(self.timeout_s, SLOWER_THAN_SLOWEST * self.slowest_s)

    def beat(self, now: float) -> None:
        """A step ended. One that was told as a stall is no measure for the next ones."""
        if not self.is_stalled:
            self.slowest_s = max(self.slowest_s, now - self.last)
        self.last, self.is_stalled = now, False


class StallWatchdog:
    """Reports once for each stall: how long, where every thread is, what to look at; then its end.

    `report` is called from the watchdog's own thread. With `timeout_s` 0 nothing is watched.

        with StallWatchdog(600, listener.message) as watchdog:
            for ...:
                ...a step...
                watchdog.beat()
    """

    def __init__(self, timeout_s: float, report: Callable[[str], None]) -> None:
        self._report = report
        self._changed = threading.Condition()
        self._beats = Beats(timeout_s, time.monotonic())
        self._pending: list[str] = []  # ends of stalls that the watchdog's thread is to report
        self._is_closed = False
        self._watched = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StallWatchdog:
        if self._beats.timeout_s:
            self._watched = threading.get_ident()
            self._beats.last = time.monotonic()
            self._thread = threading.Thread(target=self._watch, name="stall", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def beat(self) -> None:
        """A step ended, or something else that is slow on purpose; costs about a microsecond."""
        with self._changed:
            now = time.monotonic()
            was_stalled, length = self._beats.is_stalled, now - self._beats.last
            self._beats.beat(now)
            if was_stalled:
                self._pending.append(f"it goes on; the stall lasted {length:.1f} s")
                self._changed.notify()

    def _watch(self) -> None:
        """The thread: wait for the deadline, report, until closed."""
        while (found := self._next_event()) is not None:
            # Without the lock: looking up source lines may hang on the disk the run hangs on.
            self._report(found if isinstance(found, str) else self._describe(found))

    def _next_event(self) -> float | str | None:
        """How long a stall has lasted, or what to say of its end; None when closed and all said."""
        with self._changed:
            while True:
                if self._pending:
                    return self._pending.pop(0)
                if self._is_closed:
                    return None
                now = time.monotonic()
                if self._beats.is_stalled:
                    self._changed.wait()
                elif now < self._beats.deadline:
                    self._changed.wait(self._beats.deadline - now)
                else:
                    self._beats.is_stalled = True
                    return now - self._beats.last

    def _describe(self, seconds: float) -> str:
        frames = sys._current_frames()
        stack = frames.get(self._watched)
        lines = [f"no step has ended for {seconds:.1f} s; {advice(stack)}"]
        threads = {thread.ident: thread.name for thread in threading.enumerate()}
        elsewhere = frames.keys() - {self._watched, threading.get_ident()}
        for ident in [self._watched, *sorted(elsewhere)]:
            if ident in frames:
                n_frames = N_FRAMES if ident == self._watched else N_FRAMES_ELSEWHERE
                lines.append(f"thread {threads.get(ident, ident)}, innermost last:")
                found = traceback.extract_stack(frames[ident])[-n_frames:]
                lines += [
                    f"  {place.filename}:{place.lineno} {place.name}: {place.line}"
                    for place in found
                ]
        return "\n".join(lines)


def advice(stack: FrameType | None) -> str:
    """What the innermost function that is known for waiting tells to look at."""
    while stack is not None:
        place = f"{stack.f_globals.get('__name__')}.{stack.f_code.co_qualname}"
        for beginning, told in ADVICE:
            if place.startswith(beginning):
                return told
        stack = stack.f_back
    return NO_ADVICE
