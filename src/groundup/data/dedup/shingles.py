"""The shingle sets of candidates on disk, and the true similarity of candidate pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from groundup.data.dedup.clusters import EDGE
from groundup.data.dedup.keys import (
    bounds_of,
    read_array,
    read_range,
    split_numbers,
    write_array,
)
from groundup.data.dedup.pairs import PAIR, distinct_pairs
from groundup.data.dedup.texts import texts_of
from groundup.data.dedup.words import character_table, hash_shingles, hash_words, room_for
from groundup.runtime import storage_errors
from groundup.tokenizer.compiled.jit import kernel

LOAD_BYTES = 64 << 20  # of shingles that are held at a time
_NUMBER = np.dtype("<u8")


def write_shingles(
    shard: Path, number: int, paired: Sequence[Path], shingle_words: int, out: Path
) -> dict[str, int]:
    """Write the distinct shingles of those texts of a shard that are in a candidate pair.

    number: of the shard, in the order of the shards; paired: all folders of `find_pairs`
    out: rows.bin, ends.bin (the place behind each text's shingles), shingles.bin, sorted in a text
    """
    wanted = candidate_rows(number, paired)
    ends = np.zeros(len(wanted), dtype=np.uint64)
    n_shingles = n_done = 0
    out.mkdir(parents=True, exist_ok=True)
    with storage_errors(out), (out / "shingles.bin").open("wb") as file:
        for texts in texts_of(shard) if len(wanted) else ():
            words = np.empty(room_for(texts.longest), dtype=np.uint64)
            places = np.empty((0, 2), dtype=np.int64)
            for row in wanted[(wanted >= texts.first_row) & (wanted <= texts.rows[-1])].tolist():
                start, stop = texts.offsets[row - texts.first_row :][:2].tolist()
                n = hash_words(texts.data, start, stop, character_table(), words, places)
                n = hash_shingles(words, n, shingle_words, words)
                distinct = np.unique(words[:n])
                file.write(distinct.astype(_NUMBER, copy=False).data)
                n_shingles += len(distinct)
                ends[n_done] = n_shingles
                n_done += 1
    write_array(out / "rows.bin", wanted)
    write_array(out / "ends.bin", ends)
    return {"candidates": len(wanted), "shingles": n_shingles}


def candidate_rows(number: int, paired: Sequence[Path]) -> np.ndarray:
    """The rows of shard `number` that are in a candidate pair, sorted: (n,) uint32."""
    first, behind = bounds_of(number)
    found = [np.empty(0, dtype=np.uint64)]
    for folder in paired:
        documents = read_range(folder / "documents.bin", _WITH_NAME, "number", first, behind)
        found = [np.unique(np.concatenate([*found, documents["number"]]))]
    return split_numbers(found[0])[1].astype(np.uint32)


_WITH_NAME = np.dtype([("number", "<u8")])


def verify_pairs(
    number: int,
    paired: Sequence[Path],
    shingled: Sequence[Path],
    threshold: float,
    out: Path,
) -> dict[str, int]:
    """Write an edge for each candidate pair whose Jaccard similarity is `threshold` or more.

    number: of the shard whose documents come first in the pairs; shingled: the folders of
    `write_shingles`, in the order of the shards. Raises DataError if a file there is cut short.
    """
    first, behind = bounds_of(number)
    pairs = np.empty(0, dtype=PAIR)
    for folder in paired:
        more = read_range(folder / "pairs.bin", PAIR, "a", first, behind)
        pairs = distinct_pairs(np.concatenate([pairs, more]))
    sets = _ShingleSets(shingled)
    edges = [np.empty(0, dtype=EDGE)]
    for part in sets.parts(pairs):
        similarity = sets.similarities(part)
        found = np.empty(len(part), dtype=EDGE)
        found["a"], found["b"], found["similarity"] = part["a"], part["b"], similarity
        edges.append(found[similarity >= threshold])
    joined = np.concatenate(edges)
    write_array(out / "edges.bin", joined)
    return {"pairs": len(pairs), "edges": len(joined)}


def similarities_of(pairs: np.ndarray, shingled: Sequence[Path]) -> np.ndarray:
    """The Jaccard similarity of each pair of texts that have shingles on disk: (n,) float64.

    pairs: (n,) PAIR, in any order; shingled: as of `verify_pairs`
    """
    sets = _ShingleSets(shingled)
    found = [sets.similarities(part) for part in sets.parts(pairs)]
    return np.concatenate([np.empty(0, dtype=np.float64), *found])


class _ShingleSets:
    """Shingle sets that lie in the folders of `write_shingles`, read when they are asked for."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def _index(self, documents: np.ndarray) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
        """For sorted documents, shard by shard: its folder, where each set begins, and ends."""
        shards, rows = split_numbers(documents)
        for shard in np.unique(shards).tolist():
            folder = self._folders[shard]
            ends = read_array(folder / "ends.bin", "<u8").astype(np.int64)
            at = np.searchsorted(read_array(folder / "rows.bin", "<u4"), rows[shards == shard])
            begins = np.append(np.int64(0), ends)[at]
            yield folder, begins, ends[at]

    def parts(self, pairs: np.ndarray) -> Iterator[np.ndarray]:
        """Pairs in their order, in parts whose sets take about LOAD_BYTES at most."""
        if not len(pairs):
            return
        documents, places = np.unique(np.stack([pairs["a"], pairs["b"]]), return_inverse=True)
        sizes = np.concatenate([ends - begins for _, begins, ends in self._index(documents)])
        of_pair = sizes[places.reshape(2, -1)].sum(axis=0)
        total = np.cumsum(of_pair) * _NUMBER.itemsize
        begin = 0
        while begin < len(pairs):
            before = total[begin - 1] if begin else 0
            end = int(np.searchsorted(total, before + LOAD_BYTES, side="right"))
            yield pairs[begin : max(end, begin + 1)]
            begin = max(end, begin + 1)

    def similarities(self, pairs: np.ndarray) -> np.ndarray:
        """|A and B| / |A or B| of the sets of each pair: (n,) float64."""
        documents, places = np.unique(np.stack([pairs["a"], pairs["b"]]), return_inverse=True)
        sets, sizes = list[np.ndarray](), list[np.ndarray]()
        for folder, begins, ends in self._index(documents):
            sizes.append(ends - begins)
            with (folder / "shingles.bin").open("rb") as file:
                for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                    file.seek(begin * _NUMBER.itemsize)
                    sets.append(np.fromfile(file, dtype=_NUMBER, count=end - begin))
        offsets = np.append(np.int64(0), np.cumsum(np.concatenate(sizes)))
        found = np.empty(len(pairs), dtype=np.float64)
        _jaccard(np.concatenate(sets), offsets, places.reshape(2, -1), found)
        return found


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|A and B| / |A or B| of two sorted arrays of distinct uint64.

    >>> jaccard(np.array([1, 2, 3], dtype=np.uint64), np.array([2, 3, 4], dtype=np.uint64))
    0.5
    """
    found = np.empty(1, dtype=np.float64)
    offsets = np.array([0, len(a), len(a) + len(b)], dtype=np.int64)
    _jaccard(np.concatenate([a, b]), offsets, np.array([[0], [1]], dtype=np.int64), found)
    return float(found[0])


@kernel
def _jaccard(
    sets: np.ndarray, offsets: np.ndarray, pairs: np.ndarray, similarities: np.ndarray
) -> None:
    for index in range(len(similarities)):
        i, i_end = offsets[pairs[0, index]], offsets[pairs[0, index] + 1]
        j, j_end = offsets[pairs[1, index]], offsets[pairs[1, index] + 1]
        n_all, n_both = i_end - i + j_end - j, 0
        while i < i_end and j < j_end:
            a, b = sets[i], sets[j]
            n_both += a == b
            i += a <= b
            j += b <= a
        similarities[index] = n_both / (n_all - n_both) if n_all else 0.0
