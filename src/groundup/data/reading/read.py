"""Reading one input: its documents, chats and preference pairs, and a Refusal for all else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from groundup.data.reading import archives, docx, epub, html, pdf, rows, tables, text, warc
from groundup.data.reading.config import ReadingConfig, SourceConfig
from groundup.data.reading.formats import ENDINGS_READ, FileKind, Format, kind_of
from groundup.data.reading.hub import hub_rows, parse_address
from groundup.data.reading.inputs import InputFile, find_inputs
from groundup.data.reading.origin import Origin
from groundup.data.reading.parquet import parquet_rows
from groundup.data.reading.streams import Budget, Content, opened_up_to, unpacked, unpacking_errors
from groundup.data.records import Record, Refusal, Refused
from groundup.runtime import DataError

_HELD_BYTES = 16 << 20  # of a file whose records wait until it is known that nobody wrote to it
_NOT_HELD = ("parquet", "zip", "tar")  # what is small on disk may be large when read
_NO_FAULTS = frozenset(  # what is normal in a folder of all kinds of files, or in a web archive
    ("ending_not_read", "linked_twice", "revisit", "http_not_ok", "media_type_not_read")
)
_NOTHING: dict[Format, str] = {
    **dict.fromkeys(("jsonl", "json", "csv", "tsv", "parquet"), "holds no rows"),
    **dict.fromkeys(("zip", "tar"), "holds no files, or hidden ones alone"),
    "warc": "holds no pages and no texts",
}


def read_source(
    source: SourceConfig, name: str, config: ReadingConfig, notes: Counter[str] | None = None
) -> Iterator[Record | Refusal]:
    """All records of a source called `name` in a fixed order, and what was refused."""
    inputs, refusals = find_inputs(source)
    for refusal in refusals:
        path = refusal.id.removeprefix(f"{refusal.source}/")
        yield from _strictly(
            [Refusal(f"{name}/{path}", name, "read", refusal.reason, refusal.detail)], config
        )
    for file in inputs:
        yield from read_input(file, name, config, notes)


def read_input(
    file: InputFile, name: str, config: ReadingConfig, notes: Counter[str] | None = None
) -> Iterator[Record | Refusal]:
    """The records of one input of the source called `name`, in order, and what was refused.

    Ids are "<name>/<relative path>#<n>": n counts rows, records of a web archive, or the pieces of
    a text from 0; the pieces of one row are "#<n>.<piece>". `notes` counts what was assumed, such
    as an encoding. A file that somebody writes to meanwhile is refused; of one above 16 MiB, an
    archive or a table, what was read before that is seen stays.

    Raises DataError for a library that is missing, a data set that cannot be reached and, with
    `strict`, at the first refusal.
    """
    notes = Counter() if notes is None else notes
    column = None if file.column is None else str(file.column)
    origin = Origin(name, file.relative, file.licence, column, notes)
    if file.dataset:
        found = _dataset(file.dataset, origin, config)
    else:
        found = _unless_changed(file, origin, config)
    return _strictly(found, config)


def _strictly(
    found: Iterator[Record | Refusal] | list[Refusal], config: ReadingConfig
) -> Iterator[Record | Refusal]:
    for record in found:
        if config.strict and isinstance(record, Refusal):
            check_strict(record)
        yield record


def check_strict(refusal: Refusal) -> None:
    """Raise DataError for a refusal, other than of what is no fault where it is found.

    That is a file of an ending that is not read, a second link to a folder, and in a web archive a
    page that is held twice, that the server did not give, or that is none.
    """
    if refusal.reason not in _NO_FAULTS:
        raise DataError(
            f"{refusal.id} cannot be used ({refusal.reason}: {refusal.detail}); mend it, leave it "
            "out, or read without strict"
        )


def _dataset(address: str, origin: Origin, config: ReadingConfig) -> Iterator[Record | Refusal]:
    is_empty = True
    for record in rows.read_rows(hub_rows(parse_address(address)), origin, config):
        is_empty = False
        yield record
    if is_empty:
        yield origin.refusal(Refused("empty", "holds no rows"))


def _unless_changed(
    file: InputFile, origin: Origin, config: ReadingConfig
) -> Iterator[Record | Refusal]:
    try:
        before = _state(file)
        kind = kind_of(file.path.name)
        is_held = before[0] <= _HELD_BYTES and kind and kind.format not in _NOT_HELD
        is_held = is_held and kind.compression is None  # type: ignore[union-attr]
        found = _read_file(file, before[0], origin, config)
        if is_held:
            found = iter(list(found))
        else:
            yield from found
        if _state(file) != before:
            raise Refused("changed_while_reading", "was written to while it was read; run again")
        if is_held:
            yield from found
    except Refused as refused:
        yield origin.refusal(refused)
    except OSError as error:
        yield origin.refusal(Refused("not_readable", str(error.strerror or error)))


def _state(file: InputFile) -> tuple[int, int, int]:
    stat = os.stat(file.path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _read_file(
    file: InputFile, n_bytes: int, origin: Origin, config: ReadingConfig
) -> Iterator[Record | Refusal]:
    """The records of a file; the last may be a Refusal of what is left of it."""
    content = Content(
        file.path.name, lambda: opened_up_to(file.path, n_bytes), n_bytes, can_seek=True
    )
    kind = kind_of(file.path.name)
    try:
        if kind is None:
            raise Refused("ending_not_read", f"endings that are read: {ENDINGS_READ}")
        yield from _read_content(content, kind, origin, config)
    except Refused as refused:
        yield origin.refusal(refused)


def _read_content(
    content: Content,
    kind: FileKind,
    origin: Origin,
    config: ReadingConfig,
) -> Iterator[Record | Refusal]:
    """What is in a file or a member of an archive. Raises Refused, if there is nothing, too."""
    is_empty = True
    for record in _read_kind(content, kind, origin, config):
        is_empty = False
        yield record
    if is_empty:
        raise Refused("empty", _NOTHING.get(kind.format, "holds no text"))


def _read_kind(
    content: Content,
    kind: FileKind,
    origin: Origin,
    config: ReadingConfig,
) -> Iterator[Record | Refusal]:
    if kind.compression:
        content = _uncompressed(content, kind, config)
    with unpacking_errors():
        match kind.format:
            case "text":
                yield from text.read_text(content, origin, config)
            case "html":
                yield from html.read_html(content, origin, config)
            case "pdf":
                yield from pdf.read_pdf(content, origin, config)
            case "docx":
                yield from docx.read_docx(content, origin, config)
            case "epub":
                yield from epub.read_epub(content, origin, config)
            case "warc":
                yield from warc.read_warc(content, origin, config)
            case "jsonl":
                yield from rows.read_rows(
                    rows.jsonl_rows(content, config, origin.notes), origin, config
                )
            case "json":
                yield from rows.read_rows(
                    rows.json_rows(content, config, origin.notes), origin, config
                )
            case "csv":
                found = tables.table_rows(content, origin, config, ",")
                yield from rows.read_rows(found, origin, config)
            case "tsv":
                found = tables.table_rows(content, origin, config, "\t")
                yield from rows.read_rows(found, origin, config)
            case "parquet":
                yield from rows.read_rows(parquet_rows(content, origin), origin, config)
            case "zip":
                yield from archives.read_zip(content, origin, config, _read_content)
            case "tar":
                yield from archives.read_tar(content, origin, config, _read_content)


def _uncompressed(packed: Content, kind: FileKind, config: ReadingConfig) -> Content:
    compression = kind.compression
    assert compression is not None
    return Content(
        packed.name,
        lambda: unpacked(packed.opened(), compression, Budget(config, packed.n_bytes)),
    )
