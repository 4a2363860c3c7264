"""Rows of JSON, of tables and of Parquet: every kind of row, and every kind that is none."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.records import Chat, Document, Preference, Refusal

from .samples import read, reasons_of, refusal_of, texts

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_become_what_their_columns_say(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "rows.jsonl",
        {"text": "a document", "url": "ignored"},
        {"messages": [{**USER, "name": "ignored"}, ASSISTANT]},
        {"messages": [{"role": "system", "content": ""}, USER, ASSISTANT], "text": None},
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
        {"prompt": [USER, ASSISTANT, USER], "chosen": "Yes", "rejected": "No"},
    )
    document, chat, with_system, pair, longer = read(path)
    assert document == Document(
        "a document", "s/rows.jsonl#0", "s", path="rows.jsonl", start=0, end=41
    )
    assert isinstance(chat, Chat)
    assert [(m.role, m.content) for m in chat.messages] == [("user", "Hi"), ("assistant", "Hello")]
    assert isinstance(with_system, Chat)
    assert with_system.messages[0].role == "system"
    assert isinstance(pair, Preference)
    assert [m.role for m in pair.prompt] == ["user"]
    assert (pair.chosen, pair.rejected) == ("Hello", "Go away")
    assert isinstance(longer, Preference)
    assert [m.role for m in longer.prompt] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"body": "x", "title": "y"}, "columns_not_known", "columns found: body, title; need text"),
        ({"prompt": "x", "chosen": "y"}, "columns_not_known", "columns found: chosen, prompt"),
        ([1, 2], "row_is_no_object", "a row must be an object, got list"),
        ({"text": 5}, "not_a_string", "text must be a string, got int"),
        ({"text": " "}, "empty", "text is empty"),
        ({"text": "a\0"}, "has_nul", "text holds a NUL character"),
        ({"text": "\ud800"}, "not_utf8", "text holds half a surrogate pair"),
        ({"messages": "Hi"}, "messages_not_a_list", "messages must be a list of messages, got str"),
        ({"messages": []}, "no_messages", "the conversation is empty"),
        ({"messages": ["Hi"]}, "message_without_role", "message 1 needs a role and a content"),
        ({"messages": [USER]}, "no_assistant_turn", "no assistant message"),
        ({"messages": [ASSISTANT, USER]}, "roles_out_of_order", "message 0 is of role 'assistant'"),
        ({"messages": [USER, USER, ASSISTANT]}, "roles_out_of_order", "message 1 is of role"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "unknown_role", "is of role 'bot'"),
        (
            {"messages": [USER, {"role": "assistant", "content": " "}]},
            "empty_message",
            "message 2 (assistant) has no content",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": 7}]},
            "not_a_string",
            "content of message 2 must be a string, got int",
        ),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "equal_sides", "are the same"),
        ({"prompt": "a", "chosen": "", "rejected": "b"}, "empty", "chosen is empty"),
        (
            {"prompt": [ASSISTANT], "chosen": "a", "rejected": "b"},
            "roles_out_of_order",
            "message 0 is of role 'assistant'",
        ),
        (
            {"prompt": [USER, ASSISTANT], "chosen": "a", "rejected": "b"},
            "roles_out_of_order",
            "the prompt ends with the assistant",
        ),
        (
            {"prompt": "a", "chosen": [ASSISTANT], "rejected": "b"},
            "not_a_string",
            "chosen must be a string, got list",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_told(
    tmp_path: Path, row: object, reason: str, detail: str
) -> None:
    refusal = refusal_of(write_jsonl(tmp_path / "rows.jsonl", row))
    assert (refusal.id, refusal.reason) == ("s/rows.jsonl#0", reason)
    assert detail in refusal.detail


def test_a_broken_line_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\n{"text": \n{"text": "\xff"}\n{"text": "four"}')
    one, broken, not_utf8, four = read(path)
    assert isinstance(one, Document)
    assert isinstance(four, Document)
    assert isinstance(broken, Refusal)
    assert (broken.id, broken.reason) == ("s/rows.jsonl#1", "not_json")
    assert broken.detail.startswith("line 2 is not JSON: ")
    assert isinstance(not_utf8, Refusal)
    assert (not_utf8.reason, not_utf8.detail) == ("not_utf8", "line 3 is not UTF-8")


def test_a_long_row_becomes_several_documents(tmp_path: Path) -> None:
    text = "".join(f"Paragraph {i} of the book.\n\n" for i in range(100))
    path = write_jsonl(tmp_path / "long.jsonl", {"text": "x"}, {"text": text})
    rows = read(path, piece_bytes=300)
    assert [row.id for row in rows[:3]] == [
        "s/long.jsonl#0",
        "s/long.jsonl#1.0",
        "s/long.jsonl#1.1",
    ]
    assert "".join(r.text for r in rows[1:] if isinstance(r, Document)) == text


def test_a_line_that_is_too_long_is_left_out_alone(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"text": "a"}, {"text": "b" * 5000}, {"text": "c"})
    one, refusal, three = read(path, max_document_bytes=1000)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.jsonl#1", "too_large")
    assert isinstance(three, Document)
    assert path.read_bytes()[three.start : three.end] == b'{"text": "c"}\n'
    assert isinstance(one, Document)


def test_a_named_column_holds_the_text_and_a_row_its_licence(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl",
        {"body": "one", "license": "MIT", "text": "not this"},
        {"body": "two", "licence": " "},
        {"text": "three"},
    )
    one, two, three = read(path, column="body", licence="CC0-1.0")
    assert isinstance(one, Document)
    assert isinstance(two, Document)
    assert isinstance(three, Refusal)
    assert [(d.text, d.licence) for d in (one, two)] == [("one", "MIT"), ("two", "CC0-1.0")]
    assert three.reason == "columns_not_known"
    assert three.detail == "columns found: text; need body"


def test_rows_before_a_truncation_are_kept(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"row {i} " + "x" * (i % 50)}) + "\n" for i in range(20000))
    packed = gzip.compress(lines.encode(), mtime=0)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    *documents, refusal = read(tmp_path)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.jsonl.gz", "truncated")
    assert 1000 < len(documents) < 20000
    assert all(isinstance(document, Document) for document in documents)


# --- .json ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "one"}, {"text": "two"}]',
        ' \n[ {"text":"one"}\n,\n{"text":"two"} ] \n',
        '{"text": "one"}\n{"text": "two"}\n',
        '{"text": "one"}{"text": "two"}',
    ],
)
def test_json_is_a_list_of_rows_or_rows_one_after_the_other(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert texts(tmp_path) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b'[{"text": "one"}', "truncated", "in the middle of its list, after row 1"),
        (b'[{"text": "one"}, {"tex', "not_json", "(row 1)"),
        (b'[{"text": "one"} {"text": "two"}]', "not_json", "no comma between two rows"),
        (b'[{"text": "one"}] more', "not_json", "goes on after the end"),
        (b'{"text": "one"} oops', "not_json", "(row 1)"),
        (b'[{"text": "one"},\xff', "not_utf8", "not UTF-8"),
        (b'{"text": "one"}' + b"[" * 100_000, "not_json", "recursion"),
    ],
)
def test_json_that_breaks_off_is_told(
    tmp_path: Path, content: bytes, reason: str, detail: str
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    *documents, refusal = read(tmp_path)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.json", reason)
    assert detail in refusal.detail
    assert len(documents) <= 1


def test_json_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(" \n")
    (tmp_path / "b.json").write_text("[]")
    assert reasons_of(tmp_path) == {"a.json": "empty"}


@given(
    rows=st.lists(st.dictionaries(st.just("text"), st.text(min_size=1), min_size=1), max_size=5),
    indent=st.sampled_from([None, 1]),
)
def test_a_list_is_read_as_json_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=indent))
    found = read(path)
    assert len(found) == len(rows)
    for record, row in zip(found, rows, strict=True):
        if isinstance(record, Document):
            assert record.text == row["text"].replace("\r\n", "\n").replace("\r", "\n")


# --- tables ---------------------------------------------------------------------------------------


def test_a_table_has_a_line_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'\xef\xbb\xbfid,text,license\n1,"one, ""two""\nthree",MIT\n\n2,four,\n3,five\n4,"six"x,y\n'
    )
    (tmp_path / "b.tsv").write_text("text\tlabel\nWords, words\tgood\n")
    one, four, five, six, words = read(tmp_path)
    assert isinstance(one, Document)
    assert isinstance(four, Document)
    assert (one.text, one.licence, one.id) == ('one, "two"\nthree', "MIT", "s/a.csv#0")
    assert (four.text, four.licence) == ("four", None)
    assert isinstance(five, Refusal)
    assert (five.id, five.reason) == ("s/a.csv#2", "row_of_other_length")
    assert five.detail == "line 6 has 2 fields; needs 3"
    assert isinstance(six, Refusal)
    assert (six.id, six.reason) == ("s/a.csv#3", "not_csv")
    assert isinstance(words, Document)
    assert words.text == "Words, words"


def test_a_table_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,body\nx,Words\n")
    refusal = refusal_of(tmp_path)
    assert (refusal.id, refusal.reason) == ("s/a.csv", "columns_not_known")
    assert "columns found: label, body; name the one that holds the text" in refusal.detail
    assert texts(tmp_path, column="body") == ["Words"]


def test_a_table_may_be_in_another_encoding(tmp_path: Path) -> None:
    rows = "text\n" + "Les élèves étaient à l'école où ils ont mangé des gâteaux.\n" * 20
    (tmp_path / "a.csv").write_bytes(rows.encode("cp1252"))
    assert set(texts(tmp_path)) == {"Les élèves étaient à l'école où ils ont mangé des gâteaux."}


@given(
    rows=st.lists(
        st.tuples(st.text("ab,\"\n é'"), st.text('ab\t"\n', min_size=1)), min_size=1, max_size=6
    ),
    ending=st.sampled_from([".csv", ".tsv"]),
)
def test_tables_are_read_as_pyarrow_reads_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], ending: str
) -> None:
    path = tmp_path_factory.mktemp("table") / f"a{ending}"
    delimiter = "," if ending == ".csv" else "\t"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([("label", "text"), *rows])
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"text": pa.string()}),
    )
    expected = [text for text in table["text"].to_pylist() if text.strip()]
    assert [record.text for record in read(path) if isinstance(record, Document)] == expected


# --- Parquet --------------------------------------------------------------------------------------


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
    assert (refusal.id, refusal.reason) == ("s/rows.parquet#2", "columns_not_known")


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


def test_a_damaged_row_group_leaves_those_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {i} of the table" for i in range(400)]})
    pq.write_table(table, path, row_group_size=100, compression="zstd", use_dictionary=False)
    place = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place + 40 : place + 90] = b"\xff" * 50
    path.write_bytes(bytes(data))
    *documents, refusal = read(path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not_parquet"
    assert "after row 200" in refusal.detail
    assert len(documents) == 200


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
