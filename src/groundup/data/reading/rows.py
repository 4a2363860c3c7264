"""Rows of JSON, of tables and of data sets: each is a document, a chat or a preference pair."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.encoding import encoding_of
from groundup.data.reading.origin import Origin, storable
from groundup.data.reading.streams import BLOCK_BYTES, Content
from groundup.data.records import (
    Document,
    Record,
    Refusal,
    Refused,
    clean_text,
    record_from_row,
)
from groundup.data.split import cut_text

LICENCE_COLUMNS = ("licence", "license")
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
    if origin.column is None:
        record = record_from_row(row, record_id, origin.source)
    elif isinstance(row, Mapping) and row.get(origin.column) is not None:
        text = clean_text(row[origin.column], origin.column)
        record = Document(text, record_id, origin.source)
    elif isinstance(row, Mapping):
        columns = ", ".join(sorted(map(str, row))) or "none"
        raise Refused("columns_not_known", f"columns found: {columns}; need {origin.column}")
    else:
        raise Refused("row_is_no_object", f"a row must be an object, got {type(row).__name__}")
    if isinstance(record, Document):
        return replace(record, licence=_licence(row) or origin.licence, path=origin.path)
    return record


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


def jsonl_rows(content: Content, config: ReadingConfig) -> Iterator[Row]:
    """A row for each line that is not blank; a line that cannot be read gives a Refused."""
    with content.opened() as file:
        for n, (start, line) in enumerate(lines_of(file, config.max_document_bytes)):
            if isinstance(line, Refused):
                yield n, line, None
                continue
            end = start + len(line)
            if n == 0:
                line = line.removeprefix(_UTF8_BOM)
            if line.strip():
                yield n, _value_of(line, n), (start, end)


def _value_of(line: bytes, n: int) -> Any:
    try:
        return json.loads(line)
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


def json_rows(content: Content, config: ReadingConfig) -> Iterator[Row]:
    """The elements of an array, or values one after the other; never the whole file at once.

    Raises Refused where it is no JSON any more.
    """
    with content.opened() as file:
        values = _JsonValues(file, config.max_document_bytes)
        for n, value in enumerate(values.values()):
            yield n, value, None
    if not values.n_values and not values.is_array:
        raise Refused("empty", "text is empty")


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
                if isinstance(error, RecursionError) or self._is_done:
                    raise self._fault(f"is not JSON: {error}") from error
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


# --- tables ---------------------------------------------------------------------------------------


def table_rows(
    content: Content, origin: Origin, config: ReadingConfig, delimiter: str
) -> Iterator[Row]:
    """The rows under a line of names. Raises Refused without such a line, or such a column."""
    name, n_mark = encoding_of(content.blocks(), origin.notes)
    _allow_long_fields(config.max_document_bytes)
    with content.opened() as file:
        file.read(n_mark)
        lines = _Lines(io.TextIOWrapper(file, name, newline=""), config.max_document_bytes)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            names = next(reader, None)
        except UnicodeDecodeError as error:
            raise _not_all(error) from error
        if names is None:
            raise Refused("empty", "text is empty")
        _check_names(names, origin)
        n = 0
        while True:
            row = _next_row(reader, names, n)
            if row is None:
                return
            if row != {}:
                yield n, row, None
                n += 1


def _not_all(error: UnicodeDecodeError) -> Refused:
    """Of a guess that the rest of the file does not bear out."""
    return Refused("not_utf8", f"is not all {error.encoding}; save it as UTF-8")


def _next_row(reader: Any, names: list[str], n: int) -> Any:
    """A row as a dictionary, Refused, {} for a blank line, None at the end."""
    first = reader.line_num + 1
    try:
        fields = next(reader, None)
    except csv.Error as error:
        return Refused("not_csv", f"line {first} cannot be divided into fields: {error}")
    except UnicodeDecodeError as error:
        raise _not_all(error) from error
    except Refused as refused:
        return refused
    if not fields:
        return None if fields is None else {}
    if len(fields) != len(names):
        return Refused(
            "row_of_other_length", f"line {first} has {len(fields)} fields; needs {len(names)}"
        )
    return dict(zip(names, fields, strict=True))


def _check_names(names: list[str], origin: Origin) -> None:
    wanted = {origin.column} if origin.column else {"text", "chosen"}
    if not wanted & set(names):
        columns = ", ".join(names)
        raise Refused(
            "columns_not_known",
            f"columns found: {columns}; name the one that holds the text: column={names[-1]!r}",
        )


def _allow_long_fields(limit: int) -> None:
    """csv refuses fields above 128 kB; its limit is one number for the whole process."""
    csv.field_size_limit(max(csv.field_size_limit(), limit))


class _Lines:
    """Lines of a text file; one that is too long raises Refused, and the next is read after it."""

    def __init__(self, file: io.TextIOWrapper, limit: int) -> None:
        self._file, self._limit = file, limit

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._limit)
        if not line:
            raise StopIteration
        if len(line) < self._limit:
            return line
        while line and not line.endswith("\n"):
            line = self._file.readline(BLOCK_BYTES)
        raise Refused("too_large", f"a line is above {self._limit:,} characters")
