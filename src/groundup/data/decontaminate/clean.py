"""A shard without what gives away items of evaluation sets, and the report of what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from groundup.data.decontaminate.config import DecontaminationConfig
from groundup.data.decontaminate.hits import Hit, hits_of
from groundup.data.decontaminate.index import Index, load_index
from groundup.data.dedup.remove import KEPT, REMOVED, shard_schema, with_source
from groundup.data.dedup.texts import as_texts
from groundup.data.table import REMOVED_SCHEMA, TableWriter, removed_row, rows_of, tables_of
from groundup.runtime import read_json

STAGE = "decontaminate"
HITS = "hits.parquet"
HIT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("benchmark", pa.string()),
        ("item", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.string()),
    ]
)
_SHOWN = 3  # items named in a detail


def decontaminate_shard(
    shard: Path,
    index: Path,
    config: DecontaminationConfig,
    out: Path,
    text_of: Callable[[str], str] | None = None,
) -> dict[str, int]:
    """Write what is kept of a shard, what goes, and each hit, into the folder `out`.

    index: the folder of `build_index`; out: documents.parquet, removed.parquet, hits.parquet.
    text_of: what is said in a row's text, where that is not all of it, as in a chat's JSON; such a
    row is dropped as a whole.
    """
    known = load_index(index)
    counts = {"documents": 0, "kept": 0, "cut": 0, "removed": 0, "hits": 0}
    schema = shard_schema(shard)
    with (
        TableWriter(out / KEPT, schema) as kept,
        TableWriter(out / REMOVED, REMOVED_SCHEMA) as gone,
        TableWriter(out / HITS, HIT_SCHEMA) as noted,
    ):
        for table in tables_of(shard):
            found = _hits_in(table["text"], known, text_of)
            keep = np.ones(table.num_rows, dtype=bool)
            cut: dict[int, str] = {}
            for row, hits in found.items():
                document = with_source(table.slice(row, 1).to_pylist()[0])
                said = text_of(document["text"]) if text_of else document["text"]
                for hit in hits:
                    noted.add(_hit_row(document["id"], said, hit))
                if config.action == "span" and text_of is None:
                    left = without_spans(said, hits, config)
                    if left is not None:
                        cut[row] = left
                keep[row] = row in cut
                counts["hits"] += len(hits)
                counts["cut" if keep[row] else "removed"] += 1
                gone.add(_removed(document, said, hits, cut.get(row)))
            counts["documents"] += table.num_rows
            counts["kept"] += int(keep.sum())
            kept.add_table(_with_texts(table, cut).filter(pa.array(keep)))
    return counts


def _hits_in(
    column: pa.ChunkedArray, index: Index, text_of: Callable[[str], str] | None
) -> dict[int, list[Hit]]:
    """The hits in each row that has some."""
    if text_of is not None:
        column = pa.array([text_of(text or "") for text in column.to_pylist()], pa.string())
    return {
        chunk.first_row + number: hits
        for chunk in as_texts(column)
        for number, hits in enumerate(hits_of(chunk, index))
        if hits
    }


def without_spans(text: str, hits: Sequence[Hit], config: DecontaminationConfig) -> str | None:
    """What is left of a text around its hits, pieces as paragraphs; None if too little is."""
    data = text.encode()
    pieces: list[bytes] = []
    at = 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        pieces.append(data[at : max(hit.start - config.margin_bytes, at)])
        at = max(at, hit.end + config.margin_bytes)
    pieces.append(data[at:])
    left = [piece.decode(errors="ignore").strip() for piece in pieces]  # cut in a character
    left = [piece for piece in left if piece and len(piece.encode()) >= config.min_piece_bytes]
    return "\n\n".join(left) if 0 < len(left) <= config.max_pieces else None


def _removed(
    document: Mapping[str, Any], said: str, hits: Sequence[Hit], left: str | None
) -> dict[str, Any]:
    items = list(dict.fromkeys(f"{hit.benchmark} {hit.item}" for hit in hits))
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    shared = said.encode()[hits[0].start : hits[0].end].decode(errors="ignore")
    reason = "contaminated_document" if left is None else "contaminated_span"
    detail = f"shares words with {', '.join(items[:_SHOWN])}{more}: {shared}"
    return removed_row(document, STAGE, reason, score=float(len(items)), detail=detail)


def _hit_row(id: str, text: str, hit: Hit) -> dict[str, Any]:
    shared = text.encode()[hit.start : hit.end].decode(errors="ignore")
    return {"id": id, **vars(hit), "text": shared}


def _with_texts(table: pa.Table, texts: Mapping[int, str]) -> pa.Table:
    if not texts:
        return table
    column = table.schema.get_field_index("text")
    values = table["text"].to_pylist()
    for row, text in texts.items():
        values[row] = text
    field = table.schema.field(column)
    return table.set_column(column, field, pa.array(values, field.type))


def report_of(index: Path, cleaned: Sequence[Path]) -> dict[str, dict[str, int]]:
    """For each benchmark what was looked for, and what was found in which number of documents.

    index: the folder of `build_index`; cleaned: those of `decontaminate_shard`. `items_found` of
    the `findable` items are in some document; `documents` have at least one of them.
    """
    report = {
        name: {**counts, "items_found": 0, "documents": 0, "hits": 0}
        for name, counts in read_json(index / "benchmarks.json").items()
    }
    items: set[tuple[str, int]] = set()
    for folder in cleaned:
        document, seen = None, set[str]()
        for row in rows_of(folder / HITS, ["id", "benchmark", "item"]):
            if row["id"] != document:
                document, seen = row["id"], set()
            counts = report[row["benchmark"]]
            counts["hits"] += 1
            counts["documents"] += row["benchmark"] not in seen
            counts["items_found"] += (row["benchmark"], row["item"]) not in items
            seen.add(row["benchmark"])
            items.add((row["benchmark"], row["item"]))
    return report
