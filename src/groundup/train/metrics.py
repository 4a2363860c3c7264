"""What a run measures as it goes: the interface of whatever keeps it, and metrics.jsonl.

metrics.jsonl is always written: one JSON object a line, appended as the run goes, cut back when it
resumes. The trackers that can stand beside it are in sinks.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from groundup.runtime import storage_errors, write_text


class Sink(Protocol):
    """Takes the figures of a run, step by step."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of a step; a step may come more than once, with other figures."""

    def close(self) -> None:
        """Write out what is held back; nothing is logged after this."""


class Tee:
    """A sink that hands everything on to several, in order."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = tuple(sinks)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Hand the figures of a step on to each."""
        for sink in self.sinks:
            sink.log(step, figures)

    def close(self) -> None:
        """Close each."""
        for sink in self.sinks:
            sink.close()


class MetricsFile:
    """Appends lines to a file; every line holds at least a `step`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Write one line. Numbers that are not finite become null: JSON has no word for them.

        The line goes to the system in one piece, so a process that is killed leaves at most its
        last line cut short.
        """
        values = {
            key: value if math.isfinite(value) else None
            for key, value in {"step": step, **figures}.items()
        }
        line = (json.dumps(values) + "\n").encode()
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(line)

    def close(self) -> None:
        """Nothing is held back: every line is written when it is logged."""

    def rewind(self, step: int) -> int:
        """Drop the lines after `step`, a last line that was cut short, and damaged ones.

        Returns how many were damaged.
        """
        if not self.path.exists():
            return 0
        lines = self.path.read_bytes().split(b"\n")
        kept = [line for line in self if line["step"] <= step]
        if lines[-1].startswith(b"{") or not lines[-1]:  # a line cut short, or none
            lines.pop()
        n_damaged = sum(1 for line in lines if _parse(line) is None)
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        return n_damaged

    def __iter__(self) -> Iterator[dict[str, float]]:
        with self.path.open("rb") as file:
            for line in file:
                if (values := _parse(line)) is not None:
                    yield values


def _parse(line: bytes) -> dict[str, float] | None:
    """The figures of a line, or None if it is damaged."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and "step" in values else None
