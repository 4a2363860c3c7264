"""Data sets of the Hugging Face Hub, or folders laid out like one, row by row.

`hf:OWNER/NAME`, `hf:OWNER/NAME/CONFIG`, either with `:SPLIT` behind it (`train` without). A path
that begins with `.` or `/` is a folder on disk: `hf:./my_data:test`; what follows the folder is the
name of a config.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.data.reading.config import HUB
from groundup.data.reading.rows import Row
from groundup.runtime import DataError, hash_file, stable_hash


@dataclass(frozen=True)
class HubAddress:
    """Where a data set is: `name` of it, or its folder."""

    name: str
    config: str | None
    split: str
    is_local: bool

    @property
    def label(self) -> str:
        """What it is called in ids, wherever it lies."""
        name = Path(self.name).absolute().name if self.is_local else self.name
        return str(HubAddress(name, self.config, self.split, self.is_local)).removeprefix(HUB)

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"{HUB}{self.name}{config}:{self.split}"


def parse_address(text: str) -> HubAddress:
    """The parts of `hf:NAME[/CONFIG][:SPLIT]`; raises DataError if there are too few.

    >>> parse_address("hf:allenai/c4/en:validation")
    HubAddress(name='allenai/c4', config='en', split='validation', is_local=False)
    """
    path, _, split = text.removeprefix(HUB).partition(":")
    if path.startswith((".", "/", "~")):
        folder = Path(path).expanduser()
        if folder.is_dir():
            return HubAddress(str(folder), None, split or "train", True)
        if folder.parent.is_dir():
            return HubAddress(str(folder.parent), folder.name, split or "train", True)
        raise DataError(f"source {text} names no folder; check the path behind hf:")
    parts = path.split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise DataError(
            f"source {text} is no data set; write hf:OWNER/NAME, hf:OWNER/NAME/CONFIG, or either "
            "with :SPLIT behind it"
        )
    config = parts[2] if len(parts) == 3 else None
    return HubAddress("/".join(parts[:2]), config, split or "train", False)


def hub_hash(address: HubAddress) -> str:
    """A hash of what the data set holds: its commit on the Hub, or the files of its folder."""
    if not address.is_local:
        return stable_hash([str(address), _commit(address)])
    folder = Path(address.name)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [[path.relative_to(folder).as_posix(), hash_file(path)] for path in files]
    return stable_hash([address.config, address.split, entries])


def hub_rows(address: HubAddress) -> Iterator[Row]:
    """Its rows, streamed. Raises DataError without the library, the network or the data set."""
    load_dataset = _library("datasets").load_dataset
    revision = None if address.is_local else _commit(address)
    try:
        rows: Any = load_dataset(
            address.name, address.config, split=address.split, streaming=True, revision=revision
        )
        for n, row in enumerate(rows):
            yield n, row, None
    except Exception as error:  # the clients of the Hub have errors of their own
        raise _fault(address, error) from error


def _commit(address: HubAddress) -> str:
    """The commit that the data set stands at, so that what is hashed is what is read."""
    hub = _library("huggingface_hub")
    try:
        return str(hub.HfApi().dataset_info(address.name).sha)
    except Exception as error:  # the clients of the Hub have errors of their own
        raise _fault(address, error) from error


def _fault(address: HubAddress, error: Exception) -> DataError:
    lines = str(error).strip().splitlines()
    return DataError(
        f"{address} cannot be read ({type(error).__name__}: {lines[0] if lines else 'no detail'}); "
        "check its name, config and split, and that the network is there"
    )


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"reading hf: needs {name}; run: pip install 'groundup[hub]'") from error
