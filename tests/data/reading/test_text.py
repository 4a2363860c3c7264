"""Plain text: pieces, the bytes that hold them, encodings, and files that are no text."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.reading import ReadingConfig, SourceConfig, read_source
from groundup.data.reading.origin import pieces_of
from groundup.data.records import Document, Refusal
from groundup.data.split import cut_text

from .samples import read, reasons_of, refusal_of, texts

FRENCH = "Les élèves étaient à l'école où ils ont mangé des gâteaux très sucrés. "
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах. "
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"


def test_text_is_read_as_utf8_with_plain_newlines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfna\xc3\xafve\r\nline\rend\n")
    expected = Document("naïve\nline\nend\n", "s/a.txt#0", "s", path="a.txt", start=3, end=20)
    assert read(path) == [expected]


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"na\xefve", "not_utf8", "byte 2 is not UTF-8; save the file as UTF-8"),
        (FRENCH.encode() * 20 + b"\xff" * 20, "not_utf8", "most of it is, so it is damaged"),
        (bytes(range(128, 256)) * 9, "not_utf8", "byte 0 is not UTF-8"),
        ("hié".encode("utf-16") + b"\0\xd8", "not_utf8", "is not UTF-16-LE"),
        (b"a\0b", "has_nul", "holds NUL bytes"),
        ("hi there".encode("utf-16-le"), "has_nul", "or UTF-16"),
        (b"\xff\xfe" + "a\0b".encode("utf-16-le"), "has_nul", "holds NUL"),
        (b"", "empty", "text is empty"),
        (b" \n\t", "empty", "text is empty"),
        (b"\xef\xbb\xbf", "empty", "text is empty"),
    ],
)
def test_a_text_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes, reason: str, detail: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    refusal = refusal_of(path)
    assert (refusal.id, refusal.stage, refusal.reason) == ("s/bad.txt", "read", reason)
    assert str(tmp_path) not in refusal.detail  # the same wherever the file lies
    assert detail in refusal.detail


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "a.txt").write_bytes(mark + f"{CHINESE}\r\n{FRENCH}".encode(encoding))
    assert texts(tmp_path) == [f"{CHINESE}\n{FRENCH}"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (CHINESE, "gb18030"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
    ],
)
def test_older_encodings_are_found_and_noted(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes((text * 20).encode(encoding))
    notes: Counter[str] = Counter()
    (document,) = read(tmp_path, notes=notes)
    assert isinstance(document, Document)
    assert document.text == text * 20
    assert document.start is None
    assert notes.total() == 1


def test_what_is_cut_is_cut_as_the_whole_text_would_be(tmp_path: Path) -> None:
    text = "".join(f"Paragraph {i} of the book.\n\n" for i in range(100))
    (tmp_path / "book.txt").write_text(text)
    records = read(tmp_path, piece_bytes=300)
    assert [record.id for record in records[:2]] == ["s/book.txt#0", "s/book.txt#1"]
    assert [r.text for r in records if isinstance(r, Document)] == cut_text(text, 300)


@given(
    parts=st.lists(st.text(st.sampled_from("ab é世\n. \U0001f642"), max_size=90), max_size=12),
    limit=st.integers(8, 64),
)
def test_pieces_of_a_stream_are_those_of_the_whole(parts: list[str], limit: int) -> None:
    whole = "".join(parts)
    expected = cut_text(whole, limit) if whole else []
    assert list(pieces_of(parts, limit)) == expected


@given(
    text=st.text(st.sampled_from("ab é\r\n世."), min_size=1, max_size=900),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_the_bytes_of_a_piece_hold_its_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, mark: bytes
) -> None:
    path = tmp_path_factory.mktemp("spans") / "a.txt"
    data = mark + text.encode()
    path.write_bytes(data)
    documents = [d for d in read(path, piece_bytes=64) if isinstance(d, Document)]
    for document in documents:
        held = data[document.start : document.end].removeprefix(b"\xef\xbb\xbf").decode()
        assert held.replace("\r\n", "\n").replace("\r", "\n") == document.text
    if text.strip() and len(documents) == 1 == len(read(path, piece_bytes=64)):
        assert (documents[0].start, documents[0].end) == (len(mark), len(data))


def test_pieces_of_white_space_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word " * 40 + " " * 400 + "word")
    *documents, refusal = read(tmp_path, piece_bytes=100)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.txt", "empty")
    assert all(isinstance(d, Document) and d.text.strip() for d in documents)


def test_source_code_is_text(tmp_path: Path) -> None:
    for name in ("a.py", "b.rs", "c.tsx", "Makefile", "d.rst", "e.c"):
        (tmp_path / name).write_text("x = 1\n")
    assert len(texts(tmp_path)) == 6


@pytest.mark.parametrize("name", ["long.txt", "long.txt.gz", "long.jsonl", "long.csv", "long.json"])
def test_one_endless_line_is_never_held(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 MB on one line no more is held than a few pieces, or than a row may have."""
    path = tmp_path / name
    monkeypatch.setattr("groundup.data.reading.read._HELD_BYTES", 0)  # files of this are small
    line = (b"word" * 50 + b" ") * 40_000
    path.write_bytes(gzip.compress(line, 1) if name.endswith(".gz") else line)
    limits = ReadingConfig(
        piece_bytes=100_000, max_document_bytes=1 << 20, max_expansion=1000, strict=False
    )
    n_bytes = 0
    refused = []
    tracemalloc.start()
    for record in read_source(SourceConfig(path=str(path)), "s", limits):
        if isinstance(record, Refusal):
            refused.append(record.reason)
        else:
            n_bytes += len(record.text.encode()) if isinstance(record, Document) else 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if ".txt" in name:
        assert n_bytes == len(line)
        assert not refused
    else:
        assert refused == ["not_json" if name == "long.json" else "too_large"]
    assert peak < 6e6


def test_text_that_ends_before_its_archive_does_is_told(tmp_path: Path) -> None:
    packed = gzip.compress(b"Words of a text. " * 5000, mtime=0)
    (tmp_path / "a.txt.gz").write_bytes(packed)
    (tmp_path / "b.txt.gz").write_bytes(packed[:-9])
    (tmp_path / "c.txt.gz").write_bytes(b"not gzip at all")
    (tmp_path / "d.txt.gz").write_bytes(packed[:40] + b"\xff" * 9 + packed[49:])
    reasons = reasons_of(tmp_path)
    assert reasons == {"b.txt.gz": "truncated", "c.txt.gz": "damaged", "d.txt.gz": "damaged"}


@pytest.mark.slow
def test_a_gigabyte_on_one_line_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """The largest size of a process that reads ten times as much is the same."""
    code = (
        "import sys\n"
        "from groundup.data.reading import ReadingConfig, SourceConfig, read_source\n"
        "from groundup.runtime import peak_memory_bytes\n"
        "before = peak_memory_bytes()\n"
        "found = read_source(SourceConfig(path=sys.argv[1]), 's', ReadingConfig())\n"
        "n_bytes = sum(record.end - record.start for record in found)\n"
        "print(n_bytes, peak_memory_bytes() - before)\n"
    )
    path = tmp_path / "long.txt"
    block = (b"word" * 256 + b" ") * 1024
    grown = {}
    for n_blocks in (100, 1000):
        with path.open("wb") as file:
            for _ in range(n_blocks):
                file.write(block)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        n_bytes, grown[n_blocks] = map(int, done.stdout.split())
        assert n_bytes == n_blocks * len(block) == path.stat().st_size
    assert n_bytes > 1_000_000_000
    assert grown[1000] < 100e6
    assert grown[1000] < grown[100] + 20e6
