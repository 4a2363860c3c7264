"""The files in .zip and .tar archives, one after the other; nothing is unpacked under its name.

Archives are read as streams and each member goes through a temporary file if it is large. What
would unpack to too much, leads out of the archive, is encrypted or no file is refused by itself,
and the rest of the archive is read.
"""

from __future__ import annotations

import errno
import io
import posixpath
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, BinaryIO, Self, cast

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.formats import ENDINGS_READ, FileKind, kind_of
from groundup.data.reading.origin import Origin
from groundup.data.reading.streams import Budget, Content, guarded, opening_errors, spooled
from groundup.data.records import Record, Refusal, Refused

ReadOne = Callable[[Content, FileKind, Origin, ReadingConfig], Iterator[Record | Refusal]]
_NAME_IS_UTF8 = 1 << 11  # of a member's flags (APPNOTE.TXT, 4.4.4)
_DRIVE = re.compile(r"[a-zA-Z]:")


def read_zip(
    content: Content, origin: Origin, config: ReadingConfig, read_one: ReadOne
) -> Iterator[Record | Refusal]:
    """The records of all members. Raises Refused for the archive."""
    walk = _Walk(origin, config, read_one, content.n_bytes)
    with content.seekable() as raw:
        try:
            with _places_in_range():
                archive = zipfile.ZipFile(raw)
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise _no_zip(raw, error) from error
        with archive:
            members = archive.infolist()
            walk.check_number(len(members))
            for member in members:
                if member.filename.endswith("/"):
                    continue
                fault = _fault_of_zip_member(member, config)
                opened = partial(archive.open, member)
                name = _name_of_zip_member(member, origin)
                yield from walk.member(name, fault, opened, member.compress_size)
                walk.check_budget()


def _name_of_zip_member(member: zipfile.ZipInfo, origin: Origin) -> str:
    """Its name; one that does not say its encoding is UTF-8 if it can be, and is noted if not."""
    name = member.filename
    if member.flag_bits & _NAME_IS_UTF8 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        origin.notes["name in a zip read as cp437"] += 1
        return name


def _fault_of_zip_member(member: zipfile.ZipInfo, config: ReadingConfig) -> Refused | None:
    if member.flag_bits & 1:
        return Refused("encrypted", "needs a password")
    if (member.external_attr >> 16) & 0o170000 == 0o120000:
        return Refused("not_a_file", "is a link")
    try:
        Budget(config, member.compress_size).spend(member.file_size)
    except Refused as refused:
        return refused
    return None


def _no_zip(raw: BinaryIO, error: Exception) -> Refused:
    raw.seek(0)
    if raw.read(4) == b"PK\x03\x04":
        return Refused("truncated", f"begins as an archive and has no list of files: {error}")
    return Refused("damaged", f"is no zip archive: {error}")


def read_tar(
    content: Content, origin: Origin, config: ReadingConfig, read_one: ReadOne
) -> Iterator[Record | Refusal]:
    """The records of all members. Raises Refused for the archive."""
    walk = _Walk(origin, config, read_one, content.n_bytes)
    faults: list[Exception] = []

    class Member(tarfile.TarInfo):
        """Notes the headers that tarfile takes for the end of the archive though they are not."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            try:
                return super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if type(error).__name__ != "EOFHeaderError":  # the two blocks of zeros at the end
                    faults.append(error)
                raise

    with content.opened() as file:
        try:
            with tarfile.open(fileobj=file, mode="r|", tarinfo=Member) as archive:
                for n, member in enumerate(archive):
                    walk.check_number(n + 1)
                    if not member.isdir():
                        fault = Refused("not_a_file", "is a link, a pipe or a device")
                        opened = partial(archive.extractfile, member)
                        yield from walk.member(
                            member.name, None if member.isreg() else fault, opened, None
                        )
                    walk.check_budget()
                    archive.members = []  # type: ignore[attr-defined] # it would keep them all
        except tarfile.TarError as error:
            reason = "truncated" if "unexpected end" in str(error) else "damaged"
            raise Refused(reason, f"cannot be read as tar: {error}") from error
    if faults:
        is_short = type(faults[-1]).__name__ in ("EmptyHeaderError", "TruncatedHeaderError")
        detail = f"the list of its files breaks off: {faults[-1]}"
        raise Refused("truncated" if is_short else "damaged", detail)


@contextmanager
def _places_in_range() -> Iterator[None]:
    """Turn a place before the beginning of the archive, as damaged ones name, into Refused."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Refused("damaged", "names a place outside of itself") from error


class _Walk:
    """What the members of one archive have in common."""

    def __init__(
        self,
        origin: Origin,
        config: ReadingConfig,
        read_one: ReadOne,
        packed_bytes: int | None,
    ) -> None:
        self._origin, self._config, self._read_one = origin, config, read_one
        self._budget = Budget(config, packed_bytes)
        self._names: Counter[str] = Counter()

    def check_number(self, n: int) -> None:
        if n > self._config.max_members:
            raise Refused(
                "too_many_members",
                f"holds more than {self._config.max_members:,} files; raise max_members",
            )

    def check_budget(self) -> None:
        """Raise Refused if the archive as a whole has unpacked to too much."""
        if self._budget.is_spent:
            self._budget.spend(0)

    def member(
        self,
        name: str,
        fault: Refused | None,
        opened: Callable[[], IO[bytes] | None],
        packed_bytes: int | None,
    ) -> Iterator[Record | Refusal]:
        """The records of one member, or why there are none."""
        label = name.replace("\\", "/").encode("utf-8", "backslashreplace").decode()
        if not _escapes(name):
            label = posixpath.normpath(label)
            if any(part.startswith(".") for part in label.split("/")):
                return
        label = self._numbered(label)
        origin = replace(self._origin, path=f"{self._origin.path}!/{label}")
        try:
            kind = _kind_of_member(name, fault)
            with opening_errors(), _places_in_range():
                packed = opened()
            with (
                guarded(packed, Budget(self._config, packed_bytes, self._budget)) as file,
                spooled(file) as copy,
            ):
                n_bytes = copy.seek(0, io.SEEK_END)
                content = Content(label, lambda: _borrowed(copy), n_bytes, can_seek=True)
                yield from self._read_one(content, kind, origin, self._config)
        except Refused as refused:
            yield origin.refusal(refused)

    def _numbered(self, label: str) -> str:
        """A second file of one name gets another, since ids are told apart by it."""
        self._names[label] += 1
        n = self._names[label]
        return label if n == 1 else f"{label}~{n}"


def _kind_of_member(name: str, fault: Refused | None) -> FileKind:
    if _escapes(name):
        raise Refused(
            "path_escapes", f"is named {name!r}; names from a root or with .. are not read"
        )
    kind = kind_of(name)
    if kind is None:
        raise Refused("ending_not_read", f"endings that are read: {ENDINGS_READ}")
    if kind.format in ("zip", "tar"):
        raise Refused("nested_archive", "is an archive in an archive; unpack the outer one")
    if fault:
        raise fault
    return kind


def _escapes(name: str) -> bool:
    """Whether a member would be written elsewhere than below the folder it is unpacked in.

    >>> _escapes("../x.txt"), _escapes("/etc/x.txt"), _escapes("C:\\\\x.txt"), _escapes("a..b/c")
    (True, True, True, False)
    """
    name = name.replace("\\", "/")
    return name.startswith("/") or bool(_DRIVE.match(name)) or ".." in name.split("/")


class _Borrowed(io.RawIOBase):
    """A file that is read from its beginning and stays open when this is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _borrowed(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Borrowed(file)))
