"""Reading sources: files of text, JSONL and Parquet become documents, chats and preference pairs.

Nothing is dropped in silence: what cannot be used comes out as a Refusal with its reason.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundup.data.records import Document, Record, Refusal, Refused, clean_text, record_from_row
from groundup.data.split import cut_text
from groundup.runtime import DataError, config, hash_file, stable_hash

ENDINGS = (".txt", ".md", ".jsonl", ".parquet")
_UTF8_BOM = b"\xef\xbb\xbf"


@config
class SourceConfig:
    """One source of data.

    path: a file or a folder (read with all its subfolders) of .txt, .md, .jsonl or .parquet, or
        the name of a built-in source such as `demo` (write ./demo for a folder of that name)
    name: what the source is called in counts and document ids; None takes it from the path
    weight: how often each of its documents is seen in training, relative to the other sources
    """

    path: str
    name: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path is empty; give a file, a folder or a built-in source")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight={self.weight} must be above 0; or remove the source")
        if self.name is not None and (not self.name or set(self.name) & set("/#\\\n")):
            raise ValueError(f"name={self.name!r} must hold no / # or \\; try 'books'")

    @property
    def label(self) -> str:
        """The name given, or else the last part of the path without its ending."""
        return self.name or Path(os.path.abspath(self.path)).stem.replace("#", "_") or "source"


@dataclass(frozen=True)
class SourceFile:
    """A file of a source, and its path relative to the source, written with slashes."""

    path: Path
    relative: str


def find_files(path: Path) -> tuple[list[SourceFile], list[SourceFile]]:
    """The files of a source that can be read, and those of other endings, sorted by path.

    Hidden files and folders are left out; a folder reached twice through links is walked once.
    """
    if not path.exists():
        raise DataError(f"source {path} does not exist; check the path in data.sources")
    if path.is_file():
        files = [SourceFile(path, path.name)]
    else:
        files = sorted(_walk(path, path, frozenset()), key=lambda file: file.relative)
    readable = [file for file in files if file.path.suffix.lower() in ENDINGS]
    if not readable:
        endings = Counter(file.path.suffix.lower() or "no ending" for file in files)
        found = ", ".join(f"{n} x {ending}" for ending, n in sorted(endings.items())) or "no files"
        raise DataError(
            f"source {path} holds nothing to read: needs {', '.join(ENDINGS)}; found {found}"
        )
    return readable, [file for file in files if file.path.suffix.lower() not in ENDINGS]


def _walk(folder: Path, top: Path, above: frozenset[str]) -> Iterator[SourceFile]:
    here = os.path.realpath(folder)
    if here in above:  # a link back to a folder that is being walked
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"source folder {folder} cannot be read ({error.strerror}); change its permissions"
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, top, above | {here})
        elif entry.is_file():
            yield SourceFile(entry, entry.relative_to(top).as_posix())


def read_source(
    source: SourceConfig, name: str, *, split_long_documents_bytes: int | None
) -> Iterator[Record | Refusal]:
    """All records of a source in a fixed order, and a Refusal for everything that is none.

    Ids are "<name>/<relative path>#<n>": n counts rows, or the pieces of a text file, from 0; a
    row's text cut in pieces adds ".<piece>".
    """
    readable, others = find_files(Path(source.path))
    for file in others:
        detail = f"endings that are read: {', '.join(ENDINGS)}"
        yield Refusal(f"{name}/{file.relative}", name, "read", "ending_not_read", detail)
    for file in readable:
        yield from _read_file(file, name, split_long_documents_bytes)


def _read_file(file: SourceFile, name: str, limit_bytes: int | None) -> Iterator[Record | Refusal]:
    file_id = f"{name}/{file.relative}"
    ending = file.path.suffix.lower()
    try:
        if ending in (".txt", ".md"):
            text = _read_text(file.path)
            for n, piece in enumerate(cut_text(text, limit_bytes)):
                yield Document(piece, f"{file_id}#{n}", name)
            return
        rows = _jsonl_rows(file.path) if ending == ".jsonl" else _parquet_rows(file.path)
        for n, row in rows:
            yield from _records_of(row, f"{file_id}#{n}", name, limit_bytes)
    except Refused as refused:
        yield Refusal(file_id, name, "read", refused.reason, f"{file.path}: {refused.detail}")
    except OSError as error:
        yield Refusal(
            file_id, name, "read", "not_readable", f"{file.path}: {error.strerror or error}"
        )


def _records_of(
    row: Any, record_id: str, name: str, limit_bytes: int | None
) -> Iterator[Record | Refusal]:
    try:
        if isinstance(row, Refused):
            raise row
        record = record_from_row(row, record_id, name)
    except Refused as refused:
        yield Refusal(record_id, name, "read", refused.reason, refused.detail)
        return
    if not isinstance(record, Document):
        yield record
        return
    pieces = cut_text(record.text, limit_bytes)
    if len(pieces) == 1:
        yield record
        return
    for n, piece in enumerate(pieces):
        yield replace(record, text=piece, id=f"{record_id}.{n}")


def _read_text(path: Path) -> str:
    data = path.read_bytes().removeprefix(_UTF8_BOM)
    if b"\0" in data:
        raise Refused("has_nul", "holds NUL bytes: not plain text, or UTF-16; save it as UTF-8")
    try:
        return clean_text(data.decode(), "text")
    except UnicodeDecodeError as error:
        raise Refused(
            "not_utf8", f"byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from error


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(row, value) for each line that is not blank; a line that cannot be read gives a Refused."""
    with path.open("rb") as file:
        for n, line in enumerate(file):
            if n == 0:
                line = line.removeprefix(_UTF8_BOM)
            if not line.strip():
                continue
            try:
                yield n, json.loads(line)
            except UnicodeDecodeError:
                yield n, Refused("not_utf8", f"line {n + 1} is not UTF-8")
            except (
                ValueError,
                RecursionError,
            ) as error:  # a number of 5,000 digits is no JSON error
                yield n, Refused("not_json", f"line {n + 1} is not JSON: {error}")


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 0
    try:
        with pq.ParquetFile(path) as file:
            wanted = {"text", "messages", "prompt", "chosen", "rejected"}
            names = [name for name in file.schema_arrow.names if name in wanted]
            if not names:
                columns = ", ".join(file.schema_arrow.names)
                raise Refused("columns_not_known", f"columns found: {columns}")
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group, columns=names).to_pylist():
                    yield n, row
                    n += 1
    except (pa.ArrowException, UnicodeDecodeError) as error:
        detail = str(error).splitlines()[0]
        raise Refused(
            "not_parquet", f"cannot be read as Parquet after row {n}: {detail}"
        ) from error


def source_fingerprint(sources: Collection[SourceConfig], builtin: Collection[str] = ()) -> str:
    """Hash of what the sources hold: each file's relative path, size and content.

    For a source named in `builtin` only the name counts: its content follows from the recipe.
    """
    entries: list[Any] = []
    for source in sources:
        if source.path in builtin:
            entries.append(source.path)
            continue
        readable, _ = find_files(Path(source.path))
        for file in readable:
            size = file.path.stat().st_size
            entries.append([file.relative, size, hash_file(file.path)])
    return stable_hash(entries)
