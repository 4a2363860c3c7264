"""The folder of prepared data: its files, and how they are read. `publish.py` writes them.

documents/{train,heldout}-00000.parquet   table.DOCUMENT_SCHEMA read_texts
chats/{train,heldout}.jsonl               messages, id, source  read_chats
preferences/{train,heldout}.jsonl         prompt, chosen, ...   read_preferences
removed/STAGE-00000.parquet               table.REMOVED_SCHEMA
tokens/{train-SOURCE,heldout}/            token shards, where a tokenizer was given or trained
tokenizer/                                that tokenizer
counts.json                               what is where, and what was removed for which reason
manifest.json                             what it is made of, and every file's hash (manifest.py)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from groundup.data.records import Chat, Preference
from groundup.data.split import Split
from groundup.runtime import DataError
from groundup.tokenizer.chat import Message

# --- reading back ---------------------------------------------------------------------------------


def document_files(folder: Path, split: Split) -> list[Path]:
    """The Parquet files of a split, in the order they were written."""
    return sorted((_prepared(folder) / "documents").glob(f"{split}-*.parquet"))


def read_texts(folder: Path, split: Split, source: str | None = None) -> Iterator[str]:
    """The texts of a split in the order they were written, of one source if it is named."""
    for path in document_files(folder, split):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["source", "text"], batch_size=1024):
                names, texts = (batch.column(name).to_pylist() for name in ("source", "text"))
                for name, text in zip(names, texts, strict=True):
                    if source is None or name == source:
                        yield text


def read_chats(folder: Path, split: Split, source: str | None = None) -> Iterator[Chat]:
    """The chats of a split in the order they were written, of one source if it is named."""
    for row in _read_lines(folder, "chats", split, source):
        yield Chat(_messages(row["messages"]), row["id"], row["source"], row.get("licence"))


def read_preferences(folder: Path, split: Split, source: str | None = None) -> Iterator[Preference]:
    """The preference pairs of a split, in the order they were written, of one source if named."""
    for row in _read_lines(folder, "preferences", split, source):
        yield Preference(
            prompt=_messages(row["prompt"]),
            chosen=row["chosen"],
            rejected=row["rejected"],
            id=row["id"],
            source=row["source"],
            licence=row.get("licence"),
        )


def _prepared(folder: Path) -> Path:
    if not (folder / "counts.json").is_file():
        raise DataError(f"{folder} holds no prepared data; run groundup build for it first")
    return folder


def _read_lines(
    folder: Path, kind: str, split: Split, source: str | None
) -> Iterator[dict[str, Any]]:
    with (_prepared(folder) / kind / f"{split}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row: dict[str, Any] = json.loads(line)
            if source is None or row["source"] == source:
                yield row


def _messages(rows: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(role=row["role"], content=row["content"]) for row in rows)
