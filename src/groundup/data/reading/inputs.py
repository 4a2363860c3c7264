"""Which files a source is made of, and what they hash to."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.data.reading.config import HUB, SourceConfig
from groundup.data.reading.formats import ENDINGS_READ, ending_of, kind_of
from groundup.data.reading.hub import HubAddress, hub_hash, parse_address
from groundup.data.records import Refusal
from groundup.runtime import DataError, hash_file, stable_hash

_NO_FILE = "is a pipe, a socket or a device"
_ENDINGS = f"endings that are read: {ENDINGS_READ}"


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
    column: str | int | None = None
    dataset: str | None = None


def found_path(path: str | Path, called: str = "source") -> Path:
    """The path of something that is there. Raises DataError if it is not, or no one can tell."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # a NUL in its name
        advice = "give a file or a folder" if called.startswith("--") else "check its path"
        raise DataError(f"{called} {path} does not exist; {advice}") from error
    except OSError as error:
        raise DataError(
            f"{called} {path} cannot be looked up ({error.strerror or error}); check its path, and "
            "the permissions of the folders above it"
        ) from error
    return Path(path)


def check_source(source: SourceConfig) -> None:
    """Raise DataError if a source is not there, or is a folder that cannot be listed."""
    if source.path.startswith(HUB):
        parse_address(source.path)
        return
    path = found_path(source.path)
    if path.is_dir():
        try:
            os.scandir(path).close()
        except OSError as error:
            raise DataError(
                f"source folder {path} cannot be read ({error.strerror}); change its permissions"
            ) from error


def check_sources(sources: Collection[SourceConfig], builtin: Collection[str] = ()) -> None:
    """Raise DataError if any of the sources is not there, or none holds anything to read.

    Those named in `builtin` are there and hold something.
    """
    given = [source for source in sources if source.path not in builtin]
    for source in given:
        check_source(source)
    if len(given) == len(sources) and not any(map(_holds_something, given)):
        told = []
        for source in given:
            found = _Walk(Path(source.path), source.label).files()
            told.append(f"source {source.path} {_nothing_in(found)}")
        raise DataError(f"{'; '.join(told)}; {_ENDINGS}")


def _holds_something(source: SourceConfig) -> bool:
    if source.path.startswith(HUB):
        return True
    walk = _Walk(Path(source.path), source.label)
    return any(kind_of(file.name) for file, _ in walk.files())


def find_inputs(source: SourceConfig) -> tuple[list[InputFile], list[Refusal]]:
    """The files of a source that can be read, sorted by path, and a Refusal for each other.

    Hidden files and folders are left out. An archive is one input: its members are found while it
    is read. A source with nothing to read in it has a Refusal (`empty`) that says what it holds,
    with the id "<name>/."; see `check_sources`. Raises DataError as `check_source` does.
    """
    check_source(source)
    if source.path.startswith(HUB):
        return [_dataset(source, parse_address(source.path))], []
    walk = _Walk(Path(source.path), source.label)
    found = sorted(walk.files(), key=lambda file: file[1])
    readable = [(file, relative) for file, relative in found if kind_of(file.name)]
    for path, relative in found:
        if not kind_of(path.name):
            detail = f"{ending_of(path.name)} is not read"
            walk.refuse(relative, "ending_not_read", detail)
    if not readable:
        walk.refuse(".", "empty", f"{_nothing_in(found)}; {_ENDINGS}")
    inputs = [
        InputFile(file, relative, licence=source.licence, column=source.column)
        for file, relative in readable
    ]
    return inputs, sorted(walk.refusals, key=lambda refusal: refusal.id)


def _dataset(source: SourceConfig, address: HubAddress) -> InputFile:
    return InputFile(
        Path(source.path),
        address.label,
        dataset=str(address),
        licence=source.licence,
        column=source.column,
    )


def _nothing_in(found: Iterable[tuple[Path, str]]) -> str:
    """That there is nothing to read, and what there is."""
    endings = Counter(ending_of(file.name) for file, _ in found)
    told = ", ".join(f"{n} x {ending}" for ending, n in sorted(endings.items())) or "no files"
    return f"holds nothing to read (found {told})"


def input_hash(file: InputFile) -> str:
    """A hash of all that is read of an input. Raises DataError if it cannot be read."""
    try:
        if file.dataset:
            return hub_hash(parse_address(file.dataset))
        return hash_file(file.path)
    except OSError as error:
        raise DataError(
            f"{error.filename or file.path} cannot be read ({error.strerror or error}); change its "
            "permissions, or leave it out"
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
    """A walk through a folder that follows links out of it, and reads no folder twice.

    Of the folder itself and those that links lead to none is read again below another, whichever
    holds the other.
    """

    def __init__(self, top: Path, name: str) -> None:
        self._top, self._name = top, name
        self._real_top = Path(os.path.realpath(top))
        self._linked: set[Path] = set()
        self.refusals: list[Refusal] = []

    def files(self) -> Iterator[tuple[Path, str]]:
        """(file, path relative to the source) for each that is one."""
        if self._top.is_dir():
            yield from self._in(self._top, frozenset())
        elif self._top.is_file():
            yield self._top, _valid(self._top.name)
        else:
            self.refuse(_valid(self._top.name), "not_a_file", _NO_FILE)

    def refuse(self, relative: str, reason: str, detail: str) -> None:
        id = f"{self._name}/{relative}"
        self.refusals.append(Refusal(id, self._name, "read", reason, _valid(detail)))

    def _in(self, folder: Path, above: frozenset[Path]) -> Iterator[tuple[Path, str]]:
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            relative = _valid(folder.relative_to(self._top).as_posix())
            self.refuse(relative, "not_readable", str(error.strerror))
            return
        above = above | {Path(os.path.realpath(folder))}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            relative = _valid(entry.relative_to(self._top).as_posix())
            try:
                mode = entry.stat().st_mode
            except OSError as error:
                self._refuse_lost(entry, relative, error)
                continue
            if stat.S_ISDIR(mode):
                if self._may_enter(entry, relative, above):
                    yield from self._in(entry, above)
            elif stat.S_ISREG(mode):
                yield entry, relative
            else:
                self.refuse(relative, "not_a_file", _NO_FILE)

    def _refuse_lost(self, entry: Path, relative: str, error: OSError) -> None:
        """Refuse a link that leads to nothing, or what lies where this user may not look."""
        if error.errno not in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR) or not entry.is_symlink():
            self.refuse(relative, "not_readable", str(error.strerror))
            return
        reason = "link_loop" if error.errno == errno.ELOOP else "dangling_link"
        self.refuse(relative, reason, f"leads to {os.readlink(entry)}")

    def _may_enter(self, folder: Path, relative: str, above: frozenset[Path]) -> bool:
        """Whether a folder is read here; if it is not, that is refused."""
        if not folder.is_symlink():
            if self._linked and Path(os.path.realpath(folder)) in self._linked:
                self.refuse(relative, "linked_twice", "is read under the name of a link to it")
                return False
            return True
        real = Path(os.path.realpath(folder))
        if any(other.is_relative_to(real) for other in above):
            told = f"leads to {os.readlink(folder)}, in which it lies"
            self.refuse(relative, "link_loop", told)
            return False
        if any(real.is_relative_to(other) for other in (self._real_top, *self._linked)):
            told = f"leads to {os.readlink(folder)}, which is read under another name"
            self.refuse(relative, "linked_twice", told)
            return False
        self._linked.add(real)
        return True


def _valid(name: str) -> str:
    """A path that can be stored as UTF-8: bytes that are none stand as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
