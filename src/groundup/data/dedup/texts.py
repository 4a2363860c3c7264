"""The texts of a shard as arrays that kernels read, a few megabytes at a time.

Called by every step that looks into texts. A shard is one Parquet file (`groundup.data.table`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from groundup.data.table import tables_of

CHUNK_BYTES = 4 << 20  # of text in one chunk; a longer text is a chunk of its own


@dataclass(frozen=True)
class Texts:
    """Texts one after the other, the first of them in row `first_row` of its shard.

    data: (n_bytes,) uint8; offsets: (n_texts + 1,) int64
    """

    data: np.ndarray
    offsets: np.ndarray
    first_row: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def bytes(self, index: int) -> memoryview:
        """The UTF-8 of one text."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].data

    @property
    def rows(self) -> np.ndarray:
        """The row of each text in its shard: (n_texts,) uint32."""
        return np.arange(self.first_row, self.first_row + len(self), dtype=np.uint32)

    @property
    def longest(self) -> int:
        """Bytes of the longest text."""
        return int(np.diff(self.offsets).max(initial=0))


def texts_of(shard: Path) -> Iterator[Texts]:
    """The texts of a shard in chunks of about CHUNK_BYTES; a null is an empty text."""
    row = 0
    for table in tables_of(shard, ["text"]):
        yield from as_texts(table["text"], row)
        row += table.num_rows


def as_texts(column: pa.ChunkedArray | pa.Array, first_row: int = 0) -> Iterator[Texts]:
    """The strings of a column in chunks of about CHUNK_BYTES.

    >>> [len(texts) for texts in as_texts(pa.array(["to", None, "be"]))]
    [3]
    """
    for array in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        array = array.cast(pa.large_binary())
        if array.null_count:
            array = array.fill_null(b"")
        _, places, content = array.buffers()
        offsets = np.frombuffer(places, dtype=np.int64)
        offsets = offsets[array.offset : array.offset + len(array) + 1]
        data = np.frombuffer(content if content is not None else b"", dtype=np.uint8)
        begin = 0
        while begin < len(array):
            end = int(np.searchsorted(offsets, offsets[begin] + CHUNK_BYTES, side="right")) - 1
            end = min(max(end, begin + 1), len(array))
            yield Texts(data, offsets[begin : end + 1], first_row + begin)
            begin = end
        first_row += len(array)
