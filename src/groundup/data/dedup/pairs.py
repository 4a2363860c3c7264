"""Candidate pairs: documents that share the key of a band.

Of up to ALL_PAIRS documents with one key, each is paired with each. Of more, each is paired with
PIVOTS of them and with its neighbour, in an order that follows from the texts and the key, so that
a page that stands there a million times costs millions of comparisons and not their square, and
other keys have other pivots. Which shard came first changes nothing in this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groundup.data.dedup.keys import KEY, read_partition, run_starts, write_array
from groundup.data.dedup.words import mix_all
from groundup.tokenizer.compiled.jit import kernel

PAIR = np.dtype([("a", "<u8"), ("b", "<u8")])  # a < b
ALL_PAIRS = 12
PIVOTS = 4


def find_pairs(
    signed: Sequence[Path], partition: int, n_partitions: int, out: Path
) -> dict[str, int]:
    """Write the pairs of one range of keys, and each document that is in one of them.

    signed: the folders of `sign_shard`, in the order of the shards
    out: pairs.bin, sorted, each once; documents.bin, sorted, each once
    """
    entries, documents = read_partition(signed, partition, n_partitions, KEY)
    order = np.lexsort((documents, mix_all(entries["check"] ^ entries["key"]), entries["key"]))
    documents = documents[order]
    starts = run_starts(entries["key"][order])
    del entries, order
    sizes = np.diff(starts)
    found = np.empty((_n_pairs(sizes), 2), dtype=np.uint64)
    _pair_up(documents, starts, ALL_PAIRS, PIVOTS, found)
    pairs = distinct_pairs(found.view(PAIR).reshape(-1))
    write_array(out / "pairs.bin", pairs)
    write_array(out / "documents.bin", np.unique(np.concatenate([pairs["a"], pairs["b"]])))
    return {"pairs": len(pairs), "largest_bucket": int(sizes.max(initial=0))}


def distinct_pairs(pairs: np.ndarray) -> np.ndarray:
    """Pairs sorted by their first and then their second document, each once: (n,) PAIR."""
    pairs = pairs[np.lexsort((pairs["b"], pairs["a"]))]
    return pairs[run_starts(pairs["a"], pairs["b"])[:-1]]


def _n_pairs(sizes: np.ndarray) -> int:
    """How many pairs runs of these sizes give.

    >>> _n_pairs(np.array([1, 2, 3])), _n_pairs(np.array([20])) == 20 * 5 - 5 * 6 // 2
    (4, True)
    """
    reach = np.where(sizes <= ALL_PAIRS, sizes, PIVOTS + 1)  # one before, or the pivots
    return int((sizes * reach - reach * (reach + 1) // 2).sum())


@kernel
def _pair_up(
    documents: np.ndarray, starts: np.ndarray, all_pairs: int, pivots: int, found: np.ndarray
) -> None:
    n = 0
    for run in range(len(starts) - 1):
        begin, end = starts[run], starts[run + 1]
        for i in range(begin + 1, end):
            stop = i if end - begin <= all_pairs else min(i, begin + pivots)
            for j in range(begin, stop):
                found[n, 0] = min(documents[i], documents[j])
                found[n, 1] = max(documents[i], documents[j])
                n += 1
            if stop < i:
                found[n, 0] = min(documents[i], documents[i - 1])
                found[n, 1] = max(documents[i], documents[i - 1])
                n += 1
