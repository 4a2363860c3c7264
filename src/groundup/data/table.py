"""Tables on disk: the columns every stage agrees on, and Parquet files that follow from rows alone.

A stage reads a file row group by row group (`tables_of`) and writes another (`TableWriter`), so it
holds some megabytes whatever the corpus holds. Called by every stage of the pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from groundup.data.records import Document
from groundup.runtime import DataError, storage_errors

DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("path", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.string()),
    ]
)
REMOVED_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept_id", pa.string()),
        ("detail", pa.string()),
        ("text", pa.string()),
    ]
)
EXCERPT_CHARACTERS = 500  # of a removed text, to be read by a person

ROW_GROUP_BYTES = 4 << 20  # of text: what a stage holds at a time
FILE_BYTES = 64 << 20  # of text in one file at most: what one job works on
_ROWS_AT_A_TIME = 16384  # rows of a few bytes would make a row group of millions


class TableWriter:
    """A Parquet file written in row groups of about ROW_GROUP_BYTES of strings.

    Where a row group ends follows from the rows alone, however they are handed over, so the same
    rows give the same bytes. A context manager; leaving it writes what is left.
    """

    def __init__(self, path: Path, schema: pa.Schema = DOCUMENT_SCHEMA) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.schema = path, schema
        self.n_rows = self.n_bytes = 0
        self._strings = [field.name for field in schema if pa.types.is_string(field.type)]
        self._rows: list[Mapping[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._group_rows = self._group_bytes = 0
        with storage_errors(path):
            self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row; columns it lacks are null."""
        self._rows.append(row)
        self._count(1, sum(_size(row.get(name)) for name in self._strings))
        if self._group_is_full():
            self._flush()

    def add_table(self, table: pa.Table) -> None:
        """Append the rows of a table that has the schema's columns, in any order."""
        table = table.select(self.schema.names).cast(self.schema)
        while table.num_rows:
            sizes = np.zeros(table.num_rows, dtype=np.int64)
            for name in self._strings:
                sizes += pc.fill_null(pc.binary_length(table[name]), 0).to_numpy()
            ends = np.cumsum(sizes)
            full = int(np.searchsorted(ends, max(ROW_GROUP_BYTES - self._group_bytes, 0)))
            n_rows = min(full + 1, _ROWS_AT_A_TIME - self._group_rows, table.num_rows)
            self._hold_rows()
            self._tables.append(table.slice(0, n_rows))
            self._count(n_rows, int(ends[n_rows - 1]))
            if self._group_is_full():
                self._flush()
            table = table.slice(n_rows)

    def close(self) -> None:
        """Write what is held and the footer."""
        with storage_errors(self.path):
            if self._group_rows:
                self._flush()
            self._writer.close()

    def _count(self, n_rows: int, n_bytes: int) -> None:
        self.n_rows += n_rows
        self.n_bytes += n_bytes
        self._group_rows += n_rows
        self._group_bytes += n_bytes

    def _group_is_full(self) -> bool:
        return self._group_bytes >= ROW_GROUP_BYTES or self._group_rows >= _ROWS_AT_A_TIME

    def _hold_rows(self) -> None:
        if self._rows:
            columns = [[row.get(name) for row in self._rows] for name in self.schema.names]
            arrays = [
                pa.array(column, field.type)
                for column, field in zip(columns, self.schema, strict=True)
            ]
            self._tables.append(pa.Table.from_arrays(arrays, schema=self.schema))
            self._rows = []

    def _flush(self) -> None:
        self._hold_rows()
        table = pa.concat_tables(self._tables).combine_chunks()
        with storage_errors(self.path):
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._tables, self._group_rows, self._group_bytes = [], 0, 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _size(value: Any) -> int:
    if not isinstance(value, str):
        return 0
    return len(value) if value.isascii() else len(value.encode())


class FilesWriter:
    """Rows spread over files FOLDER/NAME-00000.parquet and so on, each of about `file_bytes`.

    There is no file if there is no row. A context manager.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        schema: pa.Schema = DOCUMENT_SCHEMA,
        *,
        file_bytes: int | None = None,
    ) -> None:
        self.folder, self.name, self.schema = folder, name, schema
        self.file_bytes = file_bytes or FILE_BYTES
        self.n_rows = 0
        self.paths: list[Path] = []
        self._writer: TableWriter | None = None

    def add(self, row: Mapping[str, Any]) -> Path:
        """Append one row; gives the file that it went to."""
        if self._writer is None:
            path = self.folder / f"{self.name}-{len(self.paths):05d}.parquet"
            self._writer = TableWriter(path, self.schema)
            self.paths.append(path)
        self._writer.add(row)
        self.n_rows += 1
        if self._writer.n_bytes >= self.file_bytes:
            self.close()
        return self.paths[-1]

    def close(self) -> None:
        """Finish the file that is being written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> FilesWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def tables_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file, one at a time. Raises DataError if it is damaged."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(
                group, columns=None if columns is None else list(columns), use_threads=False
            )


def rows_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as dictionaries, with one row group in memory."""
    for table in tables_of(path, columns):
        yield from table.to_pylist()


def n_rows_of(path: Path) -> int:
    """How many rows a Parquet file has, from its footer."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except pa.ArrowException as error:
        line = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as Parquet ({line}); delete its folder and run again"
        ) from error


def document_row(document: Document) -> dict[str, Any]:
    """A document as a row of DOCUMENT_SCHEMA.

    >>> document_row(Document("Hi.", "a/b.txt#0", "a", path="b.txt"))["path"]
    'b.txt'
    """
    return {name: getattr(document, name) for name in DOCUMENT_SCHEMA.names}


def documents_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of rows of DOCUMENT_SCHEMA; columns that a row lacks are null.

    >>> documents_table([{"id": "a#0", "source": "a", "text": "Hi."}]).num_rows
    1
    """
    return pa.Table.from_pylist([dict(row) for row in rows], schema=DOCUMENT_SCHEMA)


def removed_row(
    document: Mapping[str, Any],
    stage: str,
    reason: str,
    *,
    score: float | None = None,
    kept_id: str | None = None,
    detail: str = "",
) -> dict[str, Any]:
    """What REMOVED_SCHEMA keeps of a row that was taken out; `document` has id, source and text.

    >>> removed_row({"id": "a#0", "source": "a", "text": "Hi."}, "clean", "too_short")["reason"]
    'too_short'
    """
    return {
        "id": document["id"],
        "source": document["source"],
        "stage": stage,
        "reason": reason,
        "score": score,
        "kept_id": kept_id,
        "detail": detail,
        "text": (document.get("text") or "")[:EXCERPT_CHARACTERS],
    }
