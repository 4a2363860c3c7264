"""Decontamination as jobs of the engine: which of them are done again when a setting changes."""

from pathlib import Path
from typing import Any

import pytest

from groundup.data.decontaminate import BenchmarkConfig, DecontaminationConfig
from groundup.data.engine import Engine
from groundup.data.steps.decontaminate import decontaminate
from groundup.data.steps.shard import REMOVED
from groundup.data.table import rows_of
from tests.data.decontaminate.test_benchmarks import as_parquet
from tests.data.decontaminate.test_clean import FILLER, QUESTION
from tests.data.dedup.shards import documents, write_shards
from tests.data.dedup.test_steps import as_shards, made_again


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sets" / "sums.parquet"
    path.parent.mkdir()
    path.write_bytes(as_parquet([{"question": QUESTION, "answer": "1"}]))
    return path


def test_an_item_of_a_parquet_file_is_found(tmp_path: Path, sums: Path) -> None:
    texts = {"t/a": FILLER, "t/b": f"{FILLER}{QUESTION}", "t/c": FILLER * 2}
    engine = Engine(tmp_path / "stages")
    shards = as_shards(engine, write_shards(tmp_path, documents(texts), 2))
    config = DecontaminationConfig(benchmarks=[BenchmarkConfig(path=sums.parent)])
    found, report = decontaminate(engine, shards, config)
    gone = [row["id"] for shard in found for row in rows_of(shard.path.parent / REMOVED)]
    assert gone == ["t/b"]
    assert report["sums"]["items_found"] == 1


def test_how_hits_are_cut_does_not_change_what_is_looked_for(tmp_path: Path, sums: Path) -> None:
    folder = tmp_path / "stages"
    texts = {f"t/{n}": f"{FILLER}{n}" for n in range(4)}
    shards = as_shards(Engine(folder), write_shards(tmp_path, documents(texts), 2))

    def again(path: Path = sums, **settings: Any) -> dict[str, int]:
        config = DecontaminationConfig(benchmarks=[BenchmarkConfig(path=path)], **settings)
        return made_again(folder, lambda engine: decontaminate(engine, shards, config))

    everything = {"evaluation_sets": 1, "decontaminate": 2}
    assert again() == everything
    assert again(action="span") == {"decontaminate": 2}
    assert again(margin_bytes=0) == {"decontaminate": 2}
    assert again(ngram_words=9) == everything
    moved = sums.rename(tmp_path / sums.name)
    assert again(moved) == {}
    moved.write_bytes(as_parquet([{"question": QUESTION.upper() + " Why?", "answer": "1"}]))
    assert again(moved) == everything
