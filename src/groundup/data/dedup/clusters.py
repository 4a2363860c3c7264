"""From edges between documents to what is kept of each cluster: the smallest id.

A cluster is what hangs together by edges, so it does not depend on the order of shards or edges;
nor does its smallest id. The union-find (Tarjan 1975) has 12 bytes a document in files mapped into
memory, of which the system holds as much as it likes; ids are read only of documents in clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from groundup.data.dedup.keys import (
    bounds_of,
    document_numbers,
    read_array,
    run_starts,
    split_numbers,
)
from groundup.data.table import n_rows_of, tables_of
from groundup.runtime import DataError
from groundup.tokenizer.compiled.jit import kernel

EDGE = np.dtype([("a", "<u8"), ("b", "<u8"), ("similarity", "<f4")])
REMOVAL_SCHEMA = pa.schema(
    [
        ("document", pa.uint64()),
        ("id", pa.string()),
        ("kept", pa.uint64()),
        ("kept_id", pa.string()),
        ("similarity", pa.float32()),
        ("cluster_size", pa.int64()),
    ]
)
PART_MEMBERS = 1 << 18  # members of clusters whose ids are held at a time
MOST_PARTS = 256  # past it parts grow: all are written at once, and each shard reads each
_ROWS_AT_A_TIME = 1 << 16


def cluster(edges: Sequence[Path], shards: Sequence[Path], out: Path) -> dict[str, int]:
    """Write what goes of each cluster: all its documents but the one with the smallest id.

    edges: the folders of `match_exact` or `verify_pairs`; shards: in their order, for the ids
    out: removals-00000.parquet and so on, of REMOVAL_SCHEMA, sorted by document; `kept` is
        the number of the document that stays, `similarity` the greatest to any document of the
        cluster that it was compared with, `cluster_size` the documents in it
    Raises DataError if two documents of a cluster have the same id.
    """
    out.mkdir(parents=True, exist_ok=True)
    n_rows = np.array([n_rows_of(shard) for shard in shards], dtype=np.int64)
    offsets = np.append(np.int64(0), np.cumsum(n_rows))
    with TemporaryDirectory(dir=out, prefix=".scratch-") as scratch:
        forest = _Forest(Path(scratch), int(offsets[-1]))
        n_members = 0
        for folder in edges:
            n_members += forest.join(read_array(folder / "edges.bin", EDGE), offsets)
        n_parts = min(max(-(-n_members // PART_MEMBERS), 1), MOST_PARTS)
        _spread_members(forest, shards, offsets, n_parts, Path(scratch))
        counts = [
            _choose(Path(scratch) / f"{part}.parquet", out / f"removals-{part:05d}.parquet")
            for part in range(n_parts)
        ]
        forest.close()
    n_clusters, n_removed, largest = np.array(counts).T
    return {
        "clusters": int(n_clusters.sum()),
        "removed": int(n_removed.sum()),
        "largest_cluster": int(largest.max()),
    }


def removals_of(number: int, clusters: Path) -> pa.Table:
    """What goes of shard `number`, sorted by row: REMOVAL_SCHEMA."""
    first, behind = bounds_of(number)
    span = (pc.field("document") >= pa.scalar(first, pa.uint64())) & (
        pc.field("document") < pa.scalar(behind, pa.uint64())
    )
    parts = [
        pq.read_table(path, filters=span, use_threads=False)
        for path in sorted(clusters.glob("removals-*.parquet"))
    ]
    return pa.concat_tables([REMOVAL_SCHEMA.empty_table(), *parts]).sort_by("document")


class _Forest:
    """Documents, numbered from 0 through all shards, and which of them hang together."""

    def __init__(self, scratch: Path, n_documents: int) -> None:
        shape = (max(n_documents, 1),)
        self.parents = np.memmap(scratch / "parents", dtype="<i8", mode="w+", shape=shape)
        self.similarities = np.memmap(scratch / "best", dtype="<f4", mode="w+", shape=shape)

    def join(self, edges: np.ndarray, offsets: np.ndarray) -> int:
        """Add edges; returns how many documents have their first edge by it."""
        ends = np.empty((2, len(edges)), dtype=np.int64)
        for side, name in enumerate(("a", "b")):
            shards, rows = split_numbers(edges[name])
            ends[side] = offsets[shards] + rows
        similarity = np.ascontiguousarray(edges["similarity"])
        return int(_join(self.parents, self.similarities, ends, similarity))

    def members(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Those from `begin` to before `end` that have an edge, and the root of each."""
        members = np.flatnonzero(self.parents[begin:end]) + begin
        roots = np.empty(len(members), dtype=np.int64)
        _find_roots(self.parents, members, roots)
        return members, roots

    def close(self) -> None:
        """Let go of the files."""
        del self.parents, self.similarities


