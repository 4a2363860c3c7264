"""Rows of a Parquet file, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groundup.data.reading.origin import Origin
from groundup.data.reading.rows import LICENCE_COLUMNS, Row
from groundup.data.reading.streams import Content
from groundup.data.records import Refused

_MAGIC = b"PAR1"
_BATCH_BYTES = 8 << 20
_KNOWN = frozenset({"text", "messages", "prompt", "chosen", "rejected"})


def parquet_rows(content: Content, origin: Origin) -> Iterator[Row]:
    """Rows with the columns that are known, or the one that is named. Raises Refused."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 0
    with content.seekable() as raw:
        try:
            with pq.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20) as file:
                names = _columns(file.schema_arrow.names, origin)
                for batch in _batches(file, names):
                    for row in batch.to_pylist():
                        yield n, row, None
                        n += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _fault(raw, n, error) from error


def _columns(found: list[str], origin: Origin) -> list[str]:
    wanted = {origin.column} if origin.column else _KNOWN
    if not wanted & set(found):
        need = f"; need {origin.column}" if origin.column else ""
        raise Refused("columns_not_known", f"columns found: {', '.join(found)}{need}")
    return [name for name in found if name in wanted or name in LICENCE_COLUMNS]


def _batches(file: Any, names: list[str]) -> Iterator[Any]:
    for group in range(file.num_row_groups):
        meta = file.metadata.row_group(group)  # of a damaged file, meta.column() ends the process
        n_rows = max(meta.num_rows * _BATCH_BYTES // max(meta.total_byte_size, 1), 1)
        yield from file.iter_batches(
            batch_size=min(n_rows, 4096), row_groups=[group], columns=names, use_threads=False
        )


def _fault(raw: Any, n_rows: int, error: Exception) -> Refused:
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    raw.seek(0)
    begins = raw.read(4) == _MAGIC
    raw.seek(-4, 2) if raw.seek(0, 2) >= 4 else raw.seek(0)
    if begins and raw.read(4) != _MAGIC:
        return Refused("truncated", f"begins as Parquet and has no end: {line}")
    return Refused("not_parquet", f"cannot be read as Parquet after row {n_rows}: {line}")
