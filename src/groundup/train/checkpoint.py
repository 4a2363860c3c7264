"""Checkpoints: what a run needs to go on, on disk, whole or not at all.

step-00000500/
  model/                   a Hugging Face model folder
  trainer/optimizer.safetensors
  trainer/state.json       step, figures, the run's identity, a hash of every file and of itself
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from groundup.runtime import (
    CheckpointError,
    hash_file,
    new_folder,
    read_json,
    remove_leftovers,
    stable_hash,
    write_bytes,
    write_json,
)

FORMAT = 1


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

    def optimizer_state(self) -> dict[str, Tensor]:
        """The optimizer's tensors by name."""
        return load_file(self.folder / "trainer" / "optimizer.safetensors")


class CheckpointStore:
    """The checkpoints of one run: the last `keep` and the best one stay, older ones go."""

    def __init__(self, folder: Path, *, keep: int, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self.keep = keep
        self.warn = warn

    def save(
        self,
        step: int,
        *,
        save_model: Callable[[Path], None],
        optimizer_state: Mapping[str, Tensor],
        state: Mapping[str, Any],
        best_step: int | None,
    ) -> Path:
        """Write the checkpoint of `step`, then drop those no longer kept.

        Raises StorageError if the disk refuses; earlier checkpoints then still stand.
        """
        path = self.folder / f"step-{step:08d}"
        if path.exists():  # a run that was stopped at this step and has just gone on from it
            return path
        with new_folder(path) as folder:
            save_model(folder / "model")
            trainer = folder / "trainer"
            trainer.mkdir()
            tensors = {name: value.contiguous().cpu() for name, value in optimizer_state.items()}
            write_bytes(trainer / "optimizer.safetensors", save(tensors))
            hashes = {
                str(file.relative_to(folder)): hash_file(file)
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            whole = {"format": FORMAT, "step": step, **state, "hashes": hashes}
            write_json(trainer / "state.json", {**whole, "hash": stable_hash(whole)})
        self._rotate(best_step)
        return path

    def latest(self, identity: Mapping[str, Any]) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are named, passed over and removed.

        Raises CheckpointError if the newest whole one belongs to another run.
        """
        if not self.folder.exists():
            return None
        remove_leftovers(self.folder)
        for path in reversed(self.paths()):
            try:
                checkpoint = read_checkpoint(path)
            except OtherFormatError:
                raise
            except CheckpointError as error:
                self.warn(f"{error}; going back to the one before")
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
            if path.name != f"step-{best_step or 0:08d}":
                shutil.rmtree(path)


class OtherFormatError(CheckpointError):
    """A checkpoint that another version of groundup wrote."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and hold every file against its hash.

    Raises CheckpointError naming the first file that is missing, cut short or altered.
    """
    try:
        state = dict(read_json(path / "trainer" / "state.json"))
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
        if hash_file(file) != expected:
            raise CheckpointError(f"checkpoint {path} is damaged: {name} is cut short or altered")
    return Checkpoint(path, state)
