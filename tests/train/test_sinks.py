"""Trackers, each written by its own library and read back without ours."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from groundup.runtime import GroundupError
from groundup.train.sinks import open_sinks

SETTINGS = {"lr": 3e-3, "fingerprint": "abc", "loop": {"log_every": 1}}


def one_sink(name: Any, folder: Path, step: int = 0, warnings: list[str] | None = None) -> Any:
    warn = pytest.fail if warnings is None else warnings.append
    (sink,) = open_sinks(
        [name], folder, run_name="tiny pretrain", settings=SETTINGS, warn=warn, step=step
    )
    return sink


class FakeRun:
    """What `wandb.init` gives, as far as the sink uses it; it fails from its second row on."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def log(self, row: Mapping[str, float], step: int) -> None:
        if self.rows:
            raise ConnectionError("no route\nto host")
        self.rows.append((step, row))

    def finish(self) -> None:
        raise AssertionError("a sink that failed is left alone")


@pytest.fixture
def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module `wandb` that notes how runs are opened."""
    module: Any = ModuleType("wandb")
    module.run, module.opened = FakeRun(), []
    module.Settings = dict
    module.setup = lambda: SimpleNamespace(settings=SimpleNamespace(project=None))

    def init(**given: Any) -> FakeRun:
        module.opened.append(given)
        return module.run

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


# --- opening and failing --------------------------------------------------------------------------


def test_a_library_that_is_missing_is_named_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_wandb: Any
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(GroundupError, match=r"trackio .*pip install 'groundup\[track\]'"):
        open_sinks(["wandb", "trackio"], tmp_path, run_name="a", settings={}, warn=pytest.fail)
    assert fake_wandb.opened == []


def test_a_name_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="'mlflow'; there are tensorboard, wandb, trackio"):
        one_sink("mlflow", tmp_path)


def test_no_names_open_nothing(tmp_path: Path) -> None:
    assert open_sinks([], tmp_path, run_name="a", settings={}, warn=pytest.fail) == []
    assert list(tmp_path.iterdir()) == []


def test_a_sink_that_fails_warns_once_and_is_left_alone(tmp_path: Path, fake_wandb: Any) -> None:
    warnings: list[str] = []
    sink = one_sink("wandb", tmp_path, warnings=warnings)
    for step in (1, 2, 3):
        sink.log(step, {"loss": 0.5})
    sink.close()
    assert fake_wandb.run.rows == [(1, {"loss": 0.5})]
    assert warnings == [
        "wandb failed at step 2 (no route to host); the run goes on without it, "
        "metrics.jsonl has every figure"
    ]


def test_a_sink_that_fails_to_close_warns(tmp_path: Path, fake_wandb: Any) -> None:
    warnings: list[str] = []

    def finish() -> None:
        raise TimeoutError

    fake_wandb.run.finish = finish
    sink = one_sink("wandb", tmp_path, warnings=warnings)
    sink.close()
    sink.close()
    sink.log(1, {"loss": 0.5})
    assert [w.split(";")[0] for w in warnings] == ["wandb failed when it was closed (TimeoutError)"]


def test_a_sink_that_cannot_be_opened_is_left_out(tmp_path: Path, fake_wandb: Any) -> None:
    warnings: list[str] = []

    def init(**given: Any) -> None:
        raise RuntimeError("no API key")

    fake_wandb.init = init
    assert open_sinks(["wandb"], tmp_path, run_name="a", settings={}, warn=warnings.append) == []
    assert warnings[0].startswith("wandb could not be opened (no API key); the run goes on")


def test_the_same_run_has_the_same_id_and_another_has_another(
    tmp_path: Path, fake_wandb: Any
) -> None:
    def open_at(folder: Path, settings: Mapping[str, Any], step: int = 0) -> Any:
        open_sinks(["wandb"], folder, run_name="a", settings=settings, warn=pytest.fail, step=step)
        return fake_wandb.opened[-1]

    first = open_at(tmp_path / "pretrain", SETTINGS)
    again = open_at(tmp_path / "pretrain", SETTINGS, step=40)
    others = [
        open_at(tmp_path / "sft", SETTINGS),
        open_at(tmp_path / "pretrain", {**SETTINGS, "fingerprint": "def"}),
    ]
    assert first["id"] == again["id"]
    assert len({run["id"] for run in (first, *others)}) == 3
    assert (first["resume"], again["resume"]) == (None, "allow")
    assert first["dir"] == str(tmp_path / "pretrain")
    assert first["config"] == SETTINGS


# --- TensorBoard ----------------------------------------------------------------------------------


def read_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    sink = one_sink("tensorboard", tmp_path)
    for step in (1, 2, 3):
        sink.log(step, {"loss": 2.0**-step, "lr": 0.5})
    sink.log(3, {"heldout_bits_per_byte": 0.75})
    sink.close()
    assert read_tensorboard(tmp_path) == {
        "loss": [(1, 0.5), (2, 0.25), (3, 0.125)],
        "lr": [(1, 0.5), (2, 0.5), (3, 0.5)],
        "heldout_bits_per_byte": [(3, 0.75)],
    }


@pytest.mark.parametrize("checkpoint", [0, 2])
def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path: Path, checkpoint: int) -> None:
    pytest.importorskip("tensorboard")
    cut = one_sink("tensorboard", tmp_path)
    for step in (1, 2, 3, 4):
        cut.log(step, {"loss": float(step)})
    cut.close()
    (first,) = (tmp_path / "tensorboard").iterdir()
    while int(first.name.split(".")[3]) == int(time.time()):  # files are named by the second
        time.sleep(0.05)
    resumed = one_sink("tensorboard", tmp_path, step=checkpoint)
    for step in range(checkpoint + 1, 7):
        resumed.log(step, {"loss": float(10 * step)})
    resumed.close()
    before = [(step, float(step)) for step in range(1, checkpoint + 1)]
    after = [(step, float(10 * step)) for step in range(checkpoint + 1, 7)]
    assert read_tensorboard(tmp_path)["loss"] == before + after


# --- Weights & Biases, Trackio: a process that is killed, and one that goes on --------------------

CUT_AND_RESUMED = """
import os, sys
from pathlib import Path
from groundup.train.sinks import open_sinks

