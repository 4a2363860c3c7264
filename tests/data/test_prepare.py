"""Preparing: duplicates, the split, counts, what was removed, and reading it all back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data import table
from groundup.data.prepare import DataConfig, prepare
from groundup.data.prepared import read_chats, read_preferences, read_texts
from groundup.data.reading import SourceConfig
from groundup.data.records import Chat, Document, Record
from groundup.data.split import SPLITS
from groundup.runtime import DataError, to_dict
from groundup.tokenizer.chat import Message

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare"


def write_jsonl(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def texts_of(folder: Path, source: str | None = None) -> dict[str, list[str]]:
    return {split: list(read_texts(folder, split, source)) for split in SPLITS}


def removed_rows(folder: Path) -> list[dict[str, str]]:
    files = sorted((folder / "removed").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def run(out: Path, *sources: Path | str, **fields: Any) -> dict[str, Any]:
    return prepare(DataConfig(sources=[str(source) for source in sources], **fields), out)


def chat(i: int) -> dict[str, Any]:
    ask = {"role": "user", "content": f"What is {i}?"}
    return {"messages": [ask, {"role": "assistant", "content": f"{i}, naïvely."}]}


def test_everything_comes_back(tmp_path: Path) -> None:
    texts = [f"Text number {i}.\n" for i in range(200)]
    source = write_jsonl(
        tmp_path / "mixed.jsonl",
        *[{"text": text} for text in texts],
        *[chat(i) for i in range(100)],
        *[{"prompt": f"p{i}", "chosen": "good", "rejected": "bad"} for i in range(50)],
    )
    counts = run(tmp_path / "out", source, heldout_fraction=0.1)

    split = texts_of(tmp_path / "out")
    assert sorted(split["train"] + split["heldout"]) == sorted(texts)
    assert 5 < len(split["heldout"]) < 40
    chats = [c for s in SPLITS for c in read_chats(tmp_path / "out", s)]
    assert sorted(c.messages[0].content for c in chats) == sorted(
        f"What is {i}?" for i in range(100)
    )
    assert chats[0].messages[1].content.endswith("naïvely.")
    pairs = [p for s in SPLITS for p in read_preferences(tmp_path / "out", s)]
    assert sorted(p.prompt[0].content for p in pairs) == sorted(f"p{i}" for i in range(50))
    assert {(p.chosen, p.rejected, p.source) for p in pairs} == {("good", "bad", "mixed")}

    assert counts["documents"]["heldout"]["n"] == len(split["heldout"])
    n_bytes = sum(counts["documents"][s]["n_bytes"] for s in SPLITS)
    assert n_bytes == sum(len(text.encode()) for text in texts)
    assert counts["chats"]["train"]["n"] + counts["chats"]["heldout"]["n"] == 100
    assert counts["sources"]["mixed"]["preferences"] == counts["preferences"]
    assert counts["removed"] == {}
    written = json.loads((tmp_path / "out/counts.json").read_text())
    assert {**written, "fingerprint": counts["fingerprint"]} == counts


def test_duplicates_are_dropped_and_name_what_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_jsonl(folder / "a.jsonl", {"text": "one"}, {"text": "two"}, {"text": "one"}, chat(1))
    write_jsonl(folder / "b.jsonl", {"text": "two"}, {"text": "Two!"}, chat(1))
    counts = run(tmp_path / "out", folder, dedup={"near": None})

    split = texts_of(tmp_path / "out")
    assert sorted(split["train"] + split["heldout"]) == ["Two!", "one", "two"]
    rows = [
        (r["id"], r["stage"], r["reason"], r["kept_id"]) for r in removed_rows(tmp_path / "out")
    ]
    assert sorted(rows) == [
        ("in/a.jsonl#2", "dedup_exact", "exact_duplicate", "in/a.jsonl#0"),
        ("in/b.jsonl#0", "dedup_exact", "exact_duplicate", "in/a.jsonl#1"),
        ("in/b.jsonl#2", "dedup_exact", "exact_duplicate", "in/a.jsonl#3"),
    ]
    assert counts["removed"]["exact_duplicate"]["n"] == 3

    near = run(tmp_path / "near", folder)
    assert near["removed"]["near_duplicate"]["n"] == 1
    assert sum(near["documents"][s]["n"] for s in SPLITS) == 2
    kept = run(tmp_path / "kept", folder, dedup={"exact": False, "near": None})
    assert sum(kept["documents"][s]["n"] for s in SPLITS) == 5


@settings(max_examples=4, deadline=None)
@given(extra=st.integers(1, 80), first=st.booleans())
def test_other_documents_never_move_a_document(
    tmp_path_factory: pytest.TempPathFactory, extra: int, first: bool
) -> None:
    folder = tmp_path_factory.mktemp("split")
    rows = [{"text": f"text {i}"} for i in range(60)]
    others = [{"text": f"other {i}"} for i in range(extra)]
    run(folder / "one", write_jsonl(folder / "a.jsonl", *rows), heldout_fraction=0.2)
    joined = others + rows if first else rows + others
    run(folder / "two", write_jsonl(folder / "b.jsonl", *joined), heldout_fraction=0.2)
    before, after = texts_of(folder / "one"), texts_of(folder / "two")
    assert set(before["heldout"]) <= set(after["heldout"])
    assert set(before["train"]) <= set(after["train"])


def test_a_prompt_is_on_one_side_only(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i % 20}", "chosen": f"good {i}", "rejected": "bad"} for i in range(200)]
    run(tmp_path / "out", write_jsonl(tmp_path / "p.jsonl", *rows), heldout_fraction=0.3)
    sides = [{p.prompt[0].content for p in read_preferences(tmp_path / "out", s)} for s in SPLITS]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_the_first_full_messages_of_each_reason_are_kept(tmp_path: Path) -> None:
    bad = [{"messages": [{"role": "user", "content": str(i)}]} for i in range(5)]
    source = write_jsonl(tmp_path / "bad.jsonl", *bad, {"text": "one"}, {"text": "two"})
    lines: list[str] = []

    class Listens:
        def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            if label.startswith("read"):
                lines.append(f"{label} {done}/{total}")

        def message(self, text: str) -> None:
            lines.append(text)

    config = DataConfig(sources=[str(source)])
    entry = prepare(config, tmp_path / "out", listener=Listens())["removed"]["no_assistant_turn"]
    assert entry["n"] == 5
    assert [example.split(":")[0] for example in entry["examples"]] == [
        f"bad/bad.jsonl#{i}" for i in range(3)
    ]
    assert "no assistant message" in entry["examples"][0]
    assert lines[0] == "read bad 1/1"
    assert lines[1].startswith("left out 5 for no_assistant_turn, such as bad/bad.jsonl#0: ")


def test_builtin_sources_come_from_the_caller(tmp_path: Path) -> None:
    def world() -> Iterator[Record]:
        for i in range(10):
            yield Document(f"Story {i}.", f"world/{i}", "world")
        turns = (Message("user", "Hi"), Message("assistant", "Hello"))
        yield Chat(turns, "world/chat", "world")

    (tmp_path / "mine.txt").write_text("My own text.")
    config = DataConfig(sources=["demo", {"path": str(tmp_path / "mine.txt"), "weight": 2}])
    counts = prepare(config, tmp_path / "out", builtin={"demo": world})
    assert counts["sources"]["mine"]["weight"] == 2.0
    mine = texts_of(tmp_path / "out", source="mine")
    assert mine["train"] + mine["heldout"] == ["My own text."]
    assert sum(counts["sources"]["demo"]["documents"][s]["n"] for s in SPLITS) == 10
    assert [c.source for c in read_chats(tmp_path / "out", "train", source="demo")] == ["demo"]


def test_many_documents_spread_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROW_GROUP_BYTES", 100)
    monkeypatch.setattr(table, "FILE_BYTES", 1000)
    texts = [f"Text number {i:04d}." for i in range(120)]
    run(tmp_path / "out", write_jsonl(tmp_path / "a.jsonl", *[{"text": t} for t in texts]))
    files = sorted((tmp_path / "out/documents").glob("train-*.parquet"))
    assert len(files) > 3
    assert pq.ParquetFile(files[0]).num_row_groups > 3
    split = texts_of(tmp_path / "out")
    assert sorted(split["train"] + split["heldout"]) == texts


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", *[{"text": f"t{i}"} for i in range(50)], chat(1))
    for name in ("one", "two"):
        run(tmp_path / name, source)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) >= 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_two_short_documents_are_enough(tmp_path: Path) -> None:
    run(tmp_path / "out", write_jsonl(tmp_path / "a.jsonl", {"text": "a"}, {"text": "b"}))
    split = texts_of(tmp_path / "out")
    assert (len(split["train"]), len(split["heldout"])) == (1, 1)


def test_one_short_document_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hello")
    with pytest.raises(DataError, match=r"hold 1 document\(s\) of 5 bytes .*too small"):
        run(tmp_path / "out", tmp_path / "a.txt")


def test_chats_alone_are_enough(tmp_path: Path) -> None:
    counts = run(tmp_path / "out", write_jsonl(tmp_path / "a.jsonl", chat(1)))
    assert (counts["documents"]["train"]["n"], counts["chats"]["train"]["n"]) == (0, 1)
    assert texts_of(tmp_path / "out") == {"train": [], "heldout": []}


def test_nothing_left_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"\xff")
    (folder / "b.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"nothing is left of .*\(1 empty, .*text$"):
        run(tmp_path / "out", folder)
    with pytest.raises(
        DataError,
        match=r"data\.sources is empty; give --data PATH, or name a file, a folder or demo",
    ):
        run(tmp_path / "out")


def test_chats_and_pairs_keep_their_licence(tmp_path: Path) -> None:
    pair = {"prompt": "p", "chosen": "good", "rejected": "bad", "licence": "MIT"}
    source = write_jsonl(tmp_path / "talk.jsonl", pair, *[chat(i) for i in range(4)])
    sources = [{"path": str(source), "licence": "CC0-1.0"}]
    prepare(DataConfig(sources=sources), tmp_path / "out")  # type: ignore[arg-type]
    assert {one.licence for s in SPLITS for one in read_chats(tmp_path / "out", s)} == {"CC0-1.0"}
    assert {one.licence for s in SPLITS for one in read_preferences(tmp_path / "out", s)} == {"MIT"}
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["sources"][0]["licences"] == {"CC0-1.0": 4, "MIT": 1}


def test_the_output_may_not_lie_in_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hello")
    with pytest.raises(DataError, match=r"lies inside the source .*; choose another --out"):
        run(tmp_path / "runs/one", tmp_path)


def test_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_jsonl(tmp_path / folder / "books.jsonl", {"text": f"text of {folder}"})
    paths = [tmp_path / folder / "books.jsonl" for folder in ("a", "b")]
    counts = run(tmp_path / "out", *paths)
    assert list(counts["sources"]) == ["books", "books-2"]


def test_a_config_may_be_written_short() -> None:
    config = DataConfig(sources="demo")
    assert config.sources == (SourceConfig(path="demo"),) == DataConfig().sources
    assert DataConfig(**to_dict(config)) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heldout_fraction": 0}, "heldout_fraction=0.0 must lie above 0 and at most 0.5"),
        ({"min_heldout": 0}, "min_heldout=0 must be at least 1"),
        ({"split_long_documents_bytes": 5}, "split_long_documents_bytes=5 must be at least 64"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**fields)


def test_a_folder_that_was_not_prepared_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no prepared data"):
        list(read_texts(tmp_path, "train"))


def test_one_long_file_is_spread_over_both_splits(tmp_path: Path) -> None:
    if not (SHAKESPEARE / "input.txt").is_file():
        pytest.skip(f"no tinyshakespeare at {SHAKESPEARE}")
    source = SHAKESPEARE / "input.txt"
    counts = run(tmp_path / "out", source)
    split = counts["documents"]
    assert split["train"]["n_bytes"] + split["heldout"]["n_bytes"] == source.stat().st_size
    assert split["heldout"]["n"] >= 1
    share = split["heldout"]["n_bytes"] / source.stat().st_size
    assert 0.005 < share < 0.08
