"""Web archives: the pages in WARC files, and the texts in WET files.

WARC 1.1 (ISO 28500): records one after the other, each of a header, a blank line and a block of as
many bytes as the header says. They are parsed here rather than by FastWARC, which says nothing of
a record that is cut short and ends the file at the first that is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.encoding import decoded
from groundup.data.reading.html import html_encoding, page_text, valid_text
from groundup.data.reading.http import HttpMessage, parse_http
from groundup.data.reading.origin import Origin, pieces_of
from groundup.data.reading.streams import BLOCK_BYTES, Content
from groundup.data.records import Document, Refusal, Refused

_VERSION = re.compile(rb"WARC/\d+\.\d+\s*$")
_LINE_BYTES = 64 << 10
_HEADER_LINES = 1000
_ABOUT_OTHERS = frozenset({"warcinfo", "request", "metadata", "continuation"})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True)
class WarcRecord:
    """A record: its fields, with names in small letters, and its block."""

    fields: Mapping[str, str]
    block: bytes

    @property
    def kind(self) -> str:
        return self.fields.get("warc-type", "").lower()


def read_warc(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """The pages and texts of a web archive, as documents numbered by their records.

    Records that say something of others (warcinfo, request, metadata) are passed over. Raises
    Refused where the file is no web archive, or cannot be unpacked any further.
    """
    with content.opened() as file:
        for n, record in enumerate(warc_records(file, config.max_document_bytes)):
            try:
                if isinstance(record, Refused):
                    raise record
                if record.kind not in _ABOUT_OTHERS:
                    yield from _documents(record, n, origin, config)
            except Refused as refused:
                yield origin.refusal(refused, n)


def _documents(
    record: WarcRecord, n: int, origin: Origin, config: ReadingConfig
) -> Iterator[Document]:
    text, licence = _text_of(record, origin, config)
    text = valid_text(text)
    if not text:
        raise Refused("no_text", f"{record.fields.get('warc-target-uri', 'a page')} has no text")
    pieces = list(pieces_of([text], config.piece_bytes))
    for i, piece in enumerate(pieces):
        if piece.strip():
            number = n if len(pieces) == 1 else f"{n}.{i}"
            yield origin.document(piece, number, licence=licence)


def _text_of(record: WarcRecord, origin: Origin, config: ReadingConfig) -> tuple[str, str | None]:
    if record.kind == "revisit":
        raise Refused("revisit", f"the same as {record.fields.get('warc-refers-to', 'another')}")
    if record.kind == "response":
        message = parse_http(record.block, config.max_document_bytes)
        if not 200 <= message.status < 300:
            raise Refused("http_not_ok", f"the server answered {message.status}")
    else:
        message = HttpMessage(200, {"content-type": record.fields.get("content-type", "")},
                              record.block)  # fmt: skip
    if record.kind == "conversion" or message.media_type == "text/plain":
        declared = html_encoding(message.charset)
        return decoded(message.body, origin.notes, declared), None
    if message.media_type in _PAGES:
        return page_text(message.body, origin.notes, charset=message.charset)
    kind = message.media_type or "of no type"
    raise Refused("media_type_not_read", f"is {kind}; text and web pages are read")


# --- records --------------------------------------------------------------------------------------


def warc_records(file: BinaryIO, limit_bytes: int) -> Iterator[WarcRecord | Refused]:
    """The records of a file, and a Refused for each that is damaged, cut short or too large.

    After damage the next line that begins a record is looked for. Raises Refused (`not_warc`) if
    the file does not begin with a record.
    """
    line = _first_line(file)
    if line and not _VERSION.match(line):
        raise Refused("not_warc", "does not begin as a WARC file does")
    while line:
        try:
            fields = _fields(file)
            n_bytes = _block_bytes(fields)
        except Refused as refused:
            yield refused
            line = _resume(file, file.readline(_LINE_BYTES))
            continue
        if n_bytes > limit_bytes:
            yield Refused("too_large", f"a record of {n_bytes:,} bytes; raise max_document_bytes")
            _skip(file, n_bytes)
        else:
            block = file.read(n_bytes)
            if len(block) < n_bytes:
                file.read(1)  # raises why, where it was compressed
                yield Refused(
                    "truncated", f"ends after {len(block):,} of the {n_bytes:,} bytes of a record"
                )
                return
            yield WarcRecord(fields, block)
        line = _first_line(file)
        if line and not _VERSION.match(line):
            yield Refused("damaged", "something stands between two records")
            line = _resume(file, line)


def _first_line(file: BinaryIO) -> bytes:
    """The first line that is not blank; empty at the end of the file."""
    while line := file.readline(_LINE_BYTES):
        if line.strip():
            return line
    return b""


def _resume(file: BinaryIO, line: bytes) -> bytes:
    """The next line that begins a record; empty if there is none."""
    while line and not _VERSION.match(line):
        line = file.readline(_LINE_BYTES)
    return line


def _fields(file: BinaryIO) -> dict[str, str]:
    """The header, with the blank line after it; raises Refused where there is none."""
    fields: dict[str, str] = {}
    name = ""
    for _ in range(_HEADER_LINES):
        line = file.readline(_LINE_BYTES)
        if not line:
            raise Refused("truncated", "ends in the header of a record")
        if not line.strip():
            return fields
        text = line.decode("utf-8", "replace")
        if text[0] in " \t" and name:
            fields[name] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        name = name.strip().lower()
        if not colon:
            raise Refused("damaged", "a record's header holds a line without a colon")
        fields[name] = value.strip()
    raise Refused("damaged", f"a record's header has more than {_HEADER_LINES} lines")


def _block_bytes(fields: Mapping[str, str]) -> int:
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise Refused("damaged", f"a record's Content-Length is {length!r}")
    return int(length)


def _skip(file: BinaryIO, n_bytes: int) -> None:
    while n_bytes and (block := file.read(min(n_bytes, BLOCK_BYTES))):
        n_bytes -= len(block)
