"""Decontamination from shards to shards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groundup.data.decontaminate import (
    HITS,
    BenchmarkConfig,
    DecontaminationConfig,
    build_index,
    decontaminate_shard,
    report_of,
)
from groundup.data.table import rows_of
from groundup.runtime import DataError, generator
from tests.data.decontaminate.test_benchmarks import write_lines
from tests.data.dedup.shards import DATA, documents, kept, removed, write_shards

QUESTION = "Tom has two red apples, and he gives one of them to his little sister Ann today."
FILLER = "Nothing of this has ever been asked by anyone in any test that we know of so far. "


def run(
    tmp_path: Path, shards: list[Path], **config: Any
) -> tuple[list[Path], dict[str, dict[str, int]]]:
    """Decontaminate shards; those that are left, and the report."""
    place = tmp_path / "index"
    place.mkdir(exist_ok=True)
    settings = DecontaminationConfig(**config)
    build_index(settings, place)
    folders = [tmp_path / "clean" / path.stem for path in shards]
    for shard, folder in zip(shards, folders, strict=True):
        decontaminate_shard(shard, place, settings, folder)
    return [folder / "documents.parquet" for folder in folders], report_of(place, folders)


@pytest.fixture
def sums(tmp_path: Path) -> BenchmarkConfig:
    rows = [{"question": QUESTION, "answer": "1"}, {"question": FILLER[::-1], "answer": "2"}]
    return BenchmarkConfig(path=write_lines(tmp_path / "sums.jsonl", *rows))


def test_a_document_that_holds_an_item_is_dropped(tmp_path: Path, sums: BenchmarkConfig) -> None:
    texts = {"t/a": FILLER, "t/b": f"{FILLER}{QUESTION.upper()}{FILLER}", "t/c": QUESTION}
    shards, report = run(tmp_path, write_shards(tmp_path, documents(texts), 2), benchmarks=[sums])
    assert kept(shards) == {"t/a": FILLER}
    row = removed(shards)["t/b"]
    assert (row["stage"], row["reason"], row["score"]) == (
        "decontaminate",
        "contaminated_document",
        1,
    )
    assert row["detail"] == f"shares words with sums 0: {QUESTION.upper()[:55]}"
    assert report == {
        "sums": {
            "items": 2,
            "too_short": 0,
            "findable": 2,
            "runs": report["sums"]["runs"],
            "wording": 0,
            "items_found": 1,
            "documents": 2,
            "hits": 10,
        }
    }
    [first, *_] = [row for path in shards for row in rows_of(path.parent / HITS)]
    assert (first["id"], first["benchmark"], first["item"]) == ("t/c", "sums", 0)
    assert first["text"] == QUESTION[:55]


def test_a_span_is_cut_with_what_is_around_it(tmp_path: Path, sums: BenchmarkConfig) -> None:
    before, behind = FILLER * 6, FILLER * 8
    texts = {"t/a": f"{before}{QUESTION} {behind}", "t/b": f"{FILLER}{QUESTION}", "t/c": FILLER}
    shards, _ = run(
        tmp_path,
        write_shards(tmp_path, documents(texts), 1),
        benchmarks=[sums],
        action="span",
        margin_bytes=100,
    )
    left = kept(shards)
    assert set(left) == {"t/a", "t/c"}
    first, second = left["t/a"].split("\n\n")
    assert first == before[:-100].strip()
    assert second == behind[98:].strip()
    assert removed(shards)["t/a"]["reason"] == "contaminated_span"
    assert removed(shards)["t/b"]["reason"] == "contaminated_document"


def test_rows_of_json_are_searched_for_what_is_said(tmp_path: Path, sums: BenchmarkConfig) -> None:
    half = QUESTION.index("gives")
    said = [QUESTION[:half], QUESTION[half:]]
    texts = {"t/a": json.dumps({"messages": said}), "t/b": json.dumps({"messages": ["Hi."]})}
    [shard] = write_shards(tmp_path, documents(texts), 1)
    config = DecontaminationConfig(benchmarks=[sums], action="span")
    index, out = tmp_path / "index", tmp_path / "out"
    index.mkdir()
    build_index(config, index)
    decontaminate_shard(
        shard, index, config, out, text_of=lambda text: "".join(json.loads(text)["messages"])
    )
    assert set(kept([out / "documents.parquet"])) == {"t/b"}
    assert removed([out / "documents.parquet"])["t/a"]["text"] == texts["t/a"]


def test_two_sets_of_one_name_are_refused(tmp_path: Path, sums: BenchmarkConfig) -> None:
    with pytest.raises(DataError, match="two evaluation sets are called 'sums'"):
        build_index(DecontaminationConfig(benchmarks=[sums, sums]), tmp_path)


def test_configs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="ngram_words=5 must lie between min_words=8 and 255"):
        DecontaminationConfig(ngram_words=5)


def real_documents(n: int) -> Iterator[str]:
    """Passages of books, textbooks and technical documents, a third of each."""
    kinds = ("books_share", "openstax_ccby_text", "python_peps")
    sources = [passages(DATA / kind) for kind in kinds]
    for number in range(n):
        yield next(sources[number % len(kinds)])


def passages(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".md", ".txt", ".rst"):
            text = path.read_text(encoding="utf-8", errors="replace")
            yield from (text[start : start + 1200] for start in range(0, len(text), 1200))


@pytest.mark.slow
def test_fifty_items_planted_in_ten_thousand_documents_are_found(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no evaluation sets at {DATA}")
    n_documents, n_planted = 10_000, 50
    texts = list(real_documents(n_documents))
    draw = generator(11, "planted")
    path = DATA / "gsm8k" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    numbers = draw.choice(len(rows), n_planted, replace=False).tolist()
    places = draw.choice(n_documents, n_planted, replace=False).tolist()
    disguises = [str, str.upper, lambda s: s.replace(" ", "\n  "), lambda s: s.title() + "\t"]
    for i, (number, place) in enumerate(zip(numbers, places, strict=True)):
        planted = disguises[i % len(disguises)](rows[number]["question"])
        texts[place] = f"{texts[place][:500]}\n{planted}\n{texts[place][500:]}"
    named = documents({f"t/{number:05d}": text for number, text in enumerate(texts)})
    benchmarks = [BenchmarkConfig(path=DATA / name, name=name) for name in ("gsm8k", "eval_piqa")]
    shards, report = run(tmp_path, write_shards(tmp_path, named, 3), benchmarks=benchmarks)
    gone = removed(shards)
    expected = {f"t/{place:05d}" for place in places}
    assert expected <= set(gone)
    assert len(set(gone) - expected) < 0.01 * n_documents
    assert report["gsm8k/train"]["items_found"] >= n_planted
    found = {
        (row["id"], row["item"])
        for path in shards
        for row in rows_of(path.parent / HITS)
        if row["benchmark"] == "gsm8k/train"
    }
    assert {(f"t/{p:05d}", n) for p, n in zip(places, numbers, strict=True)} <= found