@kernel
def _root(parents: np.ndarray, node: int) -> int:
    """The root of a node's tree, paths halved on the way; a parent is kept as its number + 1."""
    while parents[node] != node + 1:
        parents[node] = parents[parents[node] - 1]
        node = parents[node] - 1
    return node


@kernel
def _join(
    parents: np.ndarray, similarities: np.ndarray, ends: np.ndarray, similarity: np.ndarray
) -> int:
    n_new = 0
    for index in range(ends.shape[1]):
        for side in range(2):
            node = ends[side, index]
            if parents[node] == 0:
                parents[node] = node + 1
                n_new += 1
            similarities[node] = max(similarities[node], similarity[index])
        a, b = _root(parents, ends[0, index]), _root(parents, ends[1, index])
        parents[max(a, b)] = min(a, b) + 1
    return n_new


@kernel
def _find_roots(parents: np.ndarray, members: np.ndarray, roots: np.ndarray) -> None:
    for index in range(len(members)):
        roots[index] = _root(parents, members[index])


_MEMBER_SCHEMA = pa.schema(
    [
        ("root", pa.int64()),
        ("id", pa.string()),
        ("document", pa.uint64()),
        ("similarity", pa.float32()),
    ]
)


def _spread_members(
    forest: _Forest, shards: Sequence[Path], offsets: np.ndarray, n_parts: int, scratch: Path
) -> None:
    """Write the members of clusters with their ids into files, whole clusters to each."""
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pq.ParquetWriter(scratch / f"{part}.parquet", _MEMBER_SCHEMA))
            for part in range(n_parts)
        ]
        for number, shard in enumerate(shards):
            for table in _members_of(forest, number, shard, int(offsets[number])):
                parts = table["root"].to_numpy() % n_parts
                for part in np.unique(parts).tolist():
                    writers[part].write_table(table.filter(pa.array(parts == part)))


def _members_of(forest: _Forest, number: int, shard: Path, offset: int) -> Iterator[pa.Table]:
    first = 0
    for ids in tables_of(shard, ["id"]):
        members, roots = forest.members(offset + first, offset + first + ids.num_rows)
        rows = members - offset
        columns = [
            pa.array(roots),
            ids["id"].take(pa.array(rows - first)),
            pa.array(document_numbers(number, rows)),
            pa.array(np.asarray(forest.similarities[members])),
        ]
        first += ids.num_rows
        if len(members):
            yield pa.Table.from_arrays(columns, schema=_MEMBER_SCHEMA)


def _choose(members: Path, out: Path) -> tuple[int, int, int]:
    """Write what goes of some clusters; returns clusters, documents that go, the largest size."""
    table = pq.read_table(members, use_threads=False)
    table = table.sort_by([("root", "ascending"), ("id", "ascending")]).combine_chunks()
    starts = run_starts(table["root"].to_numpy())
    sizes = np.diff(starts)
    firsts = np.repeat(starts[:-1], sizes)
    kept = table.take(pa.array(firsts))
    table = table.append_column("kept", kept["document"]).append_column("kept_id", kept["id"])
    table = table.append_column("cluster_size", pa.array(np.repeat(sizes, sizes)))
    going = table.filter(pa.array(firsts != np.arange(len(firsts))))
    twice = going.filter(pc.equal(going["id"], going["kept_id"]))
    if twice.num_rows:
        raise DataError(
            f"two documents have the id {twice['id'][0].as_py()!r}; ids must differ, "
            "or nobody can say which of the two is kept"
        )
    going = going.select(REMOVAL_SCHEMA.names).sort_by("document").cast(REMOVAL_SCHEMA)
    pq.write_table(going, out, row_group_size=_ROWS_AT_A_TIME, compression="zstd")
    return len(sizes), going.num_rows, int(sizes.max(initial=0))
