"""CSV and TSV: names, delimiters, and quotes that close, that do not, or that are none."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.records import NAME_A_COLUMN, Document, Refusal

from .samples import read, refusal_of, texts


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


# --- names and delimiters -------------------------------------------------------------------------


def test_a_line_of_names_whose_quote_does_not_close_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,"text\n1,hello\n')
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "not_csv"
    assert refusal.detail.startswith("the line of names cannot be divided: ")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_taken_if_it_gives_the_column(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", " body"], ["1", "hello, world"], ["2", f"a{delimiter}b"]]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    notes: Counter[str] = Counter()
    assert texts(tmp_path, column="body", notes=notes) == ["hello, world", f"a{delimiter}b"]
    assert notes == {f"delimiter {delimiter!r}": 1}
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "columns_not_known"
    assert f"fields seem to be divided by {delimiter!r}, not by ','" in refusal.detail
    assert refusal.detail.endswith(
        "name the one that holds the text: --column NAME, or column: of the source"
    )


def test_the_file_may_say_its_delimiter_and_be_in_utf_16(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\n\nid;text\n1;one\n")
    (tmp_path / "b.csv").write_text("id\ttext\n1\twörld\n", encoding="utf-16")
    (tmp_path / "c.csv").write_text('id, text\n1, "hello, there"\n')
    assert texts(tmp_path) == ["one", "wörld", "hello, there"]


def test_no_name_is_recommended_that_may_be_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,hello world\n2,other text\n")
    told = f"columns found: 1, hello world; {NAME_A_COLUMN}"
    assert refusal_of(tmp_path).detail == told


def test_the_number_of_a_column_stands_for_a_name_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('ham\t"Hi\nspam\t2\n')
    assert texts(tmp_path, column="2") == ['"Hi', "2"]
    (tmp_path / "a.tsv").write_text("ham;one\nspam;two\n")
    assert texts(tmp_path, column="2") == ["one", "two"]
    (tmp_path / "a.tsv").write_text("id\t2\nspam\ttwo\n")  # a name all the same
    assert texts(tmp_path, column="2") == ["two"]
    assert refusal_of(tmp_path, column="3").detail.startswith("columns found: id, 2; need 3")


def test_two_columns_of_the_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text,id,id\nfirst,second,1,1\n")
    refusal = refusal_of(tmp_path)
    assert (refusal.reason, refusal.detail) == (
        "column_named_twice",
        "2 columns are named text; rename all but one",
    )
    (tmp_path / "a.csv").write_text("text,id,id\nfirst,1,1\n")
    assert texts(tmp_path) == ["first"]


# --- quotes ---------------------------------------------------------------------------------------


def told_of(path: Path) -> list[str]:
    """The texts, and the reasons and details where there is none."""
    return [
        row.text if isinstance(row, Document) else f"{row.reason}: {row.detail}"
        for row in read(path)
        if isinstance(row, Document | Refusal)
    ]


def test_an_unclosed_quote_costs_one_row(tmp_path: Path) -> None:
    rows = [f"{n},row {n}\n" for n in range(3, 50)]
    (tmp_path / "a.csv").write_text('id,text\n1,fine\n2,"never closed\n' + "".join(rows))
    first, refusal, *others = told_of(tmp_path)
    assert first == "fine"
    assert refusal == (
        "not_csv: line 3 cannot be divided into fields: a quote is not closed (read up to line 50, "
        "and from the next line again)"
    )
    assert others == [f"row {n}" for n in range(3, 50)]


def test_a_later_quote_does_not_hide_the_rows_between(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"open\n2,two\n3,"a, b\nc"\n4,four\n')
    refusal, *others = told_of(path)
    assert refusal.startswith("not_csv: line 2 cannot be divided into fields: ")
    assert others == ["two", "a, b\nc", "four"]


def test_prose_behind_a_quote_is_not_taken_for_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,fine\n2,"One line\nanother, and one\nthe third\nfourth\n')
    fine, refusal = told_of(path)
    assert fine == "fine"
    told = "not_csv: lines 3 to 6 cannot be divided into fields: a quote is not closed"
    assert refusal == told


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (  # closed four rows later: not one field but four rows
            '1\tone\n2\t"So it goes\n3\tthree\n4\tfour\n5\tend "\n6\tsix\n',
            ["one", '"So it goes', "three", "four", 'end "', "six"],
        ),
        ('1\t"never closed\n2\ttwo\n', ['"never closed', "two"]),
        ('1\t"a" and "b"\n2\t""\n3\t"', ['"a" and "b"', "empty: text is empty", '"']),
        ('1\t"a ""word""\tb"\n2\ttwo\n', ['a "word"\tb', "two"]),  # as Excel writes it
        ('1\t"one\nand more"\n2\ttwo\n', ["one\nand more", "two"]),
        ('1\t"def f():\n' + "\tx = 1\n" * 20 + '"\n', ["def f():\n" + "\tx = 1\n" * 20]),
        (
            '1\t"open\n' + "".join(f"{n}\trow {n}\n" for n in range(30)) + '9\tmore"\n',
            ['"open', *(f"row {n}" for n in range(30)), 'more"'],
        ),
        ('1\t2\t"x\n2\ttwo\n', ["row_of_other_length: line 2 has 3 fields; needs 2", "two"]),
    ],
)
def test_a_quote_in_tsv_is_one_only_if_it_makes_sense(
    tmp_path: Path, rows: str, expected: list[str]
) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n" + rows)
    assert told_of(tmp_path) == expected


@given(rows=st.lists(st.tuples(st.text("ab\"' ", min_size=1), st.text('ab"é', min_size=1))))
def test_tsv_that_quotes_nothing_comes_through(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """Line by line, but for fields that stand in quotes."""
    path = tmp_path_factory.mktemp("table") / "a.tsv"
    lines = "".join(f"{label}\t{text}\n" for label, text in rows)
    path.write_text("label\ttext\n" + lines, encoding="utf-8")
    found = [record for record in read(path) if isinstance(record, Document)]
    plain = [text for label, text in rows if '"' not in (label[0], text[0])]
    assert [text for text in plain if text.strip()] == [
        record.text for record in found if '"' not in _fields(rows, record)
    ]
    assert len(found) >= len(plain)


def _fields(rows: list[tuple[str, str]], record: Document) -> tuple[str, str]:
    label, text = rows[int(record.id.rpartition("#")[2])]
    return label[0], text[0]


def test_a_line_that_is_too_long_is_left_out_within_quotes_too(tmp_path: Path) -> None:
    long = "b" * 5000
    (tmp_path / "a.csv").write_text(f'id,text\n1,a\n2,"open\n{long}\n3,c\n4,{long}\n5,e\n')
    found = read(tmp_path, max_document_bytes=1000)
    reasons = [row.reason if isinstance(row, Refusal) else row.id for row in found]
    assert reasons == ["s/a.csv#0", "not_csv", "too_large", "s/a.csv#3", "too_large", "s/a.csv#5"]


def test_a_table_that_is_cut_short_is_read_up_to_the_cut(tmp_path: Path) -> None:
    rows = "".join(f"{n},élève {n * n * 7919 % 10007}\n" for n in range(20_000))
    packed = gzip.compress(("id,text\n" + rows).encode(), mtime=0)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(packed[: len(packed) // 2])
    *documents, refusal = read(path)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.csv.gz", "truncated")
    assert 8_000 < len(documents) < 12_000
    assert all(isinstance(row, Document) for row in documents)


def test_a_number_leaves_alone_what_has_names(tmp_path: Path) -> None:
    (tmp_path / "bare.tsv").write_text("ham\tOk lar\nspam\tWin now\n")
    (tmp_path / "named.csv").write_text("id,text\n1,One\n2,Two\n")
    (tmp_path / "rows.jsonl").write_text('{"text": "Three"}\n')
    pq.write_table(pa.table({"id": [1], "text": ["Four"]}), tmp_path / "t.parquet")
    found = [one.text for one in read(tmp_path, column=2) if isinstance(one, Document)]
    assert sorted(found) == ["Four", "Ok lar", "One", "Three", "Two", "Win now"]
