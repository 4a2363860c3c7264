"""Bytes, unpacked as they are read: what is truncated, damaged or a bomb raises Refused.

All that comes before the fault is given first: what is packed and cut short is read up to the cut.
Called by everything that opens a file; a `Content` is a file, a compressed file or a member of an
archive, which can be read from its beginning as often as it must be.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.formats import Compression
from groundup.data.records import Refused

BLOCK_BYTES = 256 << 10
_HARMLESS_BYTES = 16 << 20  # what anything may unpack to
_SPOOL_BYTES = 8 << 20  # held in memory before it goes to a temporary file
_ZST_STEP_BYTES = 16 << 10  # pyarrow gives nothing of a read in which it meets a fault


@dataclass(frozen=True)
class Content:
    """The bytes of one thing to read.

    name: for its ending
    opened: opens it at its beginning, unpacked
    n_bytes: of what is read, if that is known before
    can_seek: whether going back costs nothing
    """

    name: str
    opened: Callable[[], BinaryIO]
    n_bytes: int | None = None
    can_seek: bool = False

    def read_whole(self, limit_bytes: int) -> bytes:
        """All of it. Raises Refused (`too_large`) above `limit_bytes`."""
        if self.n_bytes is not None and self.n_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        data = bytearray()
        with self.opened() as file:
            while block := file.read(limit_bytes + 1 - len(data)):
                data += block
        if len(data) > limit_bytes:
            raise _too_large(limit_bytes)
        return bytes(data)

    @contextmanager
    def seekable(self) -> Iterator[BinaryIO]:
        """A file in which one can go back: itself, or a temporary copy."""
        with self.opened() as file:
            if self.can_seek:
                yield file
                return
            with spooled(file) as copy:
                yield copy

    def blocks(self) -> Iterator[bytes]:
        """Its bytes, some at a time."""
        with self.opened() as file:
            while block := file.read(BLOCK_BYTES):
                yield block


def _too_large(limit_bytes: int) -> Refused:
    return Refused(
        "too_large",
        f"has to be held whole and is above {limit_bytes:,} bytes; raise max_document_bytes",
    )


@contextmanager
def spooled(file: IO[bytes]) -> Iterator[BinaryIO]:
    """A copy of what is left of `file`, in memory or a temporary file."""
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as copy:
        while block := file.read(BLOCK_BYTES):
            copy.write(block)
        copy.seek(0)
        yield cast(BinaryIO, copy)


def opened_up_to(path: Path, n_bytes: int) -> BinaryIO:
    """A file, of which no more is read than `n_bytes`: one that somebody appends to has an end."""
    return cast(BinaryIO, io.BufferedReader(_UpTo(path, n_bytes), BLOCK_BYTES))


class _UpTo(io.RawIOBase):
    def __init__(self, path: Path, n_bytes: int) -> None:
        self._file, self._n_bytes = path.open("rb", buffering=0), n_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset, whence = offset + self._n_bytes, io.SEEK_SET
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        left = max(self._n_bytes - self._file.tell(), 0)
        return self._file.readinto(memoryview(buffer)[:left]) or 0

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._file.close()


# --- unpacking ------------------------------------------------------------------------------------


@dataclass
class Budget:
    """How much may still be unpacked: some times the packed size, and a number of bytes.

    packed_bytes: of what is unpacked; None if that is not known
    above: the budget of the archive that it is a part of
    """

    config: ReadingConfig
    packed_bytes: int | None
    above: Budget | None = None
    n_bytes: int = 0

    @property
    def limit_bytes(self) -> float:
        limit = float(self.config.max_unpacked_bytes)
        if self.packed_bytes is None:
            return limit
        return min(limit, max(self.config.max_expansion * self.packed_bytes, _HARMLESS_BYTES))

    @property
    def is_spent(self) -> bool:
        return self.n_bytes > self.limit_bytes

    def spend(self, n_bytes: int) -> None:
        """Raise Refused (`expands_too_much`) if that is more than may be."""
        self.n_bytes += n_bytes
        if self.is_spent:
            raise Refused(
                "expands_too_much",
                f"unpacks to more than {self.limit_bytes:,.0f} bytes; if it is no bomb, raise "
                "max_expansion or max_unpacked_bytes",
            )
        if self.above:
            self.above.spend(n_bytes)


def unpacked(packed: BinaryIO, compression: Compression, budget: Budget) -> BinaryIO:
    """The bytes that are compressed in `packed`, which is closed with the result."""
    match compression:
        case "gz":
            stream: Any = gzip.GzipFile(fileobj=packed)
        case "bz2":
            stream = bz2.BZ2File(packed)
        case "xz":
            stream = lzma.LZMAFile(packed)  # noqa: SIM115 - closed by what is returned
        case "zst":
            import pyarrow as pa

            stream = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd")
            return guarded(stream, budget, also_close=packed, step_bytes=_ZST_STEP_BYTES)
    return guarded(stream, budget, also_close=packed)


def guarded(
    stream: Any, budget: Budget, also_close: Any = None, step_bytes: int = BLOCK_BYTES
) -> BinaryIO:
    """`stream`, which raises Refused for all that can be wrong with what it unpacks.

    It is read `step_bytes` at a time, and what was read before a fault is given before it.
    """
    raw = _Guarded(stream, budget, also_close, step_bytes)
    return cast(BinaryIO, _UpToFault(raw, BLOCK_BYTES))


class _UpToFault(io.BufferedReader):
    """A file whose `read` gives less where a fault follows, which the next one raises."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = sys.maxsize if size is None or size < 0 else size
        blocks: list[bytes] = []
        try:
            while left > 0 and (block := self.read1(min(left, BLOCK_BYTES))):
                blocks.append(block)
                left -= len(block)
        except Refused:
            if not blocks:
                raise
        return b"".join(blocks)


