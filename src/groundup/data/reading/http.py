"""An answer of a web server as crawlers store it: status, headers, and the body as it was meant.

HTTP/1.1 (RFC 9112): a body may have come in chunks (section 7.1) and compressed (RFC 9110, section
8.4). Crawlers often store it plain under the old headers, so a header is believed only if the bytes
agree with it.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groundup.data.records import Refused

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class HttpMessage:
    """What a server sent; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Such as text/html; "" if there is none.

        >>> HttpMessage(200, {"content-type": "Text/HTML; charset=x"}, b"").media_type
        'text/html'
        """
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        found = re.search(r"charset=\s*\"?([^\s;\"]+)", self.headers.get("content-type", ""), re.I)
        return found.group(1) if found else None


def parse_http(block: bytes, limit_bytes: int) -> HttpMessage:
    """The answer in a record of a web archive. Raises Refused if it cannot be read."""
    status = _STATUS.match(block)
    if status is None:
        raise Refused("media_type_not_read", "is no answer of a web server")
    end = _HEAD_END.search(block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    headers: dict[str, str] = {}
    for line in head.splitlines()[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = unchunked(body)
    for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = _uncompressed(body, coding.strip(), limit_bytes)
    return HttpMessage(int(status.group(1)), headers, body)


def unchunked(body: bytes) -> bytes:
    """The body without the lines that say how long each chunk is; as it is if it has none.

    >>> unchunked(b"4\\r\\nWiki\\r\\n5\\r\\npedia\\r\\n0\\r\\n\\r\\n"), unchunked(b"<html>")
    (b'Wikipedia', b'<html>')
    """
    parts: list[bytes] = []
    at = 0
    while found := _CHUNK.match(body, at):
        n_bytes = int(found.group(1), 16)
        at = found.end()
        if not n_bytes:
            return b"".join(parts)
        if at + n_bytes > len(body):
            raise Refused("truncated", "the last chunk of a page is cut short")
        parts.append(body[at : at + n_bytes])
        at += n_bytes
        at += len(body[at : at + 2]) - len(body[at : at + 2].lstrip(b"\r\n"))
    if parts:
        raise Refused("damaged", f"byte {at} of a page should begin a chunk")
    return body


def _uncompressed(body: bytes, coding: str, limit_bytes: int) -> bytes:
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip"):
        return _inflated(body, 31, limit_bytes) if body.startswith(_GZIP) else body
    if coding == "deflate":
        try:
            return _inflated(body, 15, limit_bytes)
        except Refused as refused:  # many servers send it without its header
            if refused.reason == "too_large":
                raise
            return _inflated(body, -15, limit_bytes)
    if coding == "br":
        return _decompressed(body, "brotli", limit_bytes)
    if coding == "zstd" and body.startswith(_ZSTD):
        return _decompressed(body, "zstd", limit_bytes)
    raise Refused("content_encoding_not_read", f"is compressed as {coding!r}")


def _inflated(body: bytes, window_bits: int, limit_bytes: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    try:
        data = inflater.decompress(body, limit_bytes)
    except zlib.error as error:
        raise Refused("damaged", f"a page cannot be unpacked: {error}") from error
    if inflater.unconsumed_tail:
        raise _too_large(limit_bytes)
    if not inflater.eof:
        raise Refused("truncated", "a compressed page is cut short")
    return data


def _decompressed(body: bytes, codec: str, limit_bytes: int) -> bytes:
    import pyarrow as pa

    try:
        stream: Any = pa.CompressedInputStream(io.BytesIO(body), codec)
        data = bytes(stream.read(limit_bytes + 1))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = "truncated" if "runcated" in str(error) else "damaged"
        raise Refused(reason, f"a page cannot be unpacked: {error}") from error
    if len(data) > limit_bytes:
        raise _too_large(limit_bytes)
    return data


def _too_large(limit_bytes: int) -> Refused:
    return Refused(
        "too_large", f"a page unpacks to more than {limit_bytes:,} bytes; raise max_document_bytes"
    )
