"""Words with their counts: in memory as three arrays, on disk as sorted runs, which are merged.

A run is a folder: distinct words in the order of their bytes (text.u8, one after the other), how
long each is (lengths.u32), how often it came (counts.u64), little-endian, and header.json with
their hashes and whatever made them. Parquet would take a fifth of the room and ten times as long.
Called by `counting.py`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from groundup.runtime import (
    StorageError,
    hash_file,
    new_folder,
    read_json,
    stable_hash,
    storage_errors,
    write_json,
)
from groundup.workers import Workers

FORMAT = 1
FAN_IN = 32  # runs merged at a time; three open files each, and macOS allows 256
BLOCK_BYTES = 256 << 10  # of a run, held while it is merged
ARROW_BYTES = 1 << 30  # a table to be sorted must be smaller than Arrow's 31-bit places
ARRAYS = {"text.u8": "u1", "lengths.u32": "<u4", "counts.u64": "<u8"}
_WORD_BYTES = 4 + 8  # what a word costs in a table beside its text


@dataclass(frozen=True, eq=False)
class CountedWords:
    """Words one after the other with their counts.

    text: (n_bytes,) uint8; lengths: (n_words,) uint32; counts: (n_words,) uint64

    >>> words = CountedWords.of([b"to", b"be", b"or"], [2, 2, 1])
    >>> words.words(), words.lengths.tolist(), words.counts.tolist()
    ([b'to', b'be', b'or'], [2, 2, 2], [2, 2, 1])
    """

    text: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, words: Iterable[bytes], counts: Iterable[int]) -> CountedWords:
        """Arrays from a list of words and their counts."""
        words = list(words)
        return cls(
            np.frombuffer(b"".join(words), dtype=np.uint8),
            np.fromiter(map(len, words), dtype=np.uint32, count=len(words)),
            np.fromiter(counts, dtype=np.uint64, count=len(words)),
        )

    @cached_property
    def ends(self) -> np.ndarray:
        """The place in `text` behind each word: (n_words,) int64."""
        return np.cumsum(self.lengths, dtype=np.int64)

    @property
    def n_bytes(self) -> int:
        """Memory that the arrays take."""
        return len(self.text) + _WORD_BYTES * len(self)

    def __len__(self) -> int:
        return len(self.lengths)

    def word(self, index: int) -> bytes:
        """One word."""
        end = int(self.ends[index])
        return self.text[end - int(self.lengths[index]) : end].tobytes()

    def words(self) -> list[bytes]:
        """All words."""
        text, ends = self.text.tobytes(), self.ends.tolist()
        return [text[start:end] for start, end in pairwise([0, *ends])]

    def part(self, begin: int, end: int) -> CountedWords:
        """The words from number `begin` to before `end`."""
        first, last = (int(self.ends[i - 1]) if i else 0 for i in (begin, end))
        return CountedWords(self.text[first:last], self.lengths[begin:end], self.counts[begin:end])

    def where(self, chosen: np.ndarray) -> CountedWords:
        """The words that are chosen; chosen: (n_words,) bool."""
        return CountedWords(
            self.text[np.repeat(chosen, self.lengths)], self.lengths[chosen], self.counts[chosen]
        )


_NO_WORDS = CountedWords.of([], [])


class Table:
    """Words counted so far: in memory up to a bound, beyond it in runs in the folder `scratch`."""

    def __init__(self, limit_bytes: int, scratch: Path) -> None:
        self._limit_bytes, self._scratch = limit_bytes, scratch
        self._parts: list[CountedWords] = []
        self._n_bytes = 0
        self._runs: list[Path] = []

    def add(self, words: CountedWords) -> None:
        self._parts.append(words)
        self._n_bytes += words.n_bytes
        if self._n_bytes < self._limit_bytes:
            return
        self._parts = [add_up(self._parts)]
        self._n_bytes = self._parts[0].n_bytes
        if self._n_bytes >= self._limit_bytes // 2:
            self._spill()
        pa.default_memory_pool().release_unused()

    def blocks(self) -> Iterator[CountedWords]:
        """All words, in order."""
        if not self._runs:
            yield add_up(self._parts)
            return
        self._parts = [add_up(self._parts)]
        self._spill()
        runs = merge_to_few(self._runs, self._scratch / "merged", Workers(1))
        yield from merge(runs)

    def _spill(self) -> None:
        run = self._scratch / str(len(self._runs))
        _write_arrays(run, self._parts)
        self._runs.append(run)
        self._parts, self._n_bytes = [], 0


def add_up(tables: Iterable[CountedWords]) -> CountedWords:
    """The words of all tables, each once and in the order of their bytes, with their counts summed.

    >>> summed = add_up([CountedWords.of([b"or", b"be"], [1, 2]), CountedWords.of([b"be"], [3])])
    >>> summed.words(), summed.counts.tolist()
    ([b'be', b'or'], [5, 1])
    """
    joined = concatenated(tables)
    n = len(joined)
    if not n:
        return joined
    assert len(joined.text) < 2 * ARROW_BYTES
    ends = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(joined.lengths, out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(joined.text)]
    words = pa.Array.from_buffers(pa.binary(), n, buffers)
    order = pc.sort_indices(words)
    words = words.take(order)
    counts = joined.counts[order.to_numpy()]
    del joined, buffers, order  # much memory
    is_new = np.ones(n, dtype=bool)
    is_new[1:] = pc.not_equal(words[1:], words[:-1]).to_numpy(zero_copy_only=False)
    firsts = np.flatnonzero(is_new)
    counts = np.add.reduceat(counts, firsts)
    _, places, text = words.take(pa.array(firsts)).buffers()
    ends = np.frombuffer(places, dtype=np.int32, count=len(firsts) + 1)
    text = np.frombuffer(text or b"", dtype=np.uint8)[: ends[-1]]
    return CountedWords(text, np.diff(ends).astype(np.uint32), counts)


def concatenated(tables: Iterable[CountedWords]) -> CountedWords:
    """All words of all tables, one table after the other."""
    tables = list(tables)
    if len(tables) == 1:
        return tables[0]
    return CountedWords(
        *(
            np.concatenate([getattr(table, name) for table in [_NO_WORDS, *tables]])
            for name in ("text", "lengths", "counts")
        )
    )


def _write_arrays(folder: Path, blocks: Iterable[CountedWords]) -> dict[str, Any]:
    """Write blocks one after the other as three arrays; what a header says of them."""
    digests = {name: xxhash.xxh3_128() for name in ARRAYS}
    n_distinct = 0
    folder.mkdir(parents=True, exist_ok=True)
    with storage_errors(folder), ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in ARRAYS}
        for block in blocks:
            n_distinct += len(block)
            arrays = (block.text, block.lengths, block.counts)
            for (name, dtype), array in zip(ARRAYS.items(), arrays, strict=True):
                data = np.ascontiguousarray(array, dtype=dtype).data
                files[name].write(data)
                digests[name].update(data)
    return {"n_distinct": n_distinct, "hashes": {n: d.hexdigest() for n, d in digests.items()}}


def write_run(folder: Path, blocks: Iterable[CountedWords], about: Mapping[str, Any]) -> None:
    """Write a run with its header, whole or not at all."""
    try:
        with new_folder(folder) as temporary:
            header = {"format": FORMAT, **_write_arrays(temporary, blocks), **about}
            write_json(temporary / "header.json", {**header, "hash": stable_hash(header)})
    except StorageError:
        if read_header(folder) is None:  # else another worker has written the same
            raise


def read_header(folder: Path) -> dict[str, Any] | None:
    """What a run says of itself; None if it is not there, not whole, or damaged."""
    try:
        header = dict(read_json(folder / "header.json"))
        expected = header.pop("hash")
        if stable_hash(header) != expected or header["format"] != FORMAT:
            return None
        if any(hash_file(folder / name) != header["hashes"][name] for name in ARRAYS):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return header


class _RunReader:
    """A run, read block by block."""

    def __init__(self, folder: Path, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._files = [(folder / name).open("rb") for name in ARRAYS]
        self.block = _NO_WORDS

    def __enter__(self) -> _RunReader:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def fill(self) -> bool:
        """Have words in `block`; False when there are no more."""
        if not len(self.block):
            text, lengths, counts = self._files
            sizes = np.fromfile(lengths, "<u4", count=max(self._block_bytes // _WORD_BYTES, 1))
            ends = np.cumsum(sizes, dtype=np.int64)
            n = max(int(np.searchsorted(ends, self._block_bytes, side="right")), 1)
            if n < len(sizes):
                lengths.seek(4 * (n - len(sizes)), os.SEEK_CUR)
            self.block = CountedWords(
                np.fromfile(text, "u1", count=int(ends[:n][-1]) if len(ends) else 0),
                sizes[:n],
                np.fromfile(counts, "<u8", count=min(n, len(sizes))),
            )
        return len(self.block) > 0

    def take(self, last: bytes) -> CountedWords:
        """Take the words up to `last` out of the block."""
        block = self.block
        n = bisect_right(range(len(block)), last, key=block.word)
        self.block = block.part(n, len(block))
        return block.part(0, n)


def merge(runs: Sequence[Path], block_bytes: int | None = None) -> Iterator[CountedWords]:
    """Merge sorted runs into one, which comes block by block.

    Each run shows its next block. Up to the smallest of the blocks' last words nothing can come
    from behind them, so those words are added up and given out.
    """
    with ExitStack() as stack:
        size = block_bytes or BLOCK_BYTES
        readers = [stack.enter_context(_RunReader(run, size)) for run in runs]
        while readers := [reader for reader in readers if reader.fill()]:
            last = min(reader.block.word(-1) for reader in readers)
            yield add_up([reader.take(last) for reader in readers])


def merge_to_few(runs: Sequence[Path], folder: Path, workers: Workers) -> list[Path]:
    """Merge runs in groups until one merge can take all that are left."""
    runs = list(runs)
    while len(runs) > FAN_IN:
        groups = [runs[i : i + FAN_IN] for i in range(0, len(runs), FAN_IN)]
        runs = workers.do([partial(_merge_group, group, folder) for group in groups])
    return runs


def _merge_group(runs: Sequence[Path], folder: Path) -> Path:
    """Merge runs into a run that is named after them, unless it stands already."""
    merged = folder / stable_hash([run.name for run in runs])
    if read_header(merged) is None:
        write_run(merged, merge(runs), {"runs": [run.name for run in runs]})
    return merged
