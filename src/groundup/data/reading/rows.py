"""Rows of JSON, of tables and of data sets: each is a document, a chat or a preference pair.

Tables stand in `tables.py` and `parquet.py`, the formats of chats in `conversations.py`.
"""

from __future__ import annotations

import codecs
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO, cast

from groundup.data.reading.columns import LICENCE_COLUMNS, column_in
from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.conversations import record_of_any_format
from groundup.data.reading.encoding import mark_of
from groundup.data.reading.origin import Origin, storable
from groundup.data.reading.streams import BLOCK_BYTES, Content
from groundup.data.records import (
    NAME_A_COLUMN,
    Document,
    Record,
    Refusal,
    Refused,
    clean_text,
    columns_found,
)
from groundup.data.split import cut_text

_UTF8_BOM = codecs.BOM_UTF8
Row = tuple[int, Any, tuple[int, int] | None]  # its number, a value or Refused, its bytes


def read_rows(
    rows: Iterable[Row], origin: Origin, config: ReadingConfig
) -> Iterator[Record | Refusal]:
    """The record in each row; a text that is longer than a piece becomes several documents.

    The ids of pieces are "#<row>.<piece>".
    """
    for number, row, span in rows:
        try:
            if isinstance(row, Refused):
                raise row
            record = _record_of(row, number, origin)
        except Refused as refused:
            yield origin.refusal(refused, number)
            continue
        if not isinstance(record, Document):
            yield record
            continue
        yield from _pieces(record, span, config)


def _record_of(row: Any, number: int, origin: Origin) -> Record:
    record_id = f"{origin.id}#{number}"
    column = column_in(row if isinstance(row, Mapping) else (), origin)
    if column is None:
        record = record_of_any_format(row, record_id, origin.source)
    elif isinstance(row, Mapping) and row.get(column) is not None:
        text = clean_text(row[column], column)
        record = Document(text, record_id, origin.source)
    elif isinstance(row, Mapping) and column in row:
        raise Refused("empty", f"{column} is null")
    elif isinstance(row, Mapping):
        detail = f"{columns_found(sorted(map(str, row)))}; need {column}; {NAME_A_COLUMN}"
        raise Refused("columns_not_known", detail)
    else:
        raise Refused("row_is_no_object", f"a row must be an object, got {type(row).__name__}")
    licence = _licence(row) or origin.licence
    if isinstance(record, Document):
        return replace(record, licence=licence, path=origin.path)
    return replace(record, licence=licence)


def _licence(row: Mapping[str, Any]) -> str | None:
    for column in LICENCE_COLUMNS:
        value = row.get(column)
        if isinstance(value, str) and value.strip():
            return storable(value.strip())
    return None


def _pieces(
    record: Document, span: tuple[int, int] | None, config: ReadingConfig
) -> Iterator[Document]:
    pieces = cut_text(record.text, config.piece_bytes)
    start, end = span or (None, None)
    if len(pieces) == 1:
        yield replace(record, start=start, end=end)
        return
    for n, piece in enumerate(pieces):
        if piece.strip():
            yield replace(record, text=piece, id=f"{record.id}.{n}", start=start, end=end)


# --- JSON -----------------------------------------------------------------------------------------


def jsonl_rows(
    content: Content, config: ReadingConfig, notes: Counter[str] | None = None
) -> Iterator[Row]:
    """A row for each line that is not blank; a line that cannot be read gives a Refused.

    `notes` counts an encoding other than UTF-8, in which lines have no place in bytes.
    """
    with _opened_as_utf8(content, notes) as (file, is_as_stored):
        for n, (start, line) in enumerate(lines_of(file, config.max_document_bytes)):
            if isinstance(line, Refused):
                yield n, line, None
                continue
            end = start + len(line)
            if n == 0:
                line = line.removeprefix(_UTF8_BOM)
            if line.strip():
                yield n, _value_of(line, n), (start, end) if is_as_stored else None


def _value_of(line: bytes, n: int) -> Any:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        return Refused("not_utf8", f"line {n + 1} is not UTF-8")
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no JSON error
        return Refused("not_json", f"line {n + 1} is not JSON: {error}")


