import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.data.decontaminate import (
    BenchmarkConfig,
    DecontaminationConfig,
    benchmark_hashes,
    check_benchmarks,
    items_of,
)
from groundup.data.decontaminate.shapes import texts_of_row
from groundup.runtime import DataError
from tests.data.dedup.shards import DATA


def write_lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"question": "Q", "answer": "A"}, ("Q A", "Q")),
        ({"query": "Q", "choices": ["a", "b"], "gold": 1}, ("Q a", "Q b", "Q")),
        ({"question": "Q", "choices": {"text": ["a"], "label": ["b"]}}, ("Q a", "Q b", "Q")),
        ({"passage": "P", "question": "Q", "answer": True}, ("P", "Q")),
        ({"sentence_good": "S", "sentence_bad": "T", "field": "syntax"}, ("S", "T")),
        ({"context": "2+2=", "continuation": "4"}, ("2+2= 4", "2+2=")),
        ({"question_id": 1, "category": "c", "turns": ["a", "b"]}, ("a", "b")),
        ({"question_id": 1, "choices": [{"index": 0, "turns": ["a", "b"]}]}, ("a", "b")),
        (
            {"Question": "Q", "A": "a", "B": "b", "C": "c", "D": "d"},
            ("Q a", "Q b", "Q c", "Q d", "Q"),
        ),
        ({"text": "T", "other": 3}, ("T",)),
        ({"prompt": "", "canonical_solution": None}, ()),
    ],
)
def test_known_shapes(row: dict[str, object], texts: tuple[str, ...]) -> None:
    assert texts_of_row(row) == texts


def test_a_file_is_a_benchmark_and_a_folder_holds_several(tmp_path: Path) -> None:
    write_lines(tmp_path / "sets/a/one.jsonl", {"text": "x"}, {"text": "y"})
    write_lines(tmp_path / "sets/two.jsonl", {"text": "z"})
    items = list(items_of(BenchmarkConfig(path=tmp_path / "sets")))
    assert [(item.benchmark, item.number, item.texts) for item in items] == [
        ("a/one", 0, ("x",)),
        ("a/one", 1, ("y",)),
        ("two", 0, ("z",)),
    ]
    [item] = items_of(BenchmarkConfig(path=tmp_path / "sets/two.jsonl", name="mine"))
    assert item.benchmark == "mine"
    [item] = items_of(BenchmarkConfig(path=tmp_path / "sets/two.jsonl", fields=("text", "text")))
    assert item.texts == ("z z",)


Rows = list[dict[str, Any]]
SUMS: Rows = [
    {"question": 'How many plums, "ripe" ones,\nare left of 9?', "answer": "7 - 2 = 5"},
    {"question": "Wie viele Äpfel hat Özlem — zwölf?", "answer": "12"},
]


