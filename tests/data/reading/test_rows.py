"""Rows, and JSON: every kind of row, and every kind that is none."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.reading import ReadingConfig
from groundup.data.reading.rows import jsonl_rows
from groundup.data.reading.streams import Content
from groundup.data.records import NAME_A_COLUMN, Chat, Document, Preference, Refusal

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
        ({"text": None, "title": "x"}, "empty", "text is null"),
        (
            {"body": "x"},
            "columns_not_known",
            NAME_A_COLUMN,
        ),
        ({"text": "a\0"}, "has_nul", "text holds a NUL character"),
        ({"text": "\ud800"}, "not_utf8", "text holds half a surrogate pair"),
        ({"messages": "Hi"}, "messages_not_a_list", "messages must be a list of messages, got str"),
        ({"messages": []}, "no_messages", "the conversation is empty"),
        ({"messages": ["Hi"]}, "message_without_role", "message 0 needs a role and a content"),
        ({"messages": [USER]}, "no_assistant_turn", "no assistant message"),
        ({"messages": [ASSISTANT, USER]}, "roles_out_of_order", "message 0 is of role 'assistant'"),
        ({"messages": [USER, USER, ASSISTANT]}, "roles_out_of_order", "message 1 is of role"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "unknown_role", "role 'poet'"),
        (
            {"messages": [USER, {"role": "assistant", "content": " "}]},
            "empty_message",
            "message 1 (assistant) has no content",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": 7}]},
            "not_a_string",
            "content of message 1 must be a string, got int",
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
        {"body": None},
    )
    one, two, three, four = read(path, column="body", licence="CC0-1.0")
    assert isinstance(one, Document)
    assert isinstance(two, Document)
    assert isinstance(three, Refusal)
    assert [(d.text, d.licence) for d in (one, two)] == [("one", "MIT"), ("two", "CC0-1.0")]
    assert three.reason == "columns_not_known"
    assert three.detail == (f"columns found: text; need body; {NAME_A_COLUMN}")
    assert isinstance(four, Refusal)
    assert (four.reason, four.detail) == ("empty", "body is null")


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
    assert reasons_of(tmp_path) == {"a.json": "empty", "b.json": "empty"}


@given(
    rows=st.lists(
        st.dictionaries(st.just("text"), st.text(min_size=1), min_size=1), min_size=1, max_size=5
    ),
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


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_byte_order_mark_says_the_encoding_of_json(tmp_path: Path, encoding: str) -> None:
    rows = "".join(
        json.dumps({"text": f"Ž {n} 😀"}, ensure_ascii=False) + "\n" for n in range(3000)
    )
    (tmp_path / "a.jsonl").write_bytes(("\ufeff" + rows).encode(encoding))
    (tmp_path / "b.json").write_bytes(("\ufeff" + rows).encode(encoding))
    found = read(tmp_path)
    assert [row.text for row in found if isinstance(row, Document)] == [
        f"Ž {n} 😀" for n in range(3000)
    ] * 2
    assert all(isinstance(row, Document) and row.start is None for row in found)
    notes: Counter[str] = Counter()
    content = Content("a", lambda: (tmp_path / "a.jsonl").open("rb"))
    assert len(list(jsonl_rows(content, ReadingConfig(), notes))) == 3000
    assert notes == {f"encoding {encoding}": 1}
    (tmp_path / "a.jsonl").write_bytes(("\ufeff" + rows).encode(encoding) + b"\x00")
    *_, refusal = read(tmp_path / "a.jsonl")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not_utf8"
