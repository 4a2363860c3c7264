from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.export.huggingface import load_weights, save_weights_folder
from groundup.runtime import CheckpointError, StorageError
from groundup.train import checkpoint as checkpoint_module
from groundup.train.checkpoint import CheckpointStore, Snapshot, copy_tensors, read_checkpoint

from ..tiny_build import tree
from .small_job import small_model, small_tokenizer

IDENTITY = {"fingerprint": "this", "batches": "these"}


def snapshot(step: int, best_step: int | None = None, **state: Any) -> Snapshot:
    return Snapshot(
        step,
        weights=copy_tensors(dict(small_model(step).named_parameters())),
        trainer={"optimizer": {"norm.weight/momentum": torch.full((4,), float(step))}},
        state={"tokens": step * 10, "identity": IDENTITY, **state},
        best_step=best_step,
    )


class Store(CheckpointStore):
    """A store that keeps its warnings and saves with one argument."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.warnings: list[str] = []
        super().__init__(
            folder,
            save_weights=lambda weights, path: save_weights_folder(
                small_model().config, weights, small_tokenizer(), path, chat=False
            ),
            keep=keep,
            warn=self.warnings.append,
        )

    def put(self, step: int, best_step: int | None = None, **state: Any) -> None:
        """Save and wait until it is written."""
        self.save(snapshot(step, best_step, **state))
        self.wait()

    def steps(self) -> list[int]:
        return [int(path.name.removeprefix("step-")) for path in self.paths()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two checkpoints, of steps 1 and 2."""
    store = Store(tmp_path / "checkpoints")
    store.put(1)
    store.put(2)
    return store


