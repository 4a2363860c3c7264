"""Encodings as they are found in files: faults in UTF-8, text of seven bits, short texts."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from groundup.data.reading.encoding import encoding_of, text_encoding
from groundup.data.records import Document, Refusal, Refused

from .samples import read, reasons_of, texts

JAPANESE = "昨日、私たちは店にパンを買いに行きました。\n"
BOOK = "Très bien. Élève à l'école, où il a mangé.\n" * 400


def blocks_of(data: bytes, n: int) -> list[bytes]:
    return [data[at : at + n] for at in range(0, len(data), n)]


@pytest.mark.parametrize("n", [1, 2, 7, 1 << 20])
def test_text_of_seven_bits_is_decoded(n: int) -> None:
    data = (("plain\n" + JAPANESE) * 2).encode("iso2022_jp")
    notes: Counter[str] = Counter()
    found = text_encoding(blocks_of(data, n), notes)
    assert data.decode(found.name) == ("plain\n" + JAPANESE) * 2
    assert notes == {"encoding iso2022_jp_ext": 1}


def test_damaged_text_of_seven_bits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a \x1b$B\x01\x02\x7f b")
    assert reasons_of(tmp_path) == {"a.txt": "not_utf8"}


@pytest.mark.parametrize("n", [1, 5, 1 << 20])
def test_a_fault_in_a_book_costs_one_character(n: int) -> None:
    own = "\ufffd of its own. "  # is no fault
    data = own.encode() + BOOK.encode()[:9000] + b"\xff" + BOOK.encode()[9000:]
    notes: Counter[str] = Counter()
    found = text_encoding(blocks_of(data, n), notes)
    assert found == ("utf-8", 0, "replace")
    assert notes == {"encoding utf-8 with faults": 1}
    with pytest.raises(Refused, match="most of it is, so it is damaged"):
        encoding_of([data], Counter())


def test_a_book_with_a_fault_is_read_and_one_with_many_is_refused(tmp_path: Path) -> None:
    data = BOOK.encode()
    (tmp_path / "a.txt").write_bytes(data[:9000] + b"\xff" + data[9000:])
    (tmp_path / "b.txt").write_bytes(data[:9000] + b"\xff" * 9 + data[9000:])
    document, refusal = read(tmp_path)
    assert isinstance(document, Document)
    assert document.text.replace("\ufffd", "") == BOOK
    assert document.text.count("\ufffd") == 1
    assert document.start is None
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/b.txt", "not_utf8")


def test_half_a_character_at_the_end_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Très bien, très très bien. É".encode()[:-1])
    assert texts(tmp_path) == ["Très bien, très très bien. "]


def test_short_text_of_windows_is_read(tmp_path: Path) -> None:
    text = "It’s a “nice” café in the old town. We went there often.\n"
    (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
    notes: Counter[str] = Counter()
    assert texts(tmp_path, notes=notes) == [text]
    assert notes == {"encoding cp1252": 1}


def test_what_comes_before_the_end_of_a_truncated_file_is_read(tmp_path: Path) -> None:
    lines = [f"Line {n} of a café, {n * n * 7919 % 10007}.\n" for n in range(50_000)]
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0)[:200_000])
    *documents, refusal = read(tmp_path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "truncated"
    text = "".join(document.text for document in documents if isinstance(document, Document))
    assert len(text) > 100_000
    assert "".join(lines).startswith(text)


def test_ukrainian_is_told_from_russian(tmp_path: Path) -> None:
    text = "Всі люди народжуються вільними і рівними у своїй гідності та правах. " * 9
    (tmp_path / "a.txt").write_bytes(text.encode("koi8_u"))
    assert texts(tmp_path) == [text]
