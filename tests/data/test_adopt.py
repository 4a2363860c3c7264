"""A build on prepared data: the same documents, the same fingerprint, nothing prepared twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.data.adopt import prepared_source, sources_of
from groundup.data.config import DataConfig
from groundup.data.manifest import read_manifest, verify
from groundup.data.prepare import prepare
from groundup.data.prepared import read_texts
from groundup.data.reading import SourceConfig
from groundup.data.split import SPLITS
from groundup.pipeline import STAGE_NAMES
from groundup.recipe import Recipe, load_recipe
from groundup.runtime import DataError

from ..tiny_build import Recorder, tiny_build, tiny_recipe, write_rows


def rows(name: str, n: int) -> list[dict[str, object]]:
    return [{"text": f"The {name} number {i} is not the {name} number {i + 7}."} for i in range(n)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of different weight and a row that stands in both."""
    folder = tmp_path_factory.mktemp("prepared")
    foxes = write_rows(folder / "foxes.jsonl", [*rows("fox", 80), {"text": "Said twice."}])
    hens = write_rows(folder / "hens.jsonl", [*rows("hen", 60), {"text": "Said twice."}])
    config = DataConfig(
        sources=(SourceConfig(path=str(foxes)), SourceConfig(path=str(hens), weight=3.0)),
        heldout_fraction=0.1,
    )
    prepare(config, folder / "clean")
    return folder / "clean"


def recipe_of(*sources: Path) -> Recipe:
    return tiny_recipe(
        data={"sources": [str(source) for source in sources]},
        tokenizer={"vocab_size": 270},
        sft=None,
        align=None,
    )


def test_a_build_trains_on_what_was_prepared(prepared: Path, tmp_path: Path) -> None:
    listener = Recorder()
    build = tiny_build(recipe_of(prepared), tmp_path / "run", listener)
    build.run(("data", "tokenizer", "pretrain"))

    for split in SPLITS:
        assert list(read_texts(tmp_path / "run/data", split)) == list(read_texts(prepared, split))
    fingerprint = read_manifest(prepared)["fingerprint"]
    assert read_manifest(tmp_path / "run")["fingerprint"] == fingerprint
    assert verify(tmp_path / "run") == []
    assert any("as it was prepared" in line for line in listener.messages)
    assert not (tmp_path / "run/data.stages").exists()

    checkpoints = sorted((tmp_path / "run/pretrain/checkpoints").glob("step-*"))
    for checkpoint in checkpoints:
        state = json.loads((checkpoint / "trainer/state.json").read_text())
        assert state["identity"]["dataset"] == fingerprint
    assert checkpoints
    counts = json.loads((tmp_path / "run/pretrain/manifest.json").read_text())["counts"]
    assert set(counts["sources"]) == {"foxes", "hens"}

    again = Recorder()
    tiny_build(recipe_of(prepared), tmp_path / "run", again).run(("data", "tokenizer", "pretrain"))
    assert set(again.statuses().values()) == {"done"}


def test_weights_are_those_it_was_prepared_with(prepared: Path) -> None:
    found = sources_of(DataConfig(sources=(SourceConfig(path=str(prepared)),)))
    assert [(source.label, source.weight) for source in found.sources] == [
        ("foxes", 1.0),
        ("hens", 3.0),
    ]


def test_it_is_taken_alone_and_not_prepared_twice(prepared: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "other.jsonl", rows("owl", 5))
    assert prepared_source([SourceConfig(path=str(other))]) is None
    with pytest.raises(DataError, match="cannot be mixed with other sources"):
        tiny_build(recipe_of(prepared, other), tmp_path / "run").run(STAGE_NAMES)
    with pytest.raises(DataError, match="is prepared data; give what it was made of"):
        prepare(DataConfig(sources=(SourceConfig(path=str(prepared)),)), tmp_path / "again")


def test_what_was_changed_since_is_refused(prepared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in read_manifest(prepared)["files"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((prepared / name).read_bytes())
    (copy / "manifest.json").write_bytes((prepared / "manifest.json").read_bytes())
    file = next(copy.glob("documents/train-*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"train-00000\.parquet is damaged.*; prepare .* again"):
        tiny_build(recipe_of(copy), tmp_path / "run").run(("data",))


def test_checkpoints_carry_the_fingerprint_of_the_data(tiny_run: Path, tmp_path: Path) -> None:
    build = tiny_build(load_recipe(str(tiny_run / "recipe.yaml")), tiny_run)
    identity = build.context("pretrain").identity
    assert identity["dataset"] == read_manifest(tiny_run)["fingerprint"]
    state = next((tiny_run / "pretrain/checkpoints").glob("step-*")) / "trainer/state.json"
    assert json.loads(state.read_text())["identity"]["dataset"] == identity["dataset"]
