"""Which files a source is made of, and what they hash to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.data.reading.config import HUB, SourceConfig
from groundup.data.reading.formats import ENDINGS_READ, ending_of, kind_of
from groundup.data.reading.hub import hub_hash, parse_address
from groundup.data.records import Refusal
from groundup.runtime import DataError, hash_file, stable_hash


@dataclass(frozen=True)
class InputFile:
    """A file to read, or a data set.

    path: of the file on this machine; of a data set its address as it was written
    relative: to the source, with slashes: what the ids of its records begin with
    licence, column: see SourceConfig
    """

    path: Path
    relative: str
    licence: str | None = None
    column: str | None = None
    dataset: str | None = None


def find_inputs(source: SourceConfig) -> tuple[list[InputFile], list[Refusal]]:
    """The files of a source that can be read, sorted by path, and a Refusal for each other.

    Hidden files and folders are left out. An archive is one input: its members are found while it
    is read. Raises DataError if there is no such source, or nothing in it to read.
    """
    if source.path.startswith(HUB):
        address = str(parse_address(source.path))
        dataset = InputFile(
            Path(source.path),
            parse_address(source.path).label,
            dataset=address,
            licence=source.licence,
            column=source.column,
        )
        return [dataset], []
    path = Path(source.path)
    if not path.exists():
        raise DataError(f"source {path} does not exist; check its path")
    if not path.is_file() and not path.is_dir():
        raise DataError(f"source {path} is no file and no folder; give one of these")
    walk = _Walk(path, source.label)
    found = sorted(walk.files(), key=lambda file: file[1])
    readable = [(file, relative) for file, relative in found if kind_of(file.name)]
    if not readable:
        endings = Counter(ending_of(file.name) for file, _ in found)
        told = ", ".join(f"{n} x {ending}" for ending, n in sorted(endings.items())) or "no files"
        raise DataError(f"source {path} holds nothing to read: needs {ENDINGS_READ}; found {told}")
    for path, relative in found:
        if not kind_of(path.name):
            detail = f"{ending_of(path.name)} is not read"
            walk.refuse(relative, "ending_not_read", detail)
    inputs = [
        InputFile(file, relative, licence=source.licence, column=source.column)
        for file, relative in readable
    ]
    return inputs, sorted(walk.refusals, key=lambda refusal: refusal.id)


def input_hash(file: InputFile) -> str:
    """A hash of all that is read of an input. Raises DataError if it cannot be read."""
    if file.dataset:
        return hub_hash(parse_address(file.dataset))
    try:
        return hash_file(file.path)
    except OSError as error:
        raise DataError(
            f"{file.path} cannot be read ({error.strerror or error}); change its permissions, or "
            "leave it out"
        ) from error


def source_fingerprint(sources: Collection[SourceConfig], builtin: Collection[str] = ()) -> str:
    """Hash of what the sources hold: each file's relative path, size and content.

    For a source named in `builtin` only the name counts: its content follows from the recipe.
    """
    entries: list[Any] = []
    for source in sources:
        if source.path in builtin:
            entries.append(source.path)
            continue
        for file in find_inputs(source)[0]:
            entry: list[Any]
            try:
                size = 0 if file.dataset else file.path.stat().st_size
                entry = [file.relative, size, input_hash(file)]
            except (OSError, DataError):
                if file.dataset:
                    raise
                entry = [file.relative, None, None]  # not readable; whoever reads it says so
            entries.append([*entry, file.column] if file.column else entry)
    return stable_hash(entries)


class _Walk:
    """A walk through a folder that follows links out of it, and none that lead back into it."""

    def __init__(self, top: Path, name: str) -> None:
        self._top, self._name = top, name
        self._real_top = Path(os.path.realpath(top))
        self._linked: set[str] = set()
        self.refusals: list[Refusal] = []

    def files(self) -> Iterator[tuple[Path, str]]:
        """(file, path relative to the source) for each that is one."""
        if self._top.is_file():
            yield self._top, _valid(self._top.name)
        else:
            yield from self._in(self._top, frozenset())

    def refuse(self, relative: str, reason: str, detail: str) -> None:
        id = f"{self._name}/{relative}"
        self.refusals.append(Refusal(id, self._name, "read", reason, _valid(detail)))

    def _in(self, folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, str]]:
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder == self._top:
                raise DataError(
                    f"source folder {folder} cannot be read ({error.strerror}); change its "
                    "permissions"
                ) from error
            relative = _valid(folder.relative_to(self._top).as_posix())
            self.refuse(relative, "not_readable", str(error.strerror))
            return
        above = above | {os.path.realpath(folder)}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            relative = _valid(entry.relative_to(self._top).as_posix())
            try:
                is_folder, is_file, is_link = entry.is_dir(), entry.is_file(), entry.is_symlink()
            except OSError as error:  # the folder may be listed and not entered
                self.refuse(relative, "not_readable", str(error.strerror))
                continue
            if is_folder:
                if self._may_enter(entry, relative, above):
                    yield from self._in(entry, above)
            elif is_file:
                yield entry, relative
            elif is_link:
                self.refuse(relative, "dangling_link", f"leads to {os.readlink(entry)}")
            else:
                self.refuse(relative, "not_a_file", "is a pipe, a socket or a device")

    def _may_enter(self, folder: Path, relative: str, above: frozenset[str]) -> bool:
        if not folder.is_symlink():
            return True
        real = os.path.realpath(folder)
        if real in above:
            told = f"leads to {os.readlink(folder)}, in which it lies"
            self.refuse(relative, "link_loop", told)
            return False
        if real in self._linked or Path(real).is_relative_to(self._real_top):
            told = f"leads to {os.readlink(folder)}, which is read under another name"
            self.refuse(relative, "linked_twice", told)
            return False
        self._linked.add(real)
        return True


def _valid(name: str) -> str:
    """A path that can be stored as UTF-8: bytes that are none stand as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
