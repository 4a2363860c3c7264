"""Plain text and source code, in pieces and with the bytes that hold each."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.encoding import TextEncoding, text_encoding
from groundup.data.reading.origin import Origin, pieces_of
from groundup.data.reading.streams import Content
from groundup.data.records import Document, Refusal, Refused


def read_text(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """A file of text as one document, or as several where it is longer than a piece.

    It is read twice, once to learn its encoding, and never held whole. What comes before the place
    where a packed file breaks off is kept. Raises Refused.
    """
    encoding = text_encoding(content.blocks(), origin.notes)
    is_plain = encoding.name == "utf-8" and encoding.errors == "strict"
    spans = _Spans(encoding.n_mark) if is_plain else None
    faults: list[Refused] = []
    texts = _texts(content, encoding, spans, faults)
    n_documents = n_blank = 0
    for n, piece in enumerate(pieces_of(texts, config.piece_bytes)):
        span = spans.of(piece) if spans else None
        if piece.strip():
            n_documents += 1
            yield origin.document(piece, n, span=span)
        else:
            n_blank += 1
    if faults:
        raise faults[0]
    if not n_documents:
        raise Refused("empty", "text is empty")
    if n_blank:
        yield origin.refusal(Refused("empty", f"{n_blank} of its pieces are white space"))


def _texts(
    content: Content, encoding: TextEncoding, spans: _Spans | None, faults: list[Refused]
) -> Iterator[str]:
    """The text without its byte order mark, line ends as \\n; `faults` gets why it breaks off."""
    decoder = codecs.getincrementaldecoder(encoding.name)(encoding.errors)
    carried = ""  # a \r that may be half of a line end
    n_skip = encoding.n_mark
    try:
        for block in _up_to_a_fault(content, faults):
            if spans:
                spans.add(block[n_skip:])
            text = carried + decoder.decode(block[n_skip:])
            n_skip = 0
            carried = "\r" if text.endswith("\r") else ""
            yield text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        yield (carried + decoder.decode(b"", True)).replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise Refused(
            "not_utf8", f"is not all {encoding.name}: {error.reason}; save it as UTF-8"
        ) from error


def _up_to_a_fault(content: Content, faults: list[Refused]) -> Iterator[bytes]:
    try:
        yield from content.blocks()
    except Refused as refused:
        faults.append(refused)


class _Spans:
    """Where in the file each piece is: its bytes and those of the line ends that were \\r\\n."""

    def __init__(self, start: int) -> None:
        self._held = bytearray()
        self._start = start
        self._has_returns = False

    def add(self, block: bytes) -> None:
        self._held += block
        self._has_returns = self._has_returns or b"\r" in block

    def of(self, piece: str) -> tuple[int, int]:
        n = len(piece) if piece.isascii() else len(piece.encode())
        if self._has_returns:
            n = self._with_returns(n)
        start, self._start = self._start, self._start + n
        del self._held[:n]
        return start, self._start

    def _with_returns(self, n: int) -> int:
        """How many bytes become `n` when \\r\\n becomes \\n."""
        longer = n
        while True:
            found = n + self._held.count(b"\r\n", 0, longer)
            if self._held[found - 1 : found + 1] == b"\r\n":
                found += 1
            if found == longer:
                return longer
            longer = found