def lines_of(file: BinaryIO, limit_bytes: int) -> Iterator[tuple[int, bytes | Refused]]:
    """(where it begins, line) for each; Refused in place of one that is too long to be held."""
    start = 0
    while line := file.readline(limit_bytes + 1):
        begun, start = start, start + len(line)
        if len(line) <= limit_bytes:
            yield begun, line
            continue
        while not line.endswith(b"\n") and (line := file.readline(BLOCK_BYTES)):
            start += len(line)
        yield (
            begun,
            Refused(
                "too_large", f"a line is above {limit_bytes:,} bytes; raise max_document_bytes"
            ),
        )


def json_rows(
    content: Content, config: ReadingConfig, notes: Counter[str] | None = None
) -> Iterator[Row]:
    """The elements of an array, or values one after the other; never the whole file at once.

    Raises Refused where it is no JSON any more. `notes` counts an encoding other than UTF-8.
    """
    with _opened_as_utf8(content, notes) as (file, _):
        values = _JsonValues(file, config.max_document_bytes)
        for n, value in enumerate(values.values()):
            yield n, value, None
    if not values.n_values and not values.is_array:
        raise Refused("empty", "text is empty")


@contextmanager
def _opened_as_utf8(
    content: Content, notes: Counter[str] | None
) -> Iterator[tuple[BinaryIO, bool]]:
    """(its bytes as UTF-8, whether they are those that are stored).

    JSON is UTF-8 (RFC 8259) unless a byte order mark says otherwise; no pass is spent on guessing.
    """
    with content.opened() as file:
        name, n_mark = mark_of(file.read(4))
    with content.opened() as file:
        if name in ("", "utf-8"):
            yield file, True
            return
        if notes is not None:
            notes[f"encoding {name}"] += 1
        file.read(n_mark)
        yield cast(BinaryIO, io.BufferedReader(_AsUtf8(file, name), BLOCK_BYTES)), False


class _AsUtf8(io.RawIOBase):
    """A file in another encoding, as UTF-8."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._decode = codecs.getincrementaldecoder(name)().decode
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            block = self._file.read(BLOCK_BYTES)
            try:
                self._held = self._decode(block, not block).encode()
            except UnicodeError as error:
                raise Refused("not_utf8", f"is not all {self._name}; save it as UTF-8") from error
            if not block:
                break
        data, self._held = self._held[: len(buffer)], self._held[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


class _JsonValues:
    """Values parsed from a stream, of which no more is held than the largest of them needs."""

    def __init__(self, file: BinaryIO, limit_bytes: int) -> None:
        self._file, self._limit = file, limit_bytes
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at, self._is_done = "", 0, False
        self._parse = json.JSONDecoder().raw_decode
        self.n_values = 0
        self.is_array = False

    def values(self) -> Iterator[Any]:
        self.is_array = self._next_character() == "["
        self._at += self.is_array
        while mark := self._next_character():
            if self.is_array and mark == "]":
                self._at += 1
                if self._next_character():
                    raise self._fault("goes on after the end of the list")
                return
            if self.is_array and self.n_values:
                if mark != ",":
                    raise self._fault("has no comma between two rows")
                self._at += 1
            yield self._value()
            self.n_values += 1
        if self.is_array:
            raise Refused("truncated", f"ends in the middle of its list, after row {self.n_values}")

    def _value(self) -> Any:
        self._next_character()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self._is_done or not self._may_go_on(error):
                    told = getattr(error, "msg", error)
                    raise self._fault(f"is not JSON: {told}") from error
            else:
                if end < len(self._text) or self._is_done:  # a number may go on in what comes next
                    self._at = end
                    return value
            if len(self._text) - self._at > self._limit:
                raise Refused(
                    "too_large",
                    f"row {self.n_values} is above {self._limit:,} characters; raise "
                    "max_document_bytes",
                )
            self._read()

    def _may_go_on(self, error: Exception) -> bool:
        """Whether it may be no more than that the text held breaks off there."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        is_near_end = error.pos >= len(self._text) - 16  # a literal or an escape, cut in two
        return is_near_end or error.msg.startswith("Unterminated string")

    def _next_character(self) -> str:
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_done:
                return ""
            self._read()

    def _read(self) -> None:
        """As much again as is held, so that long values are not parsed too often."""
        self._text, self._at = self._text[self._at :], 0
        block = self._file.read(max(BLOCK_BYTES, len(self._text)))
        try:
            self._text += self._decode(block, not block)
        except UnicodeDecodeError as error:
            raise Refused("not_utf8", f"is not UTF-8 after row {self.n_values}") from error
        self._is_done = not block

    def _fault(self, what: str) -> Refused:
        return Refused("not_json", f"{what} (row {self.n_values})")
