import json
from pathlib import Path

import pytest

from groundup.data.decontaminate import BenchmarkConfig, items_of
from groundup.data.decontaminate.benchmarks import texts_of_row
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


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    def message(path: Path, **given: object) -> str:
        with pytest.raises(DataError) as caught:
            list(items_of(BenchmarkConfig(path=path, **given)))  # type: ignore[arg-type]
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    assert "empty has no .jsonl file; name the file" in message(tmp_path / "empty")
    assert "nothing is no file and no folder" in message(tmp_path / "nothing")
    path = write_lines(tmp_path / "a.jsonl", {"text": "x"}, {"foo": 1, "bar": "y"})
    expected = "a.jsonl:2: the fields bar, foo are of no known shape; say which hold the text"
    assert expected in message(path)
    assert "a.jsonl:1: there is no field 'bar'; fields found: text" in message(path, fields=["bar"])
    assert "b.jsonl:1 is a list" in message(write_lines(tmp_path / "b.jsonl", [1]))
    path.write_text('{"text": "x"}\n{"text"\n', encoding="utf-8")
    assert "a.jsonl:2 is no JSON" in message(path)
    path.write_bytes(b'{"text": "\xff"}\n')
    assert "a.jsonl is not UTF-8" in message(path)


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
