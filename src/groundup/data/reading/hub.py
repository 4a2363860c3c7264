"""Data sets of the Hugging Face Hub, or folders laid out like one, row by row.

`hf:OWNER/NAME`, `hf:OWNER/NAME/CONFIG`, either with `:SPLIT` behind it (`train` without). A path
that begins with `.`, `/` or `~` is a folder on disk and never looked for on the Hub:
`hf:./my_data:test`. What follows the folder is the name of a config, if the folder has a file that
says which there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.data.reading.config import HUB
from groundup.data.reading.rows import Row
from groundup.data.records import Refused
from groundup.runtime import DataError, hash_file, stable_hash

_NAMES_CONFIGS = ("README.md", ".huggingface.yaml", "dataset_infos.json")


@dataclass(frozen=True)
class HubAddress:
    """Where a data set is: `name` of it, or its folder as an absolute path."""

    name: str
    config: str | None
    split: str
    is_local: bool

    @property
    def label(self) -> str:
        """What it is called in ids, wherever it lies."""
        name = Path(self.name).name if self.is_local else self.name
        return str(HubAddress(name, self.config, self.split, self.is_local)).removeprefix(HUB)

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"{HUB}{self.name}{config}:{self.split}"


def parse_address(text: str) -> HubAddress:
    """The parts of `hf:NAME[/CONFIG][:SPLIT]`.

    Raises DataError if there are too few, or the folder that it names is not there.

    >>> parse_address("hf:allenai/c4/en:validation")
    HubAddress(name='allenai/c4', config='en', split='validation', is_local=False)
    """
    written = text.removeprefix(HUB)
    if written.startswith((".", "/", "~")):
        return _local_address(written)
    path, _, split = written.partition(":")
    parts = path.split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise DataError(
            f"source {text} is no data set; write hf:OWNER/NAME, hf:OWNER/NAME/CONFIG, or either "
            "with :SPLIT behind it"
        )
    config = parts[2] if len(parts) == 3 else None
    return HubAddress("/".join(parts[:2]), config, split or "train", False)


def _local_address(written: str) -> HubAddress:
    """The longest path that is a folder: there may be colons in its name, and in a split."""
    ends = [len(written), *(n for n, letter in enumerate(written) if letter == ":")]
    try:
        found = [
            (Path(written[:end]).expanduser().resolve(), written[end + 1 :] or "train")
            for end in sorted(ends, reverse=True)
        ]
        for folder, split in found:
            if folder.is_dir():
                return HubAddress(str(folder), None, split, True)
        for folder, split in found:
            if _has_config(folder.parent, folder.name):
                return HubAddress(str(folder.parent), folder.name, split, True)
    except OSError as error:
        raise DataError(
            f"source {HUB}{written} cannot be looked up ({error.strerror}); check its path and the "
            "permissions of the folders above it"
        ) from error
    except (RuntimeError, ValueError) as error:  # links in a circle, no such user, a NUL
        raise DataError(f"source {HUB}{written} names no folder: {error}") from error
    raise DataError(f"source {HUB}{written} names no folder; check the path behind hf:")


def _has_config(folder: Path, name: str) -> bool:
    """Whether one of the files that name the configs of a data set names this one."""
    quoted = re.escape(name)
    line = re.compile(rf"""config_name["']?:\s*["']?{quoted}["']?\s*$|"{quoted}":""")
    for place in (folder / file for file in _NAMES_CONFIGS):
        if place.is_file():
            with place.open(encoding="utf-8", errors="replace") as file:
                if any(map(line.search, file)):
                    return True
    return False


def absolute_address(text: str) -> str:
    """The address of a data set, in which the path of a folder is absolute.

    Raises DataError as `parse_address` does.
    """
    address = parse_address(text)
    if not address.is_local:
        return text
    ending = f":{address.split}"
    return str(address) if text.endswith(ending) else str(address).removesuffix(ending)


def hub_hash(address: HubAddress) -> str:
    """A hash of what the data set holds: its commit on the Hub, or the files of its folder."""
    if not address.is_local:
        return stable_hash([str(address), _commit(address)])
    folder = Path(address.name)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [[path.relative_to(folder).as_posix(), hash_file(path)] for path in files]
    return stable_hash([address.config, address.split, entries])


def hub_rows(address: HubAddress) -> Iterator[Row]:
    """Its rows, streamed. Raises DataError without the library, the network or the data set.

    Of a folder in which a file is damaged, the last row is a Refused for all that is left.
    """
    load_dataset = _library("datasets").load_dataset
    revision = None if address.is_local else _commit(address)
    n = 0
    try:
        rows: Any = load_dataset(
            address.name, address.config, split=address.split, streaming=True, revision=revision
        )
    except Exception as error:  # the clients of the Hub have errors of their own
        raise _fault(address, error) from error
    try:
        for row in rows:
            yield n, row, None
            n += 1
    except Exception as error:
        if not address.is_local or isinstance(error, ImportError):
            raise _fault(address, error) from error
        yield n, _rest_lost(n, error), None


def _rest_lost(n_rows: int, error: Exception) -> Refused:
    if isinstance(error, OSError) and error.errno is not None:
        reason = "not_readable"
    else:
        reason = "truncated" if isinstance(error, EOFError) else "damaged"
    detail = f"{n_rows} rows were read and none that follow: {_told(error)}"
    return Refused(reason, detail)


def _commit(address: HubAddress) -> str:
    """The commit that the data set stands at, so that what is hashed is what is read."""
    hub = _library("huggingface_hub")
    try:
        return str(hub.HfApi().dataset_info(address.name).sha)
    except Exception as error:  # the clients of the Hub have errors of their own
        raise _fault(address, error) from error


def _fault(address: HubAddress, error: Exception) -> DataError:
    network = "" if address.is_local else ", and that the network is there"
    return DataError(
        f"{address} cannot be read ({_told(error)}); check its name, config and split{network}"
    )


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no detail'}"


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"reading hf: needs {name}; run: pip install 'groundup[hub]'") from error
