"""Sorted keys on disk, and who shares one: how duplicates meet without a corpus in memory.

A shard's step writes entries, each a 64-bit key with the row it is from, in sorted blocks. A
partition is a range of keys: its step reads that range of every block of every shard, a small part
of each, and finds the runs of equal keys. Exact and near duplicates, lines and substrings all meet
like this. A document is (shard << 32) | row, the shards counted in the order they are handed over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groundup.runtime import DataError, storage_errors

KEY = np.dtype([("key", "<u8"), ("check", "<u8"), ("row", "<u4")])
ROW_BITS = 32
BLOCK_BYTES = 32 << 20  # of entries that are sorted at a time
_N_KEYS = 1 << 64


class KeyWriter:
    """Entries written in sorted blocks FOLDER/keys-00000.bin and so on; a context manager."""

    def __init__(self, folder: Path, dtype: np.dtype) -> None:
        self._folder, self._dtype = folder, dtype
        self._parts: list[np.ndarray] = []
        self._n_held = self._n_blocks = self.n_entries = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, entries: np.ndarray) -> None:
        """Append entries, in any order."""
        self._parts.append(entries)
        self._n_held += len(entries)
        self.n_entries += len(entries)
        if self._n_held * self._dtype.itemsize >= BLOCK_BYTES:
            self._write()

    def _write(self) -> None:
        entries = np.concatenate(self._parts)
        order = np.argsort(entries["key"], kind="stable")
        write_array(self._folder / f"keys-{self._n_blocks:05d}.bin", entries[order])
        self._n_blocks += 1
        self._parts, self._n_held = [], 0

    def __enter__(self) -> KeyWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None and self._n_held:
            self._write()


def read_partition(
    folders: Sequence[Path], partition: int, n_partitions: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """The entries of one range of keys, and the document of each: (n,) `dtype`, (n,) uint64.

    folders: one for each shard, in order; the keys of partition p lie from p / n_partitions to
    (p + 1) / n_partitions of their whole range. The order is that of the shards and blocks.
    """
    if not 0 <= partition < n_partitions:
        raise ValueError(f"partition={partition} must lie in 0..{n_partitions - 1}")
    first = -(-_N_KEYS * partition // n_partitions)
    behind = -(-_N_KEYS * (partition + 1) // n_partitions)
    found, documents = [np.empty(0, dtype=dtype)], [np.empty(0, dtype=np.uint64)]
    for shard, folder in enumerate(folders):
        for path in sorted(folder.glob("keys-*.bin")):
            entries = read_range(path, dtype, "key", first, behind)
            found.append(entries)
            documents.append(document_numbers(shard, entries["row"]))
    return np.concatenate(found), np.concatenate(documents)


def document_numbers(shard: int, rows: np.ndarray) -> np.ndarray:
    """The numbers of documents of one shard: (n,) uint64.

    >>> document_numbers(1, np.array([0, 2])).tolist()
    [4294967296, 4294967298]
    """
    return rows.astype(np.uint64) | np.uint64(shard << ROW_BITS)


def bounds_of(shard: int) -> tuple[int, int]:
    """The number of a shard's first document, and one behind all that it could have.

    >>> bounds_of(1)
    (4294967296, 8589934592)
    """
    return shard << ROW_BITS, (shard + 1) << ROW_BITS


def split_numbers(documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shard and the row of each document: (n,) int64 each."""
    shards = documents >> np.uint64(ROW_BITS)
    rows = documents & np.uint64((1 << ROW_BITS) - 1)
    return shards.astype(np.int64), rows.astype(np.int64)


def run_starts(*columns: np.ndarray) -> np.ndarray:
    """Where runs of rows that are equal in all columns begin, and where the last ends.

    >>> run_starts(np.array([5, 5, 7, 7, 7]), np.array([1, 1, 1, 2, 2])).tolist()
    [0, 2, 3, 5]
    """
    n = len(columns[0])
    is_new = np.zeros(n, dtype=bool)
    is_new[:1] = True
    for column in columns:
        is_new[1:] |= column[1:] != column[:-1]
    return np.append(np.flatnonzero(is_new), n)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array's bytes, little-endian as its dtype says."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.ascontiguousarray(array).data)


def read_array(path: Path, dtype: np.dtype | str) -> np.ndarray:
    """Read what `write_array` wrote. Raises DataError if it is not there or not whole."""
    dtype = np.dtype(dtype)
    _n_items(path, dtype)
    return np.fromfile(path, dtype=dtype)


def read_range(path: Path, dtype: np.dtype, field: str, first: int, behind: int) -> np.ndarray:
    """Of a file sorted by `field`, the items from `first` to before `behind`."""
    n = _n_items(path, dtype)
    if not n:
        return np.empty(0, dtype=dtype)
    values = np.memmap(path, dtype=dtype, mode="r", shape=(n,))[field]
    begin, end = (
        bisect_left(range(n), bound, key=lambda i: int(values[i])) for bound in (first, behind)
    )
    return np.fromfile(path, dtype=dtype, count=end - begin, offset=begin * dtype.itemsize)


def _n_items(path: Path, dtype: np.dtype) -> int:
    try:
        n_bytes = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path} is missing; delete its folder and run again") from None
    if n_bytes % dtype.itemsize:
        raise DataError(
            f"{path} is cut short: {n_bytes} bytes are no multiple of {dtype.itemsize}; "
            "delete its folder and run again"
        )
    return n_bytes // dtype.itemsize
