"""A shard without the documents that duplicate others, and those documents with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from groundup.data.dedup.clusters import removals_of
from groundup.data.dedup.keys import split_numbers
from groundup.data.dedup.pairs import PAIR
from groundup.data.dedup.shingles import similarities_of
from groundup.data.table import REMOVED_SCHEMA, TableWriter, removed_row, tables_of

KEPT, REMOVED = "documents.parquet", "removed.parquet"  # what steps write into their folder
_REASONS = {
    "dedup_exact": ("exact_duplicate", "the same text as {kept}, {size} times in all"),
    "dedup_near": (
        "near_duplicate",
        "similarity {nearest:.3f} to its nearest in a cluster of {size}, {score:.3f} to {kept}, "
        "which is kept",
    ),
}


def remove_duplicates(
    shard: Path,
    number: int,
    clusters: Path,
    stage: str,
    out: Path,
    shingled: Sequence[Path] = (),
) -> dict[str, int]:
    """Write a shard's documents that are kept, and those that go, into the folder `out`.

    number: of the shard, in the order of the shards; clusters: the folder of `cluster`; stage:
    dedup_exact or dedup_near, whose score is the similarity to the document that is kept;
    shingled: for it the folders of `write_shingles`, in the order of the shards
    """
    reason, detail = _REASONS[stage]
    removals = removals_of(number, clusters)
    rows = split_numbers(removals["document"].to_numpy())[1]
    scores = _similarities_to_kept(removals, shingled) if stage == "dedup_near" else None
    first = n_kept = 0
    schema = shard_schema(shard)
    with (
        TableWriter(out / KEPT, schema) as kept,
        TableWriter(out / REMOVED, REMOVED_SCHEMA) as gone,
    ):
        for table in tables_of(shard):
            begin, end = np.searchsorted(rows, [first, first + table.num_rows]).tolist()
            keep = np.ones(table.num_rows, dtype=bool)
            keep[rows[begin:end] - first] = False
            first += table.num_rows
            n_kept += int(keep.sum())
            kept.add_table(table.filter(pa.array(keep)))
            documents = table.filter(pa.array(~keep)).to_pylist()
            going = removals.slice(begin, end - begin).to_pylist()
            for place, (document, removal) in enumerate(zip(documents, going, strict=True), begin):
                kept_id, score = removal["kept_id"], scores[place] if scores else None
                nearest = max(removal["similarity"], score or 0)  # not every pair was compared
                size = removal["cluster_size"]
                why = detail.format(kept=kept_id, size=size, score=score, nearest=nearest)
                row = with_source(document)
                gone.add(removed_row(row, stage, reason, score=score, kept_id=kept_id, detail=why))
    return {"documents": first, "kept": n_kept, "removed": first - n_kept}


def _similarities_to_kept(removals: pa.Table, shingled: Sequence[Path]) -> list[float]:
    pairs = np.empty(removals.num_rows, dtype=PAIR)
    pairs["a"], pairs["b"] = removals["document"].to_numpy(), removals["kept"].to_numpy()
    found: list[float] = similarities_of(pairs, shingled).tolist()
    return found


def shard_schema(shard: Path) -> pa.Schema:
    """The columns of a shard, without what other writers have noted beside them."""
    import pyarrow.parquet as pq

    return pq.read_schema(shard).remove_metadata()


def with_source(document: dict[str, str]) -> dict[str, str]:
    """A row that has a source: where its shard has no such column, what stands before the slash.

    >>> with_source({"id": "books/a.txt#0", "text": ""})["source"]
    'books'
    """
    return {"source": document["id"].partition("/")[0], **document}
