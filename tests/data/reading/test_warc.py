"""Web archives: pages and texts, and records that are damaged, cut short or of other things."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.reading.http import parse_http, unchunked
from groundup.data.records import Document, Refusal, Refused

from .samples import http, read, reasons_of, refusal_of, warc_record

PAGE = b"<html><body><p>Words of a page.</p></body></html>"
LIMIT = 1 << 20


def test_pages_and_texts_are_documents_numbered_by_their_records(tmp_path: Path) -> None:
    records = [
        warc_record("warcinfo", b"software: x\r\n"),
        warc_record("request", b"GET / HTTP/1.1\r\n\r\n"),
        warc_record("response", http(PAGE)),
        warc_record("metadata", b"fetchTimeMs: 1\r\n"),
        warc_record("conversion", "Text of a WET file, é.".encode(), Content_Type="text/plain"),
        warc_record("resource", b"A resource.", Content_Type="text/plain"),
        warc_record("response", http(b"Plain.\r\n", "Content-Type: text/plain")),
    ]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (tmp_path / "b.warc.gz").write_bytes(b"".join(gzip.compress(record) for record in records))
    found = read(tmp_path)
    expected = [
        (2, "Words of a page."),
        (4, "Text of a WET file, é."),
        (5, "A resource."),
        (6, "Plain."),
    ]
    assert [(r.id, r.text) for r in found if isinstance(r, Document)] == [
        (f"s/{name}#{n}", text) for name in ("a.warc", "b.warc.gz") for n, text in expected
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (warc_record("response", http(PAGE, status="404 Not Found")), "http_not_ok"),
        (
            warc_record("response", http(b"PNG", "Content-Type: image/png")),
            "media_type_not_read",
        ),
        (warc_record("response", b"not http"), "media_type_not_read"),
        (warc_record("response", http(b"<html></html>")), "no_text"),
        (warc_record("revisit", b""), "revisit"),
        (
            warc_record("response", http(PAGE, "Content-Encoding: x")),
            "content_encoding_not_read",
        ),
        (warc_record("response", http(PAGE), Content_Length="many"), "damaged"),
        (warc_record("response", http(PAGE), Content_Length="99999999999"), "too_large"),
        (warc_record("response", http(PAGE), Content_Length="9999"), "truncated"),
        (warc_record("conversion", b"na\xefve"), "not_utf8"),
    ],
)
def test_a_record_that_cannot_be_used_is_told(tmp_path: Path, record: bytes, reason: str) -> None:
    (tmp_path / "a.warc").write_bytes(record)
    refusal = refusal_of(tmp_path)
    assert (refusal.id, refusal.reason) == ("s/a.warc#0", reason)


def test_after_damage_the_next_record_is_found(tmp_path: Path) -> None:
    good = warc_record("conversion", b"Good.")
    broken = good.replace(b"WARC-Type:", b"WARC-Type ")
    (tmp_path / "a.warc").write_bytes(good + broken + good + b"junk\r\njunk\r\n" + good)
    found = read(tmp_path)
    assert [r.text for r in found if isinstance(r, Document)] == ["Good."] * 3
    assert [r.reason for r in found if isinstance(r, Refusal)] == ["damaged", "damaged"]


def test_a_file_that_is_cut_anywhere_tells_so(tmp_path: Path) -> None:
    whole = warc_record("conversion", b"First text.") + warc_record("conversion", b"Second text.")
    n_first = len(whole) - len(warc_record("conversion", b"Second text."))
    for end in range(n_first + 1, len(whole) - 4):
        (tmp_path / "a.warc").write_bytes(whole[:end])
        found = read(tmp_path)
        assert isinstance(found[0], Document)
        assert [type(record) for record in found[1:]] == [Refusal], end
    (tmp_path / "b.warc.gz").write_bytes(gzip.compress(whole)[:-20])
    (tmp_path / "c.warc").write_bytes(b"<html>")
    (tmp_path / "d.warc").write_bytes(b"")
    reasons = reasons_of(tmp_path)
    assert reasons["b.warc.gz"] == "truncated"
    assert reasons["c.warc"] == "not_warc"


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(PAGE, mtime=0)),
        ("deflate", zlib.compress(PAGE)),
        ("deflate", zlib.compress(PAGE)[2:-4]),
        ("br", pa.compress(PAGE, "brotli", asbytes=True)),
        ("zstd", pa.compress(PAGE, "zstd", asbytes=True)),
        ("identity", PAGE),
        ("gzip", PAGE),  # stored unpacked under the header it came with
        ("gzip, identity", gzip.compress(PAGE, mtime=0)),
    ],
)
def test_bodies_are_unpacked(coding: str, body: bytes) -> None:
    message = parse_http(http(body, f"Content-Encoding: {coding}"), LIMIT)
    assert (message.status, message.body, message.charset) == (200, PAGE, "utf-8")


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("gzip", gzip.compress(PAGE, mtime=0)[:-9], "truncated"),
        ("gzip", gzip.compress(PAGE, mtime=0)[:10] + b"\xff" * 30, "damaged"),
        ("gzip", gzip.compress(bytes(LIMIT + 1), mtime=0), "too_large"),
        ("br", b"\xff\xff\xff\xff not brotli", "damaged"),
        ("zstd", PAGE, "content_encoding_not_read"),
    ],
)
def test_bodies_that_cannot_be_unpacked_are_told(coding: str, body: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_http(http(body, f"Content-Encoding: {coding}"), LIMIT)
    assert refused.value.reason == reason


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_chunks_are_joined(chunks: list[bytes]) -> None:
    body = b"".join(b"%x;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    assert unchunked(body + b"0\r\nTrailer: x\r\n\r\n") == b"".join(chunks)


def test_chunks_that_are_none_are_left_and_broken_ones_told() -> None:
    assert unchunked(PAGE) == PAGE
    for body, reason in ((b"5\r\nabc", "truncated"), (b"3\r\nabc\r\nzz\r\n", "damaged")):
        with pytest.raises(Refused) as refused:
            unchunked(body)
        assert refused.value.reason == reason