def as_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_table(rows: Rows, delimiter: str = ",") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=1)
    return file.getvalue()


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("sums.jsonl", as_lines),
        ("sums.ndjson", as_lines),
        ("sums.jsonl.gz", lambda rows: gzip.compress(as_lines(rows))),
        ("sums.jsonl.zst", lambda rows: zst(as_lines(rows))),
        ("sums.json", lambda rows: json.dumps(rows).encode()),
        ("sums.csv", as_table),
        ("sums.csv.gz", lambda rows: gzip.compress(as_table(rows))),
        ("sums.CSV", lambda rows: b"\xef\xbb\xbf" + as_table(rows)),
        ("sums.csv", lambda rows: as_table([{"": n, **row} for n, row in enumerate(rows)])),
        ("sums.tsv", lambda rows: as_table(rows, "\t")),
        ("sums.parquet", as_parquet),
        ("sums.parquet.gz", lambda rows: gzip.compress(as_parquet(rows))),
    ],
)
def test_whatever_keeps_the_rows_the_items_are_the_same(
    tmp_path: Path, name: str, written: Callable[[Rows], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(written(SUMS))
    items = list(items_of(BenchmarkConfig(path=path)))
    assert [(item.benchmark, item.number) for item in items] == [("sums", 0), ("sums", 1)]
    for item, row in zip(items, SUMS, strict=True):
        assert item.texts == (f"{row['question']} {row['answer']}", row["question"])
    [first, _] = items_of(BenchmarkConfig(path=path, fields=("answer",)))
    assert first.texts == ("7 - 2 = 5",)


ASKED = [
    ("Which of these is a planet?", ["Venus", "Vulcan", "Vega", "Vesta"], "A"),
    ("How many are two, and two?", ["3", "4", "5", "4"], "B"),
    ('Who said "ay"?', ["1", "1", "1", "2"], "D"),
]


def test_mmlu_is_read_in_each_form_that_it_is_handed_out_in(tmp_path: Path) -> None:
    hub: Rows = [
        {"question": q, "subject": "sky", "choices": choices, "answer": "ABCD".index(answer)}
        for q, choices, answer in ASKED
    ]
    table: Rows = [
        {"Question": q, **dict(zip("ABCD", choices, strict=True)), "Answer": answer}
        for q, choices, answer in ASKED
    ]
    (tmp_path / "hub.parquet").write_bytes(as_parquet(hub))
    (tmp_path / "named.csv").write_bytes(as_table(table))
    (tmp_path / "bare.csv").write_bytes(as_table(table).split(b"\r\n", 1)[1])
    for name in ("hub.parquet", "named.csv", "bare.csv"):
        items = list(items_of(BenchmarkConfig(path=tmp_path / name)))
        assert [item.texts for item in items] == [
            (*(f"{q} {choice}" for choice in dict.fromkeys(choices)), q) for q, choices, _ in ASKED
        ]


def test_what_lies_beside_the_items_of_a_folder_is_passed_over(tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE", "labels.lst", ".cache/old.jsonl", "dataset_infos.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    for name in ("main/test.parquet", "socratic/test.parquet", "v1.2/train.parquet"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(as_parquet(SUMS))
    write_lines(tmp_path / "main/test.jsonl", {"text": "x"})
    config = DecontaminationConfig(benchmarks=[BenchmarkConfig(path=tmp_path, name="gsm8k")])
    check_benchmarks(config)
    hashes = benchmark_hashes(config)
    assert list(hashes) == [
        "gsm8k/main/test.jsonl",
        "gsm8k/main/test.parquet",
        "gsm8k/socratic/test",
        "gsm8k/v1.2/train",
    ]
    assert hashes["gsm8k/socratic/test"] == hashes["gsm8k/v1.2/train"]
    assert len(set(hashes.values())) == 2


def test_halves_of_surrogate_pairs_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "half \\ud83d a pair"}\n')
    [item] = items_of(BenchmarkConfig(path=tmp_path / "a.jsonl"))
    assert item.texts == ("half \\ud83d a pair",)


def message(path: Path, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        list(items_of(BenchmarkConfig(path=path, **given)))
    return str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    needs = "needs .jsonl, .json, .csv, .tsv or .parquet, any of them also as .gz"
    assert f"empty holds no items: {needs}" in message(tmp_path / "empty")
    assert "nothing is no file and no folder; name a file" in message(tmp_path / "nothing")
    path = write_lines(tmp_path / "a.jsonl", {"text": "x"}, {"foo": 1, "bar": "y"})
    expected = "a.jsonl:2: the fields bar, foo are of no known shape; say which hold the text"
    assert expected in message(path)
    assert "a.jsonl:1: there is no field 'bar'; fields found: text" in message(path, fields=["bar"])
    assert "b.jsonl:1 is a list" in message(write_lines(tmp_path / "b.jsonl", [1]))


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jsonl", b'{"text": "\xff"}\n', "line 1 is not UTF-8"),
        ("a.jsonl", b"\n", "holds no rows; leave it out"),
        ("a.json", b'{"data": [{"text": "x"}]}', "row 0: the fields data are of no known shape"),
        ("a.csv", b"", "holds no rows"),
        ("a.csv", b"text\n", "holds no rows"),
        ("a.csv", b"foo,bar\n1,2\n", "row 0: the fields bar, foo are of no known shape"),
        ("a.csv", b"\x00\x01\x02", "holds NUL bytes"),
        ("a.parquet", b"text", "cannot be read as Parquet"),
        ("a.parquet", as_parquet(SUMS)[:-9], "cannot be read as Parquet after row 0"),
        ("a.jsonl.gz", b"no gzip", "cannot be unpacked"),
        ("a.txt", b"x", "a.txt ends in .txt, which is not read; save it as .jsonl, .json, .csv"),
        ("sets/a.zip", b"PK", "a.zip ends in .zip, which is not read"),
        ("sets/a.arrow", b"ARROW1", "a.arrow ends in .arrow, which is not read"),
        ("sets/a.md", b"x", "sets holds no items: needs"),
    ],
)
def test_bad_files_are_told_with_what_is_wrong(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    place = path.parent if name.startswith("sets/") else path
    assert told in message(place)
    assert str(place) in message(place)
    with pytest.raises(DataError) as caught:  # before any work
        check_benchmarks(DecontaminationConfig(benchmarks=[BenchmarkConfig(path=place)]))
    assert str(caught.value) == message(place)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text"\n', "line 2 is not JSON"),
        ("a.json", b'[{"text": "x"}, {"text": ]', "is not JSON"),
        ("a.csv", b"text,n\nx,1\ny\n", "line 3 has 1 fields; needs 2; mend it"),
        ("a.jsonl.gz", gzip.compress(as_lines(SUMS * 400))[:-20], "ends in the middle"),
    ],
)
def test_what_is_wrong_behind_the_first_row_is_told_when_it_is_reached(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    check_benchmarks(DecontaminationConfig(benchmarks=[BenchmarkConfig(path=tmp_path / name)]))
    assert told in message(tmp_path / name)


def test_two_sets_of_one_name_are_told_before_they_are_read(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "one/test.jsonl", {"text": "x"})
    two = tmp_path / "two/test.parquet"
    two.parent.mkdir()
    two.write_bytes(as_parquet(SUMS))
    config = DecontaminationConfig(
        benchmarks=[BenchmarkConfig(path=one), BenchmarkConfig(path=two)]
    )
    for ask in (check_benchmarks, benchmark_hashes):
        with pytest.raises(DataError, match="two evaluation sets are called 'test'"):
            ask(config)


def test_the_evaluation_sets_at_hand_are_read() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no evaluation sets at {DATA}")
    counts: dict[str, int] = {}
    for name in ("gsm8k", "eval_piqa", "eval_blimp", "eval_llm_foundry", "eval_mt_bench"):
        for item in items_of(BenchmarkConfig(path=DATA / name, name=name)):
            assert item.texts
            counts[item.benchmark] = counts.get(item.benchmark, 0) + 1
    assert len(counts) == 22
    assert counts["gsm8k/train"] == 7473
    assert counts["eval_llm_foundry/world_knowledge/arc_easy"] == 2376
