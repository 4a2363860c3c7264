"""What a build looks like while it runs: a live display, plain lines, JSON lines, or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from groundup.runtime import format_count

Style = Literal["live", "plain", "json", "quiet"]
PLAIN_EVERY_S = 5.0
# How the figures of training are written: how it learns, then how it runs.
LEARNING = {
    "loss": "loss {:.3f}".format,
    "heldout_bits_per_byte": "held-out {:.3f} bits/byte".format,
    "heldout_loss": "held-out loss {:.3f}".format,
    "heldout_preference_accuracy": "held-out accuracy {:.0%}".format,
}
RUNNING = {
    "lr": "lr {:.2g}".format,
    "tokens_per_s": lambda rate: f"{format_count(rate)} tokens/s",
    "of_peak": lambda share: f"{_percent(share)} of peak",
    "memory_bytes": lambda n_bytes: _memory(n_bytes),
    "skipped": lambda n: f"{n:.0f} skipped" if n else "",
    "spikes": lambda n: f"{n:.0f} {'spike' if n == 1 else 'spikes'}" if n else "",
}
NOT_IN_LINES = ("lr",)  # too much for a line in a log
MARKS = {"done": "✓", "finished": "✓", "off": "–", "run": "▸", "resume": "▸"}


class Display:
    """A build's listener; use it as a context manager.

    style: `live` redraws one table on a terminal; `plain` prints a line now and then; `json` prints
    one JSON object for each event; `quiet` prints nothing.
    """

    def __init__(self, stages: tuple[str, ...], style: Style) -> None:
        self.style = style
        self.console = Console(highlight=False, soft_wrap=True, markup=False)
        self.rows: dict[str, tuple[str, str]] = dict.fromkeys(stages, ("", ""))
        self.current: tuple[str, int, int, Mapping[str, float]] | None = None
        self._meter = _Meter()
        self._printed = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if self.style == "live":
            self._live = Live(
                console=self.console, refresh_per_second=4, get_renderable=self._render
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self.current = None
            self._live.stop()

    # --- events -----------------------------------------------------------------------------------

    def stage(self, name: str, status: str, detail: str) -> None:
        """A stage was skipped, begins or is finished."""
        self.rows[name] = (status, detail)
        self.current = None
        self._printed = 0.0
        match self.style:
            case "json":
                self._json(event="stage", stage=name, status=status, detail=detail)
            case "plain":
                words = {
                    "done": "done before",
                    "off": "left out",
                    "run": "begins",
                    "resume": "goes on",
                    "finished": "done in",
                }[status]
                self.console.print(
                    f"{MARKS[status]} {name}: {words} ({detail})"
                    if status != "finished"
                    else f"{MARKS[status]} {name}: {words} {detail}"
                )

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Work goes on."""
        self.current = (label, done, total, figures)
        self._meter.note(label, done)
        match self.style:
            case "json":
                self._json(event="progress", label=label, done=done, total=total, **figures)
            case "plain":
                now = time.monotonic()
                if now - self._printed >= PLAIN_EVERY_S or (total and done == total):
                    self._printed = now
                    self.console.print("  " + self._line())

    def message(self, text: str) -> None:
        """A line worth reading."""
        if self.style == "json":
            self._json(event="message", text=text)
        elif self.style != "quiet":
            self.console.print(Text(f"  {text}", style="dim"))

    # --- drawing ----------------------------------------------------------------------------------

    def _json(self, **event: Any) -> None:
        print(json.dumps(event, ensure_ascii=False), flush=True)

    def _learning(self) -> list[str]:
        """What is done, how well it went, how long it will still take."""
        assert self.current is not None
        label, done, total, figures = self.current
        parts = [f"{label} {done:,}" + (f" of {total:,}" if total else "")]
        parts += [form(figures[key]) for key, form in LEARNING.items() if key in figures]
        left = self._meter.seconds_left(done, total)
        return [*parts, f"{_clock(left)} left"] if left else parts

    def _running(self, left_out: tuple[str, ...] = ()) -> list[str]:
        """How fast it goes, what it takes, what went wrong."""
        assert self.current is not None
        figures = self.current[3]
        shown = [key for key in RUNNING if key in figures and key not in left_out]
        return list(filter(None, [RUNNING[key](figures[key]) for key in shown]))

    def _line(self) -> str:
        return "  ".join([*self._learning(), *self._running(NOT_IN_LINES)])

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        for name, (status, detail) in self.rows.items():
            if status in ("run", "resume"):
                detail = ""
            style = "bold" if status in ("run", "resume") else "dim" if status != "finished" else ""
            table.add_row(
                MARKS.get(status, " "), Text(name, style=style), Text(detail, style="dim")
            )
        if self.current is None:
            return Group(table)
        _, done, total, _ = self.current
        bar = ProgressBar(total=total or None, completed=done, width=40, pulse=not total)
        now = Table.grid()
        now.add_row(bar)
        for line in filter(None, [self._learning(), self._running()]):
            now.add_row(Text("  ".join(line)))
        return Group(table, now)


class _Meter:
    """How fast the current work goes, to say how long it still takes."""

    def __init__(self) -> None:
        self.label = ""
        self.first = (0.0, 0)
        self.last = (0.0, 0)

    def note(self, label: str, done: int) -> None:
        now = (time.monotonic(), done)
        if label != self.label or done < self.last[1]:
            self.label, self.first = label, now
        self.last = now

    def seconds_left(self, done: int, total: int) -> float | None:
        (t0, n0), (t1, n1) = self.first, self.last
        if not total or n1 <= n0:
            return None
        return (total - done) * (t1 - t0) / (n1 - n0)


def _percent(share: float) -> str:
    """
    >>> _percent(0.412), _percent(0.0042)
    ('41%', '0.4%')
    """
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _memory(n_bytes: float) -> str:
    """
    >>> _memory(635_609_088), _memory(62_140_000_000)
    ('636 MB', '62.1 GB')
    """
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 999.5e6 else f"{n_bytes / 1e6:.0f} MB"


def _clock(seconds: float) -> str:
    """
    >>> _clock(75), _clock(4000)
    ('1:15', '1:06:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