def test_what_was_saved_comes_back(store: Store) -> None:
    checkpoint = store.latest(IDENTITY)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert checkpoint.state["tokens"] == 20
    assert torch.equal(
        checkpoint.trainer_tensors("optimizer")["norm.weight/momentum"], torch.full((4,), 2.0)
    )
    assert (checkpoint.model_folder / "model.safetensors").is_file()
    assert store.warnings == []


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert Store(tmp_path / "checkpoints").latest(IDENTITY) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def edit_state(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        state = json.loads(path.read_text())
        change(state)
        path.write_text(json.dumps(state))

    return edit


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "weights cut short": ("model/model.safetensors", cut, "model/model.safetensors is cut short"),
    "weights altered": ("model/model.safetensors", alter, "model/model.safetensors is cut short"),
    "weights missing": ("model/model.safetensors", Path.unlink, "model.safetensors is missing"),
    "config altered": ("model/config.json", alter, "model/config.json is cut short or altered"),
    "optimizer cut short": ("trainer/optimizer.safetensors", cut, "optimizer.safetensors is cut"),
    "optimizer missing": ("trainer/optimizer.safetensors", Path.unlink, "is missing"),
    "state cut short": ("trainer/state.json", cut, "state.json"),
    "state missing": ("trainer/state.json", Path.unlink, "state.json"),
    "state without hashes": (
        "trainer/state.json",
        edit_state(lambda state: state.pop("hashes")),
        "state.json",
    ),
    "state with a wrong hash": (
        "trainer/state.json",
        edit_state(lambda state: state["hashes"].update({"model/config.json": "0" * 32})),
        "",
    ),
    "state with another step": (
        "trainer/state.json",
        edit_state(lambda state: state.update(step=7)),
        "state.json",
    ),
    "state with other figures": (
        "trainer/state.json",
        edit_state(lambda state: state.update(tokens=7)),
        "state.json",
    ),
    "state without an identity": (
        "trainer/state.json",
        edit_state(lambda state: state.pop("identity")),
        "state.json",
    ),
    "state with no hash in it": (
        "trainer/state.json",
        edit_state(lambda state: state["hashes"].clear()),
        "state.json",
    ),
    "empty folder": (".", empty, "state.json is unreadable"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_named_and_the_one_before_is_used(store: Store, name: str) -> None:
    place, damage, told = DAMAGE[name]
    damage(store.paths()[-1] / place)
    checkpoint = store.latest(IDENTITY)
    assert checkpoint is not None
    assert checkpoint.step == 1
    (warning,) = store.warnings
    assert "step-00000002" in warning
    assert told in warning
    assert "going back to the one before" in warning
    assert "\n" not in warning


def test_reading_a_damaged_one_raises(store: Store) -> None:
    path = store.paths()[-1]
    alter(path / "model" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is cut short or altered"):
        read_checkpoint(path)


def test_when_all_are_damaged_there_is_none(store: Store) -> None:
    for path in store.paths():
        cut(path / "model" / "model.safetensors")
    assert store.latest(IDENTITY) is None
    assert len(store.warnings) == 2


def test_a_step_whose_damaged_checkpoint_was_passed_over_can_be_saved_again(store: Store) -> None:
    cut(store.paths()[-1] / "model" / "model.safetensors")
    store.latest(IDENTITY)
    store.put(2)
    checkpoint = store.latest(IDENTITY)
    assert checkpoint is not None
    assert checkpoint.step == 2


def test_leftovers_of_a_killed_write_are_no_checkpoints_and_go(store: Store) -> None:
    leftover = store.folder / ".step-00000003.abc.tmp"
    shutil.copytree(store.paths()[-1], leftover)
    checkpoint = store.latest(IDENTITY)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert not leftover.exists()


@pytest.mark.parametrize("key", IDENTITY)
def test_another_runs_checkpoint_is_refused_and_stays(store: Store, key: str) -> None:
    with pytest.raises(CheckpointError, match=f"made with another {key}.*use another --out"):
        store.latest({**IDENTITY, key: "other"})
    assert store.steps() == [1, 2]


def test_a_checkpoint_of_another_format_is_not_deleted(store: Store) -> None:
    edit_state(lambda state: state.update(format=99))(store.paths()[-1] / "trainer" / "state.json")
    with pytest.raises(CheckpointError, match="format 99"):
        store.latest(IDENTITY)
    assert store.steps() == [1, 2]


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    store = Store(tmp_path / "checkpoints", keep=2)
    for step in range(1, 7):
        store.put(step, best_step=2 if step >= 2 else 1)
    assert store.steps() == [2, 5, 6]
    store.put(7, best_step=7)
    assert store.steps() == [6, 7]


def test_saving_the_same_step_again_changes_nothing(store: Store) -> None:
    before = tree(store.folder)
    store.put(2, tokens=99)
    assert tree(store.folder) == before


@pytest.mark.parametrize("n_good", [0, 1, 4, 9])
def test_on_a_full_disk_the_checkpoints_before_still_stand(
    store: Store, monkeypatch: pytest.MonkeyPatch, n_good: int
) -> None:
    """The disk takes `n_good` files and then no more."""
    before = tree(store.folder)
    fsync, n_synced = os.fsync, iter(range(n_good))

    def full_after_some(descriptor: int) -> None:
        if next(n_synced, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_after_some)
        with pytest.raises(StorageError, match=r"no space left .*run the same command again"):
            store.put(3)
    assert tree(store.folder) == before
    store.put(3)
    assert store.steps() == [2, 3]


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="no limits on file sizes here")
def test_a_write_that_breaks_off_half_way_leaves_what_was_there(store: Store) -> None:
    """A limit on the size of files makes the system refuse in the middle of the weights."""
    import resource
    import signal

    before = tree(store.folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*[Tt]oo large"):
            store.put(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert tree(store.folder) == before


def test_nothing_is_pickled(store: Store) -> None:
    endings = {Path(name).suffix for name in tree(store.folder)}
    assert endings <= {".json", ".safetensors", ".jinja"}
    assert not hasattr(checkpoint_module, "pickle")


# --- in the background ----------------------------------------------------------------------------


def test_training_goes_on_while_it_is_written_and_does_not_change_it(store: Store) -> None:
    model, gate = small_model(3), threading.Event()
    write = store.save_weights

    def slow(weights: Any, folder: Path) -> None:
        assert gate.wait(10)
        write(weights, folder)

    store.save_weights = slow
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    taken = replace(snapshot(3), weights=copy_tensors(dict(model.named_parameters())))
    store.save(taken)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert store.steps() == [1, 2]  # it is still being written
    gate.set()
    store.wait()
    checkpoint = store.latest(IDENTITY)
    assert checkpoint is not None
    loaded = small_model(9)
    load_weights(loaded, checkpoint.model_folder)
    assert all(torch.equal(value, before[name]) for name, value in loaded.named_parameters())


def test_a_write_that_failed_is_told_by_the_next_look(store: Store) -> None:
    def refuse(weights: Any, folder: Path) -> None:
        raise StorageError("no space left")

    store.save_weights = refuse
    store.save(snapshot(3))
    assert store._writer is not None
    store._writer.join()
    with pytest.raises(StorageError, match="no space left"):
        store.raise_failure()
    store.raise_failure()  # told once
    assert store.steps() == [1, 2]


def test_those_after_a_step_are_removed_when_a_run_goes_back(store: Store) -> None:
    checkpoint = store.latest(IDENTITY, not_after=1)
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert store.steps() == [1]