name, folder, first, last, kill = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
settings = {"lr": 3e-3, "fingerprint": "abc"}
def warn(text):
    sys.exit(text)
(sink,) = open_sinks(
    [name], folder, run_name="tiny pretrain", settings=settings, warn=warn, step=first - 1
)
for step in range(first, last + 1):
    sink.log(step, {"loss": 1 / step})
    sink.log(step, {"heldout": float(step)})
if kill:
    import time
    time.sleep(1.5)  # trackers write from a thread
    os._exit(9)
sink.close()
"""


def track(name: str, folder: Path, first: int, last: int, *, kill: bool) -> None:
    """Log the steps from first to last in a process of its own; it must print nothing."""
    environment = {
        **os.environ,
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(folder / "trackio"),
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CUT_AND_RESUMED, name, *map(str, (folder, first, last, int(kill)))],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (9 if kill else 0, ""), done.stderr


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, after a file header of 7 bytes.

    Blocks of 32 KiB hold chunks: crc32 (4 bytes), length (2), type (1: whole, 2 3 4: parts).
    """
    place, record = 7, b""
    while place + 7 <= len(data):
        left = -place % 32768 or 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@pytest.mark.slow
def test_wandb_offline_keeps_the_run_and_its_id(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    track("wandb", tmp_path, 1, 4, kill=False)
    track("wandb", tmp_path, 3, 6, kill=False)
    rows: list[dict[int, dict[str, float]]] = []
    ids = set()
    for path in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb")):
        steps: dict[int, dict[str, float]] = {}
        for data in leveldb_records(path.read_bytes()):
            record = Record.FromString(data)
            if record.HasField("run"):
                ids.add(record.run.run_id)
            if record.HasField("history"):
                row = {
                    item.key or item.nested_key[0]: json.loads(item.value_json)
                    for item in record.history.item
                }
                values = {key: row[key] for key in ("loss", "heldout") if key in row}
                steps.setdefault(record.history.step.num, {}).update(values)
        rows.append(steps)
    (_,) = ids
    expected = {s: {"loss": 1 / s, "heldout": float(s)} for s in range(1, 7)}
    assert rows[0] == {step: expected[step] for step in (1, 2, 3, 4)}
    assert rows[1] == {step: expected[step] for step in (3, 4, 5, 6)}


@pytest.mark.slow
def test_trackio_has_no_step_twice_but_the_last_before_the_cut(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    track("trackio", tmp_path, 1, 4, kill=True)
    track("trackio", tmp_path, 3, 6, kill=False)
    (database,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_id, step, metrics FROM metrics ORDER BY id")
        ids, steps, metrics = zip(*rows.fetchall(), strict=True)
    connection.close()
    assert len(set(ids)) == 1
    assert sorted({*steps}) == [1, 2, 3, 4, 5, 6]
    assert [steps.count(step) for step in (1, 2, 3, 4, 5, 6)] == [2, 2, 2, 4, 2, 2]
    for step, text in zip(steps, metrics, strict=True):
        figures = json.loads(text)
        assert figures in ({"loss": 1 / step}, {"heldout": float(step)})
