"""Where the texts of a corpus are, and where long ones are cut into pieces.

A source can be sent to a process, since it holds paths and not texts. A document that is too long
to be held, or to have one document's share, is read in pieces that have the words of the whole.
Called by `counting.py`; readers of other formats are TextSources made elsewhere.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from groundup.runtime import DataError, stable_hash
from groundup.tokenizer.counts.config import CountConfig

Read = Callable[[int, int], bytes]  # the bytes of a document from one place to another
WordsOf = Callable[[str], list[bytes]]

_BATCH_BYTES = 2 << 20  # of Parquet's rows at a time


class TextSource(Protocol):
    """A few documents, in a form that can be sent to a process: where the texts are, not they."""

    def fingerprint(self) -> str:
        """A hash of the texts, or of the bytes that they are read from."""

    def texts(self) -> Iterator[str]:
        """The documents, one at a time."""


@dataclass(frozen=True)
class TextSpan:
    """A file of text that is one document, or those of its pieces that begin in [start, end).

    Its words are those of the whole file wherever spans end. It is read as UTF-8, without a byte
    order mark, and line ends become \\n.
    """

    path: Path
    start: int = 0
    end: int | None = None


@dataclass(frozen=True)
class ParquetTexts:
    """A column of strings in one row group of a Parquet file: a document a row."""

    path: Path
    row_group: int
    column: str = "text"

    def fingerprint(self) -> str:
        """Hash of the column as the file holds it, and of what says how to read it."""
        with self._opened() as file:
            chunk, n_rows = self._chunk(file), file.metadata.row_group(self.row_group).num_rows
            kind = str(file.schema_arrow.field(self.column).type)
        places = (chunk.dictionary_page_offset, chunk.data_page_offset)
        digest = xxhash.xxh3_128()
        with self.path.open("rb") as raw:
            raw.seek(min(place for place in places if place))
            left = chunk.total_compressed_size
            while left and (block := raw.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
        return stable_hash([digest.hexdigest(), n_rows, kind, chunk.compression])

    def texts(self) -> Iterator[str]:
        """The rows that are not null."""
        with self._opened() as file:
            n_bytes = self._chunk(file).total_uncompressed_size
            n_rows = file.metadata.row_group(self.row_group).num_rows
            batches = file.iter_batches(
                batch_size=max(n_rows * _BATCH_BYTES // max(n_bytes, 1), 1),
                row_groups=[self.row_group],
                columns=[self.column],
                use_threads=False,
            )
            for batch in batches:
                yield from (text for text in batch.column(0).to_pylist() if text is not None)

    def n_bytes(self) -> int:
        """About how much text there is."""
        with self._opened() as file:
            return int(self._chunk(file).total_uncompressed_size)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20) as file:
                yield file
        except (pa.ArrowException, UnicodeDecodeError) as error:
            line = str(error).splitlines()[0]
            raise DataError(
                f"{self.path} cannot be read as Parquet ({line}); make it anew, or leave it out"
            ) from error

    def _chunk(self, file: pq.ParquetFile) -> Any:
        group = file.metadata.row_group(self.row_group)
        columns = {
            group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)
        }
        if self.column not in columns or not _is_text(file.schema_arrow.field(self.column).type):
            found = ", ".join(columns)
            raise DataError(
                f"{self.path} has no column of strings named {self.column} (columns: {found}); "
                "name the one that holds the text"
            )
        return columns[self.column]


Shard = tuple[TextSpan | TextSource, ...]


def shards_of(files: Iterable[Path], config: CountConfig, *, column: str = "text") -> list[Shard]:
    """Divide files into shards of about `config.shard_bytes`, in order.

    A .parquet file is a document a row, in `column`; any other file is one document of plain text.
    Small files share a shard, a big file is spread over several.
    """
    shards: list[Shard] = []
    shard: list[TextSpan | TextSource] = []
    size = 0
    for path in files:
        for source, n_bytes in _sources_in(path, config.shard_bytes, column):
            if shard and size + n_bytes > config.shard_bytes:
                shards.append(tuple(shard))
                shard, size = [], 0
            shard.append(source)
            size += n_bytes
    return [*shards, tuple(shard)] if shard else shards


def _sources_in(
    path: Path, span_bytes: int, column: str
) -> Iterator[tuple[TextSpan | TextSource, int]]:
    with _reading(path):
        n_bytes = path.stat().st_size
        if path.suffix.lower() == ".parquet":
            first = ParquetTexts(path, 0, column)
            with first._opened() as file:
                n_groups = file.metadata.num_row_groups
            for group in range(n_groups):
                rows = ParquetTexts(path, group, column)
                yield rows, rows.n_bytes()
            return
    for start in range(0, n_bytes, span_bytes):
        end = min(start + span_bytes, n_bytes)
        yield TextSpan(path, start, end), end - start


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); see that it is there, "
            "or leave it out"
        ) from error


# --- pieces of long documents ---------------------------------------------------------------------
#
# A piece must end where a word of the whole document ends, and the words of what follows must not
# depend on what stands before. For the published patterns a border is
# (1) between anything but white space and a plain space, or a letter or digit and any white space:
#     what an alternative takes after something else than white space is \r and \n, and those only
#     after punctuation;
# (2) between a \n that stands behind anything but white space, and a letter, digit or underscore:
#     no alternative begins with \n and goes on to these, and a run of white space that is one \n is
#     taken whole by the same word whether or not something follows.
# Alternatives that look ahead, \s+(?!\S) and \s++$, take white space only; none looks back. For
# other cutters, for normalizers and for (3), places inside stretches without white space, a place
# is taken for a border if some hundred characters on either side give the same words together as
# apart.

_BORDERS = re.compile(r"(?<=\S)(?= )|(?<=[^\W_])(?=\s)|(?<=\S\n)(?=\w)")  # (1), (1), (2)
_WITHIN = re.compile(r"(?<=\S)(?=\S)")  # (3)
_CONTEXT = 512  # characters on either side
_NEAR_BYTES = 4 << 10  # looked through first
_TRIES = 256


def pieces_of(text: str, document_bytes: int, words_of: WordsOf) -> tuple[Iterator[str], int]:
    """A text in pieces of about so many bytes, and how many of them have to end inside a word."""
    data = text.encode()
    places, n_forced = _places(_slices(data), len(data), 0, len(data), document_bytes, words_of)
    return (data[begin:end].decode() for begin, end in pairwise(places)), n_forced


def cut_file(span: TextSpan, document_bytes: int, words_of: WordsOf) -> CutFile:
    """Find where the pieces of a span begin and end."""
    with _reading(span.path), span.path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        end = n_bytes if span.end is None else span.end
        try:
            places, n_forced = _places(
                _stretches(file), n_bytes, span.start, end, document_bytes, words_of
            )
        except UnicodeDecodeError as error:
            raise _not_utf8(span.path, "near a piece's border") from error
    return CutFile(span.path, tuple(places), span.start == 0 < n_bytes, n_forced)


@dataclass(frozen=True)
class CutFile:
    """A stretch of a text file, and where its pieces begin and end."""

    path: Path
    places: tuple[int, ...]
    holds_start: bool
    n_forced_cuts: int

    def fingerprint(self) -> str:
        digest = xxhash.xxh3_128()
        with self._read() as read:
            for begin, end in pairwise(self.places):
                digest.update((end - begin).to_bytes(8, "little"))
                digest.update(read(begin, end))
        return stable_hash([digest.hexdigest(), self.holds_start])

    def texts(self) -> Iterator[str]:
        with self._read() as read:
            for begin, end in pairwise(self.places):
                yield self._text(read(begin, end), begin)

    def _text(self, data: bytes, begin: int) -> str:
        if begin == 0:
            data = data.removeprefix(codecs.BOM_UTF8)
        if b"\0" in data:
            raise DataError(
                f"{self.path} holds NUL bytes: it is not plain text, or UTF-16; save it as UTF-8, "
                "or leave it out"
            )
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(self.path, f"near byte {begin + error.start}") from error
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @contextmanager
    def _read(self) -> Iterator[Read]:
        with _reading(self.path), self.path.open("rb") as file:
            yield _stretches(file)


def _not_utf8(path: Path, where: str) -> DataError:
    return DataError(f"{path} is not UTF-8 {where}; save it as UTF-8, or leave it out")


def _places(
    read: Read, n_bytes: int, start: int, end: int, document_bytes: int, words_of: WordsOf
) -> tuple[list[int], int]:
    """Where the pieces that begin in [start, end) are cut, the ends included; how many by force.

    Piece number j of a document begins at the first border from byte j * document_bytes on.
    """
    size = document_bytes
    places: list[int] = []
    n_forced = 0
    for j in range(-(-start // size), -(-min(end, n_bytes) // size) + 1):
        place, found = _border(read, j * size, size, n_bytes, words_of)
        if not places:  # where this is a forced cut, the span before counts it
            places.append(place)
        elif place > places[-1]:
            places.append(place)
            n_forced += not found
    return places, n_forced


def _border(read: Read, at: int, reach: int, n_bytes: int, words_of: WordsOf) -> tuple[int, bool]:
    """The first border from byte `at` on, before `at + reach`; and False if there is none.

    The ends of the document are borders. Where there is none a piece must end all the same: at
    `at`, or behind it if a character begins before it.

    >>> from groundup.tokenizer.pretokenize import PatternCutter
    >>> text = b"one two  three"
    >>> _border(_slices(text), 5, 9, len(text), PatternCutter("gpt2").cut)
    (7, True)
    """
    if at <= 0 or at >= n_bytes:
        return min(max(at, 0), n_bytes), True
    end = min(at + reach, n_bytes)
    while at < end and continues(read(at, at + 1)[0]):
        at += 1
    before = _whole_characters(read(max(at - 4 * _CONTEXT, 0), at))[-_CONTEXT:]
    for pattern, look in ((_BORDERS, _NEAR_BYTES), (_BORDERS, reach), (_WITHIN, _NEAR_BYTES)):
        stop = min(at + look, end)
        text = before + _whole_characters(read(at, stop + 4 * _CONTEXT))
        for found in islice(pattern.finditer(text, len(before)), _TRIES):
            i = found.start()
            place = at + len(text[len(before) : i].encode())
            if place >= stop:
                break
            left, right = text[max(i - _CONTEXT, 0) : i], text[i : i + _CONTEXT]
            in_number = left[-1].isnumeric() and right[0].isnumeric()  # digits go in threes
            if not in_number and words_of(left + right) == words_of(left) + words_of(right):
                return place, True
    return (n_bytes, True) if end == n_bytes else (at, False)


def _whole_characters(data: bytes) -> str:
    """Text without the parts of characters that stand at its ends."""
    return codecs.getincrementaldecoder("utf-8")().decode(data.lstrip(_CONTINUING))


def continues(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with a character."""
    return byte & 0xC0 == 0x80


_CONTINUING = bytes(range(0x80, 0xC0))


def _slices(data: bytes) -> Read:
    return lambda begin, end: data[begin:end]


def _stretches(file: BinaryIO) -> Read:
    def read(begin: int, end: int) -> bytes:
        file.seek(begin)
        return file.read(end - begin)

    return read
