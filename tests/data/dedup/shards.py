"""Shards for the tests: Parquet files of documents, and what stages left of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundup.data.dedup import REMOVED
from groundup.data.table import TableWriter, rows_of

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def write_shards(folder: Path, documents: Sequence[Mapping[str, str]], n: int) -> list[Path]:
    """Documents by id and text in `n` Parquet files, some of which may be empty."""
    paths = [folder / f"shard-{index}.parquet" for index in range(n)]
    for index, path in enumerate(paths):
        with TableWriter(path) as writer:
            for document in documents[index::n]:
                writer.add({"source": "t", **document})
    return paths


def documents(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"id": name, "text": text} for name, text in texts.items()]


def kept(shards: Sequence[Path]) -> dict[str, str]:
    """The texts that are left, by id."""
    return {row["id"]: row["text"] for path in shards for row in rows_of(path, ["id", "text"])}


def removed(shards: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The rows that were removed, by id."""
    return {row["id"]: row for path in shards for row in rows_of(path.parent / REMOVED)}
