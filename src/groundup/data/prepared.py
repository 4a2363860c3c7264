"""The folder of prepared data: its files, how they are written and how they are read.

documents/{train,heldout}-00000.parquet   id, source, text      read_texts
chats/{train,heldout}.jsonl               messages, id, source  read_chats
preferences/{train,heldout}.jsonl         prompt, chosen, ...   read_preferences
removed.parquet                           id, source, stage, reason, detail
counts.json                               what is where, and what was removed for which reason
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from groundup.data.records import Chat, Document, Preference, Record, Refusal, messages_as_rows
from groundup.data.split import Split
from groundup.runtime import DataError
from groundup.tokenizer.chat import Message

SPLITS: tuple[Split, Split] = ("train", "heldout")
KINDS = ("documents", "chats", "preferences")

ROW_GROUP_BYTES = 4 << 20  # what a reader holds at a time
FILE_BYTES = 64 << 20  # text in one Parquet file
_DOCUMENT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "source", "text")])
_REMOVED_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "stage", "reason", "detail")]
)


class PreparedWriter:
    """Writes records and refusals into a folder; a context manager that closes all its files."""

    def __init__(self, out: Path) -> None:
        self._files = ExitStack()
        enter = self._files.enter_context
        self._removed = enter(_TableWriter(out / "removed.parquet", _REMOVED_SCHEMA))
        self._documents = {s: enter(_DocumentWriter(out / "documents", s)) for s in SPLITS}
        self._chats = {s: enter(_open_lines(out / "chats" / f"{s}.jsonl")) for s in SPLITS}
        self._preferences = {
            s: enter(_open_lines(out / "preferences" / f"{s}.jsonl")) for s in SPLITS
        }

    def add(self, split: Split, record: Record) -> None:
        match record:
            case Document():
                self._documents[split].add(record)
            case Chat():
                self._chats[split].write(_json_line(record))
            case Preference():
                self._preferences[split].write(_json_line(record))

    def add_removed(self, refusal: Refusal) -> None:
        row = (refusal.id, refusal.source, refusal.stage, refusal.reason, refusal.detail)
        self._removed.add(row, n_bytes=sum(map(len, row)))

    def __enter__(self) -> PreparedWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()


def _json_line(record: Chat | Preference) -> str:
    row: dict[str, Any] = {"id": record.id, "source": record.source}
    if isinstance(record, Chat):
        row["messages"] = messages_as_rows(record.messages)
    else:
        row["prompt"] = messages_as_rows(record.prompt)
        row |= {"chosen": record.chosen, "rejected": record.rejected}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _open_lines(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8", newline="\n")


class _TableWriter:
    """A Parquet file written row by row, in row groups of about ROW_GROUP_BYTES."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._rows: list[tuple[str, ...]] = []
        self._group_bytes = self.n_bytes = 0

    def add(self, row: tuple[str, ...], n_bytes: int) -> None:
        self._rows.append(row)
        self._group_bytes += n_bytes
        self.n_bytes += n_bytes
        if self._group_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [pa.array(column, pa.string()) for column in columns]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows, self._group_bytes = [], 0

    def __enter__(self) -> _TableWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


class _DocumentWriter:
    """The documents of one split, in Parquet files of about FILE_BYTES of text."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self._n_files = 0
        self._table: _TableWriter | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, document: Document) -> None:
        if self._table is None:
            path = self.folder / f"{self.split}-{self._n_files:05d}.parquet"
            self._table = _TableWriter(path, _DOCUMENT_SCHEMA)
            self._n_files += 1
        row = (document.id, document.source, document.text)
        self._table.add(row, n_bytes=len(document.text.encode()))
        if self._table.n_bytes >= FILE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._table is not None:
            self._table.__exit__()
            self._table = None

    def __enter__(self) -> _DocumentWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()


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
        yield Chat(_messages(row["messages"]), row["id"], row["source"])


def read_preferences(folder: Path, split: Split, source: str | None = None) -> Iterator[Preference]:
    """The preference pairs of a split, in the order they were written, of one source if named."""
    for row in _read_lines(folder, "preferences", split, source):
        yield Preference(
            _messages(row["prompt"]), row["chosen"], row["rejected"], row["id"], row["source"]
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
