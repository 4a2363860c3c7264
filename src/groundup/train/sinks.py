"""Trackers that show a run's figures beside metrics.jsonl: TensorBoard, Weights & Biases, Trackio.

A stage opens the ones it was asked for with `open_sinks`. They are for looking at: nothing reads
them back, and one that fails (no network, no space) is given up with a warning while the run goes
on. A run that resumes logs some steps again; each tracker's own way of taking that is used here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from groundup.runtime import GroundupError, stable_hash, to_dict
from groundup.train.metrics import Sink

SinkName = Literal["tensorboard", "wandb", "trackio"]
SINK_NAMES: tuple[SinkName, ...] = get_args(SinkName)
PROJECT = "groundup"  # what runs are filed under, where the tracker has projects
FLUSH_S = 20  # TensorBoard's files are at most this much behind


def check_sinks(names: Sequence[str]) -> tuple[SinkName, ...]:
    """The names, if all are known and their libraries installed; for before the work begins.

    Raises GroundupError otherwise.
    """
    for name in names:
        _library(name)
    return tuple(name for name in SINK_NAMES if name in names)


def open_sinks(
    names: Sequence[SinkName],
    folder: Path,
    *,
    run_name: str,
    settings: Mapping[str, Any],
    warn: Callable[[str], None],
    step: int = 0,
) -> list[Sink]:
    """Open the named trackers for a stage that works in `folder`.

    settings: shown beside the curves; with `folder` they are the run's identity, so the stage's
        fingerprint should be among them.
    step: the last one that is done; what a process before this one logged after it is replaced.

    Raises GroundupError if a name is unknown or its library is not installed. A tracker that fails
    otherwise, now or later, is left out from there on, after one `warn`.
    """
    for name in names:
        _library(name)  # all of them, before any is opened
    run = _Run(folder, run_name, to_dict(settings), step)
    sinks: list[Sink] = []
    for name in dict.fromkeys(names):
        try:
            sinks.append(_Guarded(name, _open(name, run), warn))
        except Exception as error:  # each library has its own errors
            warn(_lost(name, "could not be opened", error))
    return sinks


@dataclass(frozen=True)
class _Run:
    """What a tracker is told about a run."""

    folder: Path
    name: str
    settings: dict[str, Any]
    step: int

    @property
    def id(self) -> str:
        """The same for every process that works on this run, another for any other run."""
        return stable_hash([str(self.folder.resolve()), self.settings])[:16]


def _open(name: SinkName, run: _Run) -> Sink:
    match name:
        case "tensorboard":
            return TensorBoard(run)
        case "wandb":
            return WeightsAndBiases(run)
        case "trackio":
            return Trackio(run)


def _library(name: str) -> Any:
    """The module that a tracker is used through.

    Raises GroundupError if it is not installed.
    """
    if name not in SINK_NAMES:
        raise GroundupError(f"no tracker is called {name!r}; there are {', '.join(SINK_NAMES)}")
    try:
        return import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError as error:
        raise GroundupError(
            f"tracking with {name} needs a package that is not installed; "
            "run: pip install 'groundup[track]'"
        ) from error


class TensorBoard:
    """Event files in FOLDER/tensorboard."""

    def __init__(self, run: _Run) -> None:
        # Events from `purge_step` on that stand in earlier files are not shown.
        self._writer = _library("tensorboard").SummaryWriter(
            str(run.folder / "tensorboard"), purge_step=run.step + 1, flush_secs=FLUSH_S
        )
        if run.step == 0:
            text = json.dumps({"run": run.name, **run.settings}, indent=2, ensure_ascii=False)
            self._writer.add_text("settings", f"```json\n{text}\n```", global_step=0)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One scalar for each figure."""
        for key, value in figures.items():
            self._writer.add_scalar(key, value, global_step=step)

    def close(self) -> None:
        """Write what is queued and close the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, its files in FOLDER/wandb; WANDB_MODE=offline keeps it there.

    The run's id is the same when the stage resumes, and Weights & Biases leaves out the steps that
    it already has. A stage that starts anew takes the place of the run before it.
    """

    def __init__(self, run: _Run) -> None:
        wandb = _library("wandb")
        # The terminal is ours: it must print nothing, ask nothing and capture nothing.
        quiet = wandb.Settings(silent=True, console="off", login_timeout=1)
        self._run = wandb.init(
            project=wandb.setup().settings.project or PROJECT,
            id=run.id,
            name=run.name,
            dir=str(run.folder),
            config=run.settings,
            resume="allow" if run.step else None,
            reinit="create_new",
            settings=quiet,
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One row; what is logged again for the same step joins it."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Send what is queued and mark the run as finished."""
        self._run.finish()


class Trackio:
    """A run of Trackio, in its own folder (TRACKIO_DIR) or wherever it is told to send runs."""

    def __init__(self, run: _Run) -> None:
        self._trackio = _library("trackio")
        with redirect_stdout(io.StringIO()):  # it prints hints; the terminal is ours
            self._run = self._trackio.init(
                project=PROJECT,
                name=f"{run.name}-{run.id[:6]}",
                config=run.settings,
                resume="allow" if run.step else "never",
                embed=False,
            )
        # Trackio keeps a step that is logged twice as two rows. Only the last step it has may
        # miss some of its figures, so that one is logged again, and none before it.
        self._first = self._run._next_step - 1 if run.step else 0

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One row, unless it is there from before the run was cut."""
        if step >= self._first:
            self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Write what is queued."""
        with redirect_stdout(io.StringIO()):
            self._trackio.finish()  # as `self._run.finish()`, but it forgets the run after it


class _Guarded:
    """A sink that is given up, with one warning, when it fails."""

    def __init__(self, name: str, sink: Sink, warn: Callable[[str], None]) -> None:
        self._name = name
        self._sink: Sink | None = sink
        self._warn = warn

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Hand the figures on, if the sink still stands."""
        if self._sink is not None:
            try:
                self._sink.log(step, figures)
            except Exception as error:  # each library has its own errors
                self._warn(_lost(self._name, f"failed at step {step}", error))
                self._sink = None

    def close(self) -> None:
        """Close the sink, if it still stands."""
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except Exception as error:
                self._warn(_lost(self._name, "failed when it was closed", error))


def _lost(name: str, what: str, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{name} {what} ({reason}); the run goes on without it, metrics.jsonl has every figure"
