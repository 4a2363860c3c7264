"""Where the time of a training step goes: a trace of a few steps, and what it adds up to.

The loop marks its parts with `phase`, which does next to nothing while nobody profiles. On a GPU
the host runs ahead of the device; so while profiling, each phase ends by waiting for the device,
and the shares of the phases are times on the host's clock that hold the device's work. That wait
is itself a cost: profiled steps are a little slower than others. The operations' own times are the
device's where it did any work, else the host's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from groundup.runtime import storage_errors, write_json

Phase = Literal["data", "forward", "backward", "optimizer"]
PHASES: tuple[Phase, ...] = get_args(Phase)
MARK = "groundup/"  # begins the names of our ranges in the trace
STEP_MARK = "ProfilerStep"  # begins torch's name for the range of a step
N_OPERATIONS = 10
WIDEST_NAME = 48


# --- marking --------------------------------------------------------------------------------------


def phase(name: Phase) -> AbstractContextManager[object]:
    """Context that marks a part of the step in a profile, and is nearly free without one.

    Phases do not contain one another.
    """
    return _Marked(name) if torch.autograd._profiler_enabled() else nullcontext()


class _Marked:
    """A range of the trace that lasts until the device has done what was asked of it."""

    def __init__(self, name: str) -> None:
        self._range = record_function(MARK + name)

    def __enter__(self) -> None:
        self._range.__enter__()

    def __exit__(self, *error: Any) -> None:
        _synchronize()
        self._range.__exit__(*error)


def _synchronize() -> None:
    """Wait for whatever accelerator this process uses; on a CPU there is nothing to wait for."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


# --- what comes of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class OperationCost:
    """One of torch's operations over all profiled steps.

    seconds: its own, without those of the operations it calls.
    share: of the steps' time.
    """

    name: str
    seconds: float
    share: float
    calls: int


@dataclass(frozen=True)
class ProfileSummary:
    """Where the time of `n_steps` steps went.

    seconds: of all of them on the host's clock.
    clock: whose time the operations' is.
    phases: share of the steps' time by phase, and `other` for what is between; they add up to 1.
    operations: the costliest first.
    """

    n_steps: int
    seconds: float
    clock: Literal["host", "device"]
    phases: dict[str, float]
    operations: tuple[OperationCost, ...]


def summary_lines(summary: ProfileSummary) -> list[str]:
    """The summary as an aligned table for a terminal."""
    phases = ", ".join(f"{name} {share:.1%}" for name, share in summary.phases.items())
    per_step = 1000 / summary.n_steps
    rows = [("operation", f"{summary.clock} ms/step", "share", "calls/step")]
    for cost in summary.operations:
        rows.append(
            (
                cost.name if len(cost.name) <= WIDEST_NAME else cost.name[: WIDEST_NAME - 1] + "…",
                f"{cost.seconds * per_step:.3f}",
                f"{cost.share:.1%}",
                f"{cost.calls / summary.n_steps:g}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{summary.n_steps} steps of {summary.seconds * per_step:.2f} ms: {phases}",
        *(
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ),
    ]


def summarize(events: Iterable[Any], averages: Iterable[Any]) -> ProfileSummary:
    """Add up torch's `events()` and their `key_averages()`; both hold microseconds."""
    lengths = dict.fromkeys([*PHASES, STEP_MARK], 0.0)
    n_steps = 0
    for event in events:
        if event.device_type != DeviceType.CPU:  # the device's copy of our ranges
            continue
        is_step = event.name.startswith(STEP_MARK)
        n_steps += is_step
        name = STEP_MARK if is_step else event.name.removeprefix(MARK)
        if is_step or (event.name.startswith(MARK) and name in lengths):
            lengths[name] += event.time_range.elapsed_us()
    total = lengths.pop(STEP_MARK)
    assert total > 0, "no step was profiled"
    phases = {name: length / total for name, length in lengths.items()}
    phases["other"] = 1.0 - sum(phases.values())
    # Rows of the device are kernels, whose time the operations that launched them hold too.
    rows = [
        row
        for row in averages
        if row.device_type == DeviceType.CPU and not row.key.startswith((MARK, STEP_MARK))
    ]
    clock: Literal["host", "device"] = (
        "device" if any(row.self_device_time_total for row in rows) else "host"
    )
    times = {
        row.key: row.self_device_time_total if clock == "device" else row.self_cpu_time_total
        for row in rows
    }
    calls = {row.key: row.count for row in rows}
    costliest = sorted(times, key=lambda name: (-times[name], name))[:N_OPERATIONS]
    return ProfileSummary(
        n_steps=n_steps,
        seconds=total / 1e6,
        clock=clock,
        phases=phases,
        operations=tuple(
            OperationCost(name, times[name] / 1e6, times[name] / total, calls[name])
            for name in costliest
            if times[name] > 0
        ),
    )


# --- profiling ------------------------------------------------------------------------------------


class StepProfiler:
    """Profiles `n_steps` steps after the `first` ones; the last of those warms the profiler up.

    Writes `trace.json.gz`, to be opened at https://ui.perfetto.dev, and `profile.json`. A run that
    ends sooner is profiled as far as it came; one that ends in an error leaves nothing.

        with StepProfiler(folder, first=10, n_steps=5) as profiler:
            for ...:
                ...a step...
                summary = profiler.step_done()  # not None once: when the last step is profiled
    """

    def __init__(self, folder: Path, *, first: int = 10, n_steps: int = 5) -> None:
        if first < 1:
            raise ValueError(f"first={first} must be at least 1, for the profiler to warm up in")
        if n_steps < 1:
            raise ValueError(f"n_steps={n_steps} must be at least 1")
        self.folder = folder
        self.summary: ProfileSummary | None = None
        self._has_failed = False
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile: profile | None = profile(
            activities=activities,
            schedule=schedule(wait=first - 1, warmup=1, active=n_steps, repeat=1),
            on_trace_ready=self._finish,
        )

    def __enter__(self) -> StepProfiler:
        if self._profile is not None:
            self._profile.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._has_failed = error is not None
        self._stop()

    def step_done(self) -> ProfileSummary | None:
        """To be called after every step; gives the summary after the last one profiled."""
        if self._profile is None:
            return None
        self._profile.step()
        if self.summary is not None:
            self._stop()
        return self.summary

    def _stop(self) -> None:
        if self._profile is not None:
            self._profile.stop()
            self._profile = None

    def _finish(self, done: profile) -> None:
        """Write the files and the summary; called by torch when recording ends."""
        if self._has_failed:
            return
        events = done.events()
        if not any(event.name.startswith(STEP_MARK) for event in events):
            return
        self.summary = summarize(events, events.key_averages())
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / f".trace.{os.getpid()}.json.gz"
            try:
                done.export_chrome_trace(str(temporary))
                temporary.replace(self.folder / "trace.json.gz")
            finally:
                temporary.unlink(missing_ok=True)
        write_json(self.folder / "profile.json", self.summary)
