"""The rows of an evaluation set's file: JSONL, JSON, CSV, TSV or Parquet, packed or not.

Unlike a source, from which a column of text is taken and what is bad is left out, an evaluation set
has to be whole: all columns are read, and the first row that cannot be is an error.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.encoding import encoding_of
from groundup.data.reading.formats import Compression, FileKind, kind_of
from groundup.data.reading.rows import Row, json_rows, jsonl_rows
from groundup.data.reading.streams import Budget, Content, opened_up_to, unpacked, unpacking_errors
from groundup.data.records import Refused
from groundup.runtime import DataError

ENDINGS = ".jsonl, .json, .csv, .tsv or .parquet, any of them also as .gz, .zst, .bz2 or .xz"
_HOLD_ROWS = ("jsonl", "json", "csv", "tsv", "parquet")
_HOLD_FILES = ("zip", "tar", "warc")
_UNREAD_DATA = frozenset(
    {
        ".7z", ".arrow", ".avro", ".db", ".feather", ".npy", ".npz", ".orc", ".pickle", ".pkl",
        ".rar", ".sqlite", ".tfrecord", ".xls", ".xlsx",
    }
)  # fmt: skip
_ROWS_AT_A_TIME = 256  # of Parquet
# The tables of MMLU as its authors hand them out have no line of names (Hendrycks et al. 2021).
_MMLU = ("question", "A", "B", "C", "D", "answer")


def holds_rows(name: str) -> bool:
    """Whether the rows of a file of that name are read."""
    kind = kind_of(name)
    return kind is not None and kind.format in _HOLD_ROWS


def is_unread_data(name: str) -> bool:
    """Whether a file of that name may well hold rows, and is not read.

    >>> is_unread_data("test.arrow"), is_unread_data("sets.tar.gz"), is_unread_data("LICENSE")
    (True, True, False)
    """
    kind = kind_of(name)
    if kind is not None:
        return kind.format in _HOLD_FILES
    return not _UNREAD_DATA.isdisjoint(suffix.lower() for suffix in Path(name).suffixes)


def rows_of_file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row stands, to be told in messages, and the row.

    Raises DataError where something cannot be read.
    """
    kind = kind_of(path.name)
    assert kind is not None
    try:
        with unpacking_errors():
            for number, row, _ in _rows(_content(path, kind.compression), kind):
                where = (
                    f"{path}:{number + 1}" if kind.format == "jsonl" else f"{path}, row {number}"
                )
                if isinstance(row, Refused):
                    raise row
                if not isinstance(row, Mapping):
                    raise DataError(f"{where} is a {type(row).__name__}; a row must be an object")
                yield where, row
    except Refused as refused:
        raise DataError(
            f"{path}: {refused.detail}; mend it, or leave it out of the evaluation sets"
        ) from refused
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); change its permissions, or leave "
            "it out of the evaluation sets"
        ) from error


def _content(path: Path, compression: Compression | None) -> Content:
    n_bytes = path.stat().st_size
    if compression is None:
        return Content(path.name, lambda: opened_up_to(path, n_bytes), n_bytes, can_seek=True)
    return Content(
        path.name,
        lambda: unpacked(
            opened_up_to(path, n_bytes), compression, Budget(ReadingConfig(), n_bytes)
        ),
    )


def _rows(content: Content, kind: FileKind) -> Iterator[Row]:
    match kind.format:
        case "jsonl":
            return jsonl_rows(content, ReadingConfig())
        case "json":
            return json_rows(content, ReadingConfig())
        case "parquet":
            return _parquet_rows(content)
        case _:
            return _table_rows(content, "\t" if kind.format == "tsv" else ",")


def _table_rows(content: Content, delimiter: str) -> Iterator[Row]:
    encoding, n_mark = encoding_of(content.blocks(), Counter())
    with content.opened() as file:
        file.read(n_mark)
        lines = io.TextIOWrapper(file, encoding, newline="")
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            yield from _named_rows(reader)
        except csv.Error as error:
            told = f"line {reader.line_num} cannot be divided into fields: {error}"
            raise Refused("not_csv", told) from error
        except UnicodeDecodeError as error:  # a guess that the rest does not bear out
            told = f"is not all {error.encoding}; save it as UTF-8"
            raise Refused("not_utf8", told) from error


def _named_rows(reader: Any) -> Iterator[Row]:
    names = [name.strip() for name in next(reader, [])]
    number = 0
    if len(names) == len(_MMLU) and names[-1] in _MMLU[1:-1]:
        yield number, dict(zip(_MMLU, names, strict=True)), None
        number, names = 1, list(_MMLU)
    for fields in reader:
        if len(fields) == len(names):
            yield number, dict(zip(names, fields, strict=True)), None
            number += 1
        elif fields:
            told = f"line {reader.line_num} has {len(fields)} fields; needs {len(names)}"
            raise Refused("row_of_other_length", told)


def _parquet_rows(content: Content) -> Iterator[Row]:
    number = 0
    with content.seekable() as raw:
        try:
            with pq.ParquetFile(raw, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME, use_threads=False):
                    for row in batch.to_pylist():
                        yield number, row, None
                        number += 1
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's
                raise
            line = (str(error).splitlines() or [type(error).__name__])[0]
            told = f"cannot be read as Parquet after row {number}: {line}"
            raise Refused("not_parquet", told) from error
