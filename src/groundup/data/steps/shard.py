"""What goes from stage to stage: shards, each a Parquet file of rows of one kind and source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow.compute as pc

from groundup.data.engine import Artefact
from groundup.data.table import (
    DOCUMENT_SCHEMA,
    REMOVED_SCHEMA,
    TableWriter,
    removed_row,
    tables_of,
)

KINDS = ("documents", "chats", "preferences")
ROWS = "documents.parquet"  # what every stage behind reading calls its rows, of any kind
REMOVED = "removed.parquet"


@dataclass(frozen=True)
class Shard:
    """A file of rows.

    kind: documents, chats or preferences; the text of the latter two is JSON
    n, n_bytes: rows, and bytes of their texts
    is_builtin: made by us, so neither cleaned nor compared for near duplicates
    """

    source: str
    kind: str
    artefact: Artefact
    n: int
    n_bytes: int
    file: str = ROWS
    is_builtin: bool = False

    @property
    def path(self) -> Path:
        """Where the rows are."""
        return self.artefact.path(self.file)

    def now_in(self, artefact: Artefact) -> Shard:
        """The same shard behind one more stage."""
        return replace(self, artefact=artefact, file=ROWS, **artefact.counts["out"])


class Tally:
    """Counts of one job: what it passed on, and what it took out by reason.

    >>> tally = Tally()
    >>> tally.went("one two"); tally.dropped("too_short")
    >>> tally.counts()
    {'out': {'n': 1, 'n_bytes': 7}, 'dropped': {'too_short': 1}}
    """

    def __init__(self) -> None:
        self._out: Counter[str] = Counter(n=0, n_bytes=0)
        self._dropped: Counter[str] = Counter()

    def went(self, text: str | None) -> None:
        """One row was passed on."""
        self._out.update(n=1, n_bytes=n_bytes_of(text))

    def dropped(self, reason: str) -> None:
        """One row was taken out."""
        self._dropped[reason] += 1

    def counts(self) -> dict[str, Any]:
        """For a header."""
        return {"out": dict(self._out), "dropped": dict(sorted(self._dropped.items()))}


def n_bytes_of(text: str | None) -> int:
    """Bytes of a text in UTF-8."""
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())


def counts_of_files(folder: Path) -> dict[str, Any]:
    """What `Tally` would say of a folder with documents.parquet and, perhaps, removed.parquet."""
    out: Counter[str] = Counter(n=0, n_bytes=0)
    for table in tables_of(folder / ROWS, ["text"]):
        n_bytes = pc.sum(pc.binary_length(table["text"])).as_py() or 0
        out.update(n=table.num_rows, n_bytes=n_bytes)
    dropped: Counter[str] = Counter()
    if (folder / REMOVED).exists():
        for table in tables_of(folder / REMOVED, ["reason"]):
            dropped.update(table["reason"].to_pylist())
    return {"out": dict(out), "dropped": dict(sorted(dropped.items()))}


class RowsWriter:
    """Writes FOLDER/documents.parquet and FOLDER/removed.parquet, and counts; a context manager."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.stage, self.tally = stage, Tally()
        self._rows = TableWriter(folder / ROWS, DOCUMENT_SCHEMA)
        self._removed = TableWriter(folder / REMOVED, REMOVED_SCHEMA)

    def keep(self, row: Mapping[str, Any]) -> None:
        """Pass a row on."""
        self._rows.add(row)
        self.tally.went(row["text"])

    def remove(
        self,
        row: Mapping[str, Any],
        reason: str,
        *,
        score: float | None = None,
        kept_id: str | None = None,
        detail: str = "",
    ) -> None:
        """Take a row out, and note why."""
        self.tally.dropped(reason)
        self._removed.add(
            removed_row(row, self.stage, reason, score=score, kept_id=kept_id, detail=detail)
        )

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._rows.close()
        self._removed.close()
