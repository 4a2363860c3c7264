"""Checkpoints: what a run needs to go on, on disk, whole or not at all, written in the background.

step-00000500/
  model/                   a Hugging Face model folder
  trainer/optimizer.safetensors, trainer/average.safetensors
  trainer/state.json       step, figures, the run's identity, a hash of every file and of itself
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from groundup.runtime import (
    CheckpointError,
    StorageError,
    hash_file,
    new_folder,
    read_json,
    remove_leftovers,
    stable_hash,
    storage_errors,
    write_bytes,
    write_json,
)

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and whose every byte is as it was written."""

    folder: Path
    state: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state["step"])

    @property
    def model_folder(self) -> Path:
        """The Hugging Face model folder inside."""
        return self.folder / "model"

    def trainer_tensors(self, name: str) -> dict[str, Tensor]:
        """Tensors of the trainer by name: those of the `optimizer`, say."""
        return load_file(self.folder / "trainer" / f"{name}.safetensors")


@dataclass(frozen=True)
class Snapshot:
    """All that a checkpoint holds, in memory of its own, so that training can go on meanwhile.

    weights: of the model, by parameter; trainer: tensors by file, `optimizer` and the like;
    state: plain values.
    """

    step: int
    weights: Mapping[str, Tensor]
    trainer: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    best_step: int | None


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they are now, in the host's memory."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


class CheckpointStore:
    """The checkpoints of one run: the last `keep` and the best one stay, older ones go.

    save_weights: writes a model folder from weights by name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        save_weights: Callable[[Mapping[str, Tensor], Path], None],
        keep: int,
        warn: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.save_weights = save_weights
        self.keep = keep
        self.warn = warn
        self._made: os.stat_result | None = None
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Begin to write a checkpoint, once the one before is written.

        Raises what the writing of the one before raised, StorageError if the disk refused; earlier
        checkpoints then still stand.
        """
        self.wait()
        if self._made is None:
            with storage_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._made = self.folder.stat()
        self._writer = threading.Thread(target=self._write, args=(snapshot,), name="checkpoint")
        self._writer.start()

    def wait(self) -> None:
        """Until nothing is being written. Raises what the writing raised."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what a writing that has ended raised, if it did; costs nothing otherwise."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _write(self, snapshot: Snapshot) -> None:
        try:
            path = self.folder / f"step-{snapshot.step:08d}"
            if not path.exists():  # it does when a run was stopped here and has just gone on
                self._require_folder()
                self._write_folder(path, snapshot)
                self._require_folder()
            self._rotate(snapshot.best_step)
        except BaseException as error:  # told to the loop, which waits or looks at its next step
            self._failure = error

    def _require_folder(self) -> None:
        """Raise StorageError if the folder is not the one it was at first: its disk is lost.

        To make it anew would be to train on in a place where no one looks for it.
        """
        assert self._made is not None
        if not self.folder.is_dir() or not os.path.samestat(self._made, self.folder.stat()):
            raise StorageError(
                f"{self.folder} is gone; "
                "see that its disk is there, then run the same command again"
            )

    def _write_folder(self, path: Path, snapshot: Snapshot) -> None:
        with new_folder(path) as folder:
            self.save_weights(snapshot.weights, folder / "model")
            trainer = folder / "trainer"
            trainer.mkdir()
            for name, tensors in snapshot.trainer.items():
                write_bytes(trainer / f"{name}.safetensors", save(dict(tensors)))
            hashes = {
                str(file.relative_to(folder)): hash_file(file)
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            whole = {"format": FORMAT, "step": snapshot.step, **snapshot.state, "hashes": hashes}
            write_json(trainer / "state.json", {**whole, "hash": stable_hash(whole)})

    def latest(
        self,
        identity: Mapping[str, Any],
        *,
        not_after: int | None = None,
        scheduled: bool = False,
    ) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are named, passed over and removed.

        not_after: those of later steps are removed as well: they are of no use any more.
        scheduled: remove those that were written because somebody stopped the run.

        Raises CheckpointError if the newest whole one belongs to another run.
        """
        if not self.folder.exists():
            return None
        remove_leftovers(self.folder)
        for path in reversed(self.paths()):
            if not_after is not None and path.name > f"step-{not_after:08d}":
                _remove(path)
                continue
            try:
                checkpoint = read_checkpoint(path)
            except OtherFormatError:
                raise
            except CheckpointError as error:
                self.warn(f"{error}; going back to the one before")
                _remove(path)
                continue
            if scheduled and not checkpoint.state["scheduled"]:
                shutil.rmtree(path)
                continue
            for key, value in identity.items():
                found = checkpoint.state["identity"].get(key)
                if found != value:
                    raise CheckpointError(
                        f"{path} was made with another {key} ({found}, now {value}); "
                        "use another --out, or delete it to start again"
                    )
            return checkpoint
        return None

    def paths(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        return sorted(self.folder.glob("step-????????"))

    def clear(self) -> None:
        """Remove all of them."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _rotate(self, best_step: int | None) -> None:
        for path in self.paths()[: -self.keep]:
            if best_step is None or path.name != f"step-{best_step:08d}":
                _remove(path)


def _remove(path: Path) -> None:
    """Delete a checkpoint, or whatever stands in its place."""
    with storage_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


class OtherFormatError(CheckpointError):
    """A checkpoint that another version of groundup wrote."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and hold every file against its hash.

    Raises CheckpointError naming the first file that is missing, cut short or altered, StorageError
    if one may not be read: it is no worse for that.
    """
    try:
        state = dict(read_json(path / "trainer" / "state.json"))
    except PermissionError as error:
        raise _no_permission(error) from error
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: state.json is unreadable") from error
    if state.get("format", FORMAT) != FORMAT:
        raise OtherFormatError(
            f"checkpoint {path} has format {state['format']}, this version reads {FORMAT}; "
            "use the version that wrote it, or another --out"
        )
    written = state.pop("hash", None)
    if written != stable_hash(state) or path.name != f"step-{state['step']:08d}":
        raise CheckpointError(f"checkpoint {path} is damaged: state.json is altered")
    for name, expected in state["hashes"].items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"checkpoint {path} is damaged: {name} is missing")
        try:
            found = hash_file(file)
        except PermissionError as error:
            raise _no_permission(error) from error
        except OSError as error:  # a disk that cannot read what it holds
            raise CheckpointError(f"checkpoint {path} is damaged: {name} is unreadable") from error
        if found != expected:
            raise CheckpointError(f"checkpoint {path} is damaged: {name} is cut short or altered")
    return Checkpoint(path, state)


def _no_permission(error: PermissionError) -> StorageError:
    return StorageError(
        f"no permission to read {error.filename}; change that, then run the same command again"
    )
