"""Parquet: row groups, columns, and what is damaged in them."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.data.records import NAME_A_COLUMN, Chat, Document, Refusal

from .samples import read, refusal_of, texts

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def test_parquet_is_read_row_group_by_row_group(tmp_path: Path) -> None:
    rows = [
        {"text": "one", "messages": None, "extra": 1, "license": "MIT"},
        {"text": None, "messages": [USER, ASSISTANT], "extra": 2, "license": None},
        {"text": None, "messages": None, "extra": 3, "license": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=2)
    document, chat, refusal = read(tmp_path)
    assert document == Document("one", "s/rows.parquet#0", "s", licence="MIT", path="rows.parquet")
    assert isinstance(chat, Chat)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/rows.parquet#2", "empty")


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"not parquet at all")
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "not_parquet"
    assert "cannot be read as Parquet after row 0" in refusal.detail

    pq.write_table(pa.table({"body": ["x" * 999]}), path)
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "columns_not_known"
    assert "columns found: body" in refusal.detail
    assert texts(tmp_path, column="body") == ["x" * 999]

    path.write_bytes(path.read_bytes()[:-40])
    assert refusal_of(tmp_path, column="body").reason == "truncated"
    path.write_bytes(b"")
    assert refusal_of(tmp_path).reason == "not_parquet"


def test_a_damaged_row_group_is_told_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {i} of the table" for i in range(400)]})
    pq.write_table(table, path, row_group_size=100, compression="zstd", use_dictionary=False)
    place = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place + 40 : place + 90] = b"\xff" * 50
    path.write_bytes(bytes(data))
    found = read(path)
    refusal = found.pop(200)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.parquet#200", "not_parquet")
    assert refusal.detail.startswith("100 rows, from row 200 on, cannot be read as Parquet: ")
    numbers = [*range(200), *range(300, 400)]
    assert [(row.id, row.text) for row in found if isinstance(row, Document)] == [
        (f"s/a.parquet#{n}", f"row {n} of the table") for n in numbers
    ]


@pytest.mark.parametrize("is_in_chat", [False, True])
def test_a_string_that_is_not_utf8_costs_its_row(tmp_path: Path, is_in_chat: bool) -> None:
    offsets = pa.py_buffer(struct.pack("<4i", 0, 2, 4, 6))
    strings = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"ab\xff\xfecd")])
    column = {"text": strings}
    if is_in_chat:
        roles = pa.array(["user", "assistant"] * 3)
        said = strings.take(pa.array([0, 0, 1, 0, 2, 2]))
        turns = pa.StructArray.from_arrays([roles, said], ["role", "content"])
        column = {"messages": pa.ListArray.from_arrays(pa.array([0, 2, 4, 6]), turns)}
    pq.write_table(pa.table(column), tmp_path / "a.parquet")
    first, refusal, third = read(tmp_path)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.parquet#1", "not_utf8")
    kind = Chat if is_in_chat else Document
    assert isinstance(first, kind)
    assert isinstance(third, kind)


def test_columns_that_are_not_there_or_twice(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["x"], "input": ["y"]}), tmp_path / "a.parquet")
    twice = pa.table([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "b.parquet")
    none, double = read(tmp_path)
    assert isinstance(none, Refusal)
    assert none.detail == (f"columns found: content, input; {NAME_A_COLUMN}")
    assert isinstance(double, Refusal)
    assert double.reason == "column_named_twice"


# A table of which some bytes were overwritten: asking about its columns ends the process.
_DEADLY = (
    "c-n<h%}T>S5T1=SRtXY?S+bBr4mRXaf1yRBm#MZ^tko36bBv)X(blxu;sf~v;>nvnNT0xGaFg^;6r98C>^Jj$GsE"
    "r~HMcQ?7OvG%L0ARQOBw)NdtunN`X6smc!hwg$n)r+jw-5V5gctcZ~VBetVsHzrAY5E=73aR!sW60yv}4|@P{ND7"
    ";NyHEJ_71)UJOW+<BM*)N+cE=>>yc4(g^XlR({A2ygu0-Va6?cZ4bOHkhc10;sx38K`iFzcT*L?3$hZe+`kBvjZw"
    "1oi2|OAI=F?*x<+>v+CpaNrQ+#+h5H7WV1{CmU1Ra{6*62EPqo#n1)8p=IO;=y09^1o3RxsHkVR6ChAkUMOC5}?Y"
    "9!FTqZh+gMFf-1el(bhG~@e#;p|Hl|iLiNx(#;LKE|2u<Knk!pplxNGD0XOJz6KKaBGSBe4m|Jx}JV{TOxBuhtBM"
    "noCp4G!KT=@uG*vpttUKI_q8(wfojn5Or_b_ts8vV{2nu<mIEr@477i#hLuD-<<7}cK"
)


def test_a_parquet_file_whose_columns_are_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deadly.parquet"
    path.write_bytes(zlib.decompress(base64.b85decode(_DEADLY)))
    assert refusal_of(path).reason == "not_parquet"
