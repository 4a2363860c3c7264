"""What a corpus follows from: what files hold, never where they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from groundup.data.config import DataConfig
from groundup.data.identity import files_used
from groundup.data.manifest import read_manifest
from groundup.data.prepare import prepare
from groundup.runtime import DataError
from groundup.stages import STAGES

from ..tiny_build import Recorder, tiny_build, tiny_recipe, write_rows

ITEM = {"question": "Which river runs past the mill that the old owl built of stone and straw?"}


def home(folder: Path) -> Path:
    """Texts, a word list and an evaluation set."""
    rows = [{"text": f"The owl number {n} sat by the mill number {n + 3}."} for n in range(60)]
    write_rows(folder / "owls.jsonl", [*rows, {"text": f"Somebody asked: {ITEM['question']}"}])
    write_rows(folder / "exam.jsonl", [{"question": "Who ate nine of the ten plums of the Queen?"}])
    (folder / "words.txt").write_text("zzzz\n")
    return folder


def settings(folder: Path) -> dict[str, object]:
    return {
        "sources": [str(folder / "owls.jsonl")],
        "cleaning": {"word_list": str(folder / "words.txt"), "identify_language": False},
        "decontamination": {"benchmarks": [{"path": str(folder / "exam.jsonl")}]},
        "heldout_fraction": 0.1,
    }


def test_a_build_sees_what_the_files_hold_that_its_settings_name(tmp_path: Path) -> None:
    folder = home(tmp_path / "home")

    def run() -> str:
        recipe = tiny_recipe(data=settings(folder), sft=None, align=None)
        listener = Recorder()
        tiny_build(recipe, tmp_path / "run", listener).run(("data",))
        return listener.statuses()["data"]

    assert [run(), run()] == ["run", "done"]
    assert read_manifest(tmp_path / "run")["contamination"]["exam"]["items_found"] == 0
    write_rows(folder / "exam.jsonl", [ITEM])
    assert [run(), run()] == ["run", "done"]
    assert read_manifest(tmp_path / "run")["contamination"]["exam"]["items_found"] == 1
    (folder / "words.txt").write_text("7\n")
    assert [run(), run()] == ["run", "done"]


def test_a_build_goes_on_where_all_has_moved(tmp_path: Path) -> None:
    here = home(tmp_path / "here")
    listener = Recorder()
    recipe = tiny_recipe(data=settings(here), sft=None, align=None)
    tiny_build(recipe, tmp_path / "run", listener).run(("data", "tokenizer", "pretrain"))
    there = shutil.move(here, tmp_path / "there" / "home")
    moved = tiny_build(tiny_recipe(data=settings(there), sft=None, align=None), tmp_path / "run")
    before = tiny_build(recipe, tmp_path / "other")
    home(here)  # its fingerprint is of files
    for stage in STAGES[:3]:
        assert moved.fingerprint(stage) == before.fingerprint(stage)


def test_the_fingerprint_says_against_what_was_looked(tmp_path: Path) -> None:
    folder = home(tmp_path / "home")
    prints = []
    for n, change in enumerate(("none", "words", "exam", "strict")):
        if change == "words":
            (folder / "words.txt").write_text("yyyy\n")
        if change == "exam":
            write_rows(folder / "exam.jsonl", [{"question": "Who sang of all the owls at noon?"}])
        values = settings(folder) | ({"reading": {"strict": True}} if change == "strict" else {})
        counts = prepare(DataConfig(**values), tmp_path / str(n))
        prints.append(counts["fingerprint"])
    assert len(set(prints)) == 3
    assert prints[2] == prints[3]  # it decides only whether there is an end
    manifest = read_manifest(tmp_path / "3")
    assert manifest["files_used"] == json.loads(json.dumps(files_used(DataConfig(**values))))
    assert set(manifest["files_used"]) == {"word_list", "benchmarks"}


@pytest.mark.parametrize(
    "change",
    [
        {"cleaning": {"word_list": "gone.txt"}},
        {"cleaning": {"classifier": "gone.json"}},
        {"decontamination": {"benchmarks": [{"path": "gone.jsonl"}]}},
    ],
)
def test_files_that_are_not_there_are_told_before_any_work(
    change: dict[str, object], tmp_path: Path
) -> None:
    config = DataConfig(**(settings(home(tmp_path / "home")) | change))
    listener = Recorder()
    with pytest.raises(DataError, match="gone"):
        prepare(config, tmp_path / "out", listener=listener)
    assert not listener.steps


def test_strict_finds_what_a_run_without_has_passed_over(tmp_path: Path) -> None:
    folder = home(tmp_path / "home")
    with (folder / "owls.jsonl").open("a") as file:
        file.write("no JSON\n")
    values = settings(folder)
    prepare(DataConfig(**values), tmp_path / "out")
    with pytest.raises(DataError, match=r"owls/owls\.jsonl#61 cannot be used \(not_json"):
        prepare(DataConfig(**values, reading={"strict": True}), tmp_path / "out")
