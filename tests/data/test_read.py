"""Reading sources: every kind of file, and every kind of file that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.data.read import SourceConfig, read_source, source_fingerprint
from groundup.data.records import Chat, Document, Preference, Record, Refusal
from groundup.runtime import DataError

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def read(path: Path, limit: int | None = None) -> list[Record | Refusal]:
    return list(read_source(SourceConfig(path=str(path)), "s", split_long_documents_bytes=limit))


def refusal_of(path: Path) -> Refusal:
    (refusal,) = read(path)
    assert isinstance(refusal, Refusal)
    return refusal


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/two.MD").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "c.jsonl").write_text('{"text": "three"}\n\n{"text": "four"}\n')
    (tmp_path / ".hidden.txt").write_text("not read")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/x.txt").write_text("not read")
    assert read(tmp_path) == [
        Document("one", "s/a.txt#0", "s"),
        Document("two", "s/b/two.MD#0", "s"),
        Document("three", "s/c.jsonl#0", "s"),
        Document("four", "s/c.jsonl#2", "s"),
    ]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    try:
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no one make symbolic links")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere.txt")
    assert [record.id for record in read(tmp_path)] == ["s/a.txt#0"]


def test_text_is_read_as_utf8_with_plain_newlines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfna\xc3\xafve\r\nline\rend\n")
    assert read(path) == [Document("naïve\nline\nend\n", "s/a.txt#0", "s")]


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"caf\xe9", "not_utf8", "byte 3 is not UTF-8; save the file as UTF-8"),
        (b"a\0b", "has_nul", "holds NUL bytes"),
        ("hi".encode("utf-16"), "has_nul", "or UTF-16"),
        (b"", "empty", "text is empty"),
        (b" \n\t", "empty", "text is empty"),
    ],
)
def test_a_text_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes, reason: str, detail: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    refusal = refusal_of(path)
    assert (refusal.id, refusal.stage, refusal.reason) == ("s/bad.txt", "read", reason)
    assert str(path) in refusal.detail
    assert detail in refusal.detail


def test_a_long_file_becomes_several_documents(tmp_path: Path) -> None:
    text = "".join(f"Paragraph {i} of the book.\n\n" for i in range(100))
    (tmp_path / "book.txt").write_text(text)
    records = read(tmp_path, limit=300)
    assert [record.id for record in records[:2]] == ["s/book.txt#0", "s/book.txt#1"]
    assert "".join(record.text for record in records if isinstance(record, Document)) == text

    rows = read(write_jsonl(tmp_path / "long.jsonl", {"text": "x"}, {"text": text}), limit=300)
    assert [row.id for row in rows[:3]] == [
        "s/long.jsonl#0",
        "s/long.jsonl#1.0",
        "s/long.jsonl#1.1",
    ]


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
    assert document == Document("a document", "s/rows.jsonl#0", "s")
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
        (
            {"messages": [USER, USER, ASSISTANT]},
            "roles_out_of_order",
            "message 1 is of role",
        ),
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


def test_parquet_is_read_row_group_by_row_group(tmp_path: Path) -> None:
    rows = [
        {"text": "one", "messages": None, "extra": 1},
        {"text": None, "messages": [USER, ASSISTANT], "extra": 2},
        {"text": None, "messages": None, "extra": 3},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=2)
    document, chat, refusal = read(tmp_path)
    assert document == Document("one", "s/rows.parquet#0", "s")
    assert isinstance(chat, Chat)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/rows.parquet#2", "columns_not_known")


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"not parquet at all")
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "not_parquet"
    assert "bad.parquet: cannot be read as Parquet after row 0" in refusal.detail

    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "bad.parquet")
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "columns_not_known"
    assert "columns found: body" in refusal.detail


def test_files_of_other_endings_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.pdf").write_bytes(b"%PDF")
    refusal, document = read(tmp_path)
    assert isinstance(document, Document)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/b.pdf", "ending_not_read")


def test_a_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source .*nowhere does not exist; check the path in data"):
        read(tmp_path / "nowhere")


def test_a_folder_without_readable_files_says_what_it_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs \.txt, \.md, \.jsonl, \.parquet; found no files"):
        read(tmp_path)
    for name in ("a.pdf", "b.pdf", "README"):
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"found 2 x \.pdf, 1 x no ending"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"found 1 x \.pdf"):
        read(tmp_path / "a.pdf")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "path is empty"),
        ({"path": "x", "weight": 0}, "weight=0.0 must be above 0"),
        ({"path": "x", "name": "a/b"}, "name='a/b' must hold no / # or"),
        ({"path": "x", "wieght": 1}, "wieght"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(**fields)


def test_the_fingerprint_follows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    sources = [SourceConfig(path=str(folder)), SourceConfig(path="demo")]
    first = source_fingerprint(sources, builtin=["demo"])
    assert source_fingerprint(sources, builtin=["demo"]) == first
    (folder / "notes.pdf").write_text("not read, so it changes nothing")
    assert source_fingerprint(sources, builtin=["demo"]) == first
    (folder / "a.txt").write_text("two")
    changed = source_fingerprint(sources, builtin=["demo"])
    (folder / "a.txt").rename(folder / "b.txt")
    renamed = source_fingerprint(sources, builtin=["demo"])
    assert len({first, changed, renamed}) == 3
