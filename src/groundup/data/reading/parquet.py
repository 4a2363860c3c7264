"""Rows of a Parquet file, a few at a time; what is damaged costs a row, or a group of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groundup.data.reading.columns import check_columns, read_of
from groundup.data.reading.origin import Origin
from groundup.data.reading.rows import Row
from groundup.data.reading.streams import Content
from groundup.data.records import Refused

_MAGIC = b"PAR1"
_BATCH_BYTES = 8 << 20


def parquet_rows(content: Content, origin: Origin) -> Iterator[Row]:
    """Rows with the columns that are known, or the one that is named. Raises Refused."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 0
    with content.seekable() as raw:
        try:
            with pq.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20) as file:
                names = file.schema_arrow.names
                check_columns(names, origin)
                for group in range(file.num_row_groups):
                    n_rows = file.metadata.row_group(group).num_rows
                    yield from _rows_of_group(file, group, read_of(names, origin), n)
                    n += n_rows
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _fault(raw, n, error) from error


def _rows_of_group(file: Any, group: int, names: list[str], n: int) -> Iterator[Row]:
    """The rows of a group, the first being number n; those that a fault costs are one Refused."""
    import pyarrow as pa

    meta = file.metadata.row_group(group)  # of a damaged file, meta.column() ends the process
    end = n + meta.num_rows
    n_at_once = max(meta.num_rows * _BATCH_BYTES // max(meta.total_byte_size, 1), 1)
    try:
        for batch in file.iter_batches(
            batch_size=min(n_at_once, 4096), row_groups=[group], columns=names, use_threads=False
        ):
            for row in _values(batch):
                yield n, row, None
                n += 1
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        detail = f"{end - n} rows, from row {n} on, cannot be read as Parquet: {_line_of(error)}"
        yield n, Refused("not_parquet", detail), None


def _values(batch: Any) -> list[Any]:
    """The rows of a batch; Refused in place of one with a string that is not UTF-8."""
    try:
        rows: list[Any] = batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [Refused("not_utf8", "a string in it is not UTF-8")]
        return [row for n in range(batch.num_rows) for row in _values(batch.slice(n, 1))]
    return rows


def _line_of(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _fault(raw: Any, n_rows: int, error: Exception) -> Refused:
    line = _line_of(error)
    raw.seek(0)
    begins = raw.read(4) == _MAGIC
    raw.seek(-4, 2) if raw.seek(0, 2) >= 4 else raw.seek(0)
    if begins and raw.read(4) != _MAGIC:
        return Refused("truncated", f"begins as Parquet and has no end: {line}")
    return Refused("not_parquet", f"cannot be read as Parquet after row {n_rows}: {line}")
