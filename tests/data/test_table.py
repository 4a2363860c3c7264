"""Tables: bytes follow from rows alone, and rows come back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data import table
from groundup.data.records import Document
from groundup.data.table import (
    DOCUMENT_SCHEMA,
    FilesWriter,
    TableWriter,
    document_row,
    documents_table,
    n_rows_of,
    removed_row,
    rows_of,
    tables_of,
)
from groundup.runtime import DataError

NULLS = dict.fromkeys(DOCUMENT_SCHEMA.names)
ROWS = st.lists(st.text(max_size=30).filter(str.isprintable), max_size=60)


@settings(max_examples=25, deadline=None)
@given(texts=ROWS, cuts=st.lists(st.integers(0, 60), max_size=4), by_row=st.booleans())
def test_the_same_rows_give_the_same_bytes_however_they_are_handed_over(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cuts: list[int], by_row: bool
) -> None:
    folder = tmp_path_factory.mktemp("table")
    rows = [{"id": f"a#{n}", "source": "a", "text": text} for n, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "ROW_GROUP_BYTES", 100)
        patch.setattr(table, "_ROWS_AT_A_TIME", 7)
        with TableWriter(folder / "rows.parquet") as writer:
            for row in rows:
                writer.add(row)
        with TableWriter(folder / "tables.parquet") as writer:
            places = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
            for number, (begin, end) in enumerate(zip(places, places[1:], strict=False)):
                if by_row and number % 2:
                    for row in rows[begin:end]:
                        writer.add(row)
                else:
                    writer.add_table(documents_table(rows[begin:end]))
    assert (folder / "rows.parquet").read_bytes() == (folder / "tables.parquet").read_bytes()
    assert list(rows_of(folder / "rows.parquet")) == [{**NULLS, **row} for row in rows]
    assert n_rows_of(folder / "rows.parquet") == len(rows) == writer.n_rows
    assert all(group.num_rows <= 7 for group in tables_of(folder / "rows.parquet"))


def test_a_row_group_holds_about_as_much_as_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "ROW_GROUP_BYTES", 1000)
    with TableWriter(tmp_path / "a.parquet") as writer:
        for n in range(100):
            writer.add({"id": f"{n:010d}", "source": "a" * 10, "text": "é" * 40})
    groups = [group.num_rows for group in tables_of(tmp_path / "a.parquet")]
    assert groups == [10] * 10
    assert writer.n_bytes == 100 * 100


def test_files_end_when_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FILE_BYTES", 50)
    with FilesWriter(tmp_path, "documents") as writer:
        names = [writer.add({"id": str(n), "source": "", "text": "x" * 24}).name for n in range(5)]
    assert names == [f"documents-0000{n}.parquet" for n in (0, 0, 1, 1, 2)]
    assert [n_rows_of(path) for path in writer.paths] == [2, 2, 1]
    with FilesWriter(tmp_path / "none", "documents"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_document_comes_back_with_all_it_had(tmp_path: Path) -> None:
    document = Document("Hi.", "a/b.txt#0", "a", licence="CC0", path="b.txt", start=3, end=6)
    with TableWriter(tmp_path / "a.parquet") as writer:
        writer.add(document_row(document))
    [row] = rows_of(tmp_path / "a.parquet")
    assert Document(**row) == document


def test_what_was_removed_can_be_read() -> None:
    row = removed_row(
        {"id": "a#0", "source": "a", "text": "x" * 900}, "clean", "too_short", score=0.5, detail="d"
    )
    assert (len(row["text"]), row["score"], row["kept_id"]) == (500, 0.5, None)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "a.parquet") as writer:
        writer.add({"id": "a", "source": "a", "text": "text"})
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        list(rows_of(tmp_path / "a.parquet"))