class _Guarded(io.RawIOBase):
    def __init__(self, stream: Any, budget: Budget, also_close: Any, step_bytes: int) -> None:
        self._stream, self._budget, self._also_close = stream, budget, also_close
        self._read = getattr(stream, "read1", stream.read)  # `read` loses what came before a fault
        self._step_bytes = step_bytes
        self._fault: Refused | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view, n = memoryview(buffer), 0
        while n < len(view) and not self._fault:
            try:
                with unpacking_errors():
                    data = self._read(min(len(view) - n, self._step_bytes))
                view[n : n + len(data)] = data
                n += len(data)
                self._budget.spend(len(data))
            except Refused as refused:
                self._fault = refused
                break
            if not data:
                break
        if self._fault and not n:
            raise self._fault
        return n

    def close(self) -> None:
        if not self.closed:
            super().close()
            for stream in (self._stream, self._also_close):
                if stream is not None:
                    stream.close()


@contextmanager
def opening_errors() -> Iterator[None]:
    """The same around the opening of a member, where zipfile stumbles over damaged names, too."""
    with unpacking_errors():
        try:
            yield
        except (ValueError, LookupError, RuntimeError) as error:
            raise Refused("damaged", f"cannot be unpacked: {error}") from error


@contextmanager
def unpacking_errors() -> Iterator[None]:
    """Turn what the libraries raise for bad archives into Refused."""
    try:
        yield
    except EOFError as error:
        raise Refused("truncated", "ends in the middle of what is compressed") from error
    except (zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise Refused("damaged", f"cannot be unpacked: {error}") from error
    except NotImplementedError as error:
        raise Refused("damaged", f"is compressed in a way that is not read: {error}") from error
    except OSError as error:
        if error.errno is not None:  # the disk's
            raise
        if "too much memory" in str(error):
            detail = "was compressed with a long window; run zstd -d --long=31 on it first"
            raise Refused("too_large", detail) from error
        reason = "truncated" if "runcated" in str(error) else "damaged"
        raise Refused(reason, f"cannot be unpacked: {error}") from error
