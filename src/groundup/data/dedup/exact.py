"""Documents whose texts are the same, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash

from groundup.data.dedup.clusters import EDGE
from groundup.data.dedup.keys import KEY, KeyWriter, read_partition, run_starts, write_array
from groundup.data.dedup.texts import texts_of

LOWER_HALF = (1 << 64) - 1


def text_hash(text: str | bytes | memoryview) -> int:
    """The 128-bit hash by which texts are the same.

    >>> text_hash("to be") == text_hash(b"to be") != text_hash("To be")
    True
    """
    return xxhash.xxh3_128_intdigest(text.encode() if isinstance(text, str) else text)


def hash_shard(shard: Path, out: Path) -> dict[str, int]:
    """Write the hash of each of a shard's texts into the folder `out`.

    An entry (`keys.KEY`) is the upper and the lower half of the hash and the row.
    """
    n_documents = 0
    with KeyWriter(out, KEY) as writer:
        for texts in texts_of(shard):
            entries = np.empty(len(texts), dtype=KEY)
            hashes = [text_hash(texts.bytes(i)) for i in range(len(texts))]
            entries["key"] = [value >> 64 for value in hashes]
            entries["check"] = [value & LOWER_HALF for value in hashes]
            entries["row"] = texts.rows
            writer.add(entries)
            n_documents += len(texts)
    return {"documents": n_documents}


def match_exact(
    hashed: Sequence[Path], partition: int, n_partitions: int, out: Path
) -> dict[str, int]:
    """Write an edge from the first document of each text to each other with the same text.

    hashed: the folders of `hash_shard`, in the order of the shards
    """
    entries, documents = read_partition(hashed, partition, n_partitions, KEY)
    order = np.lexsort((documents, entries["check"], entries["key"]))
    entries, documents = entries[order], documents[order]
    starts = run_starts(entries["key"], entries["check"])
    firsts = np.repeat(documents[starts[:-1]], np.diff(starts))
    edges = np.empty(len(documents), dtype=EDGE)
    edges["a"], edges["b"], edges["similarity"] = firsts, documents, 1
    edges = edges[firsts != documents]
    write_array(out / "edges.bin", edges)
    return {"edges": len(edges)}
