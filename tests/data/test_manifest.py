"""The manifest: what it says is so, and what is changed is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundup.data.manifest import MANIFEST, fingerprint_of, read_manifest, verify
from groundup.data.prepare import DataConfig, TokenizerChoice, prepare
from groundup.data.shards import TokenShards
from groundup.data.split import SPLITS
from groundup.data.table import rows_of
from groundup.runtime import DataError, hash_file
from groundup.tokenizer import TokenizerConfig, open_tokenizer
from groundup.tokenizer.counts import CountConfig

STORY = "The {0} fox found {1} red berries near the old mill and {2} them before the rain. "


def write_sources(folder: Path, n: int = 24) -> Path:
    """A few stories, one of them twice, one nearly twice, and a file that is no text."""
    folder.mkdir(parents=True)
    verbs = ("ate", "hid", "counted", "gave away", "forgot", "dropped", "washed")
    for i in range(n):
        parts = [STORY.format(f"{i}th", j * i + j, verbs[(i * j) % 7]) for j in range(1, 5)]
        (folder / f"{i:02d}.txt").write_text("".join(parts))
    (folder / "same.txt").write_text((folder / "03.txt").read_text())
    (folder / "near.txt").write_text((folder / "04.txt").read_text() + "The end.")
    (folder / "zero.txt").write_bytes(b"a\0b")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder; to be read, never written."""
    place = tmp_path_factory.mktemp("made")
    source = write_sources(place / "stories")
    config = DataConfig(
        sources=[{"path": str(source), "licence": "CC0-1.0"}],
        heldout_fraction=0.2,
        cleaning={"identify_language": False, "max_characters": 344},
    )
    counting = CountConfig(n_workers=1)
    choice = TokenizerChoice(config=TokenizerConfig(vocab_size=300, counting=counting))
    prepare(config, place / "out", tokenizer=choice)
    return place / "out"


def test_each_stage_passes_on_what_it_does_not_drop(made: Path) -> None:
    stages = {stage["name"]: stage for stage in read_manifest(made)["stages"]}
    names = ["read", "clean", "dedup_exact", "dedup_near", "divide", "tokenize"]
    assert list(stages) == names
    for before, after in zip(names, names[1:], strict=False):
        assert stages[before]["documents_out"] == stages[after]["documents_in"]
        assert before == "read" or stages[before]["bytes_out"] == stages[after]["bytes_in"]
    for name in names[:4]:
        stage = stages[name]
        n_dropped = sum(stage["dropped"].values())
        assert stage["documents_in"] - stage["documents_out"] == n_dropped
    dropped = {name: stages[name]["dropped"] for name in names[:4]}
    assert dropped["read"] == {"has_nul": 1}
    assert dropped["clean"].keys() == {"too_many_characters"}
    assert dropped["dedup_exact"] == {"exact_duplicate": 1}
    assert dropped["dedup_near"].get("near_duplicate", 0) >= 1


def test_the_figures_are_those_of_the_files(made: Path) -> None:
    manifest = read_manifest(made)
    texts = [row["text"] for path in (made / "documents").iterdir() for row in rows_of(path)]
    last = manifest["stages"][-1]
    assert last["documents_out"] == len(texts)
    assert last["bytes_out"] == sum(len(text.encode()) for text in texts)
    folders = sorted((made / "tokens").iterdir())
    assert [folder.name for folder in folders] == ["heldout", "train-stories"]
    shards = [TokenShards.open(folder) for folder in folders]
    for one in shards:
        one.verify()
    assert sum(one.n_tokens for one in shards) == last["tokens_out"]
    tokenizer = open_tokenizer(made / "tokenizer")
    assert manifest["tokenizer"]["hash"] == tokenizer.fingerprint == shards[0].tokenizer_fingerprint
    [source] = manifest["sources"]
    folder = Path(source["path"])
    assert source["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert (source["files"], source["licences"]) == (27, {"CC0-1.0": 26})
    for name, told in manifest["files"].items():
        assert told == {"hash": hash_file(made / name), "bytes": (made / name).stat().st_size}


def test_what_was_removed_names_what_was_kept(made: Path) -> None:
    rows = [row for path in sorted((made / "removed").iterdir()) for row in rows_of(path)]
    kept = {row["id"]: row["kept_id"] for row in rows if row["kept_id"]}
    assert kept["stories/same.txt#0"] == "stories/03.txt#0"
    assert all(row["stage"] and row["reason"] and row["source"] == "stories" for row in rows)
    too_long = [row for row in rows if row["reason"] == "too_many_characters"]
    assert all(row["score"] > 344 for row in too_long)
    assert too_long


def test_the_fingerprint_is_the_hash_of_the_rest(made: Path) -> None:
    manifest = json.loads((made / MANIFEST).read_text())
    fingerprint = manifest.pop("fingerprint")
    assert fingerprint == fingerprint_of(manifest)
    assert verify(made) == []


def test_the_fingerprint_does_not_follow_the_place(tmp_path: Path) -> None:
    found = []
    for place in ("here", "there/and/deeper"):
        folder = write_sources(tmp_path / place / "stories", 8)
        (folder / "gone.txt").symlink_to("nowhere.txt")
        (folder / "again").symlink_to(".")
        (folder / "damaged.txt.gz").write_bytes(b"no gzip")
        out = tmp_path / place / "out"
        counts = prepare(DataConfig(sources=[str(folder)]), out)
        assert {"dangling_link", "link_loop", "has_nul"} < set(counts["removed"])
        assert read_manifest(out)["sources"][0]["path"] == str(folder)
        found.append((counts, read_manifest(out)["files"]))
    assert found[0] == found[1]


def copied(made: Path, to: Path) -> Path:
    import shutil

    shutil.copytree(made, to)
    return to


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda out: (out / "counts.json").unlink(), r"counts\.json is missing"),
        (lambda out: (out / "chats/train.jsonl").write_text("{}\n"), "has 3 bytes, not 0"),
        (lambda out: (out / "removed/x.parquet").write_bytes(b""), "is not in the manifest"),
    ],
)
def test_every_change_is_found(made: Path, tmp_path: Path, damage: Any, told: str) -> None:
    import re

    out = copied(made, tmp_path / "out")
    assert verify(out) == []
    damage(out)
    [fault] = verify(out)
    assert re.search(told, fault)


def test_one_bit_is_found_where_it_is(made: Path, tmp_path: Path) -> None:
    out = copied(made, tmp_path / "out")
    for path in [next((out / "documents").glob("train-*")), next(out.glob("stages/divide/*/*"))]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    first, second = verify(out)
    assert first.endswith("is damaged: its hash is not the manifest's")
    assert "stages/divide" in second


def test_a_manifest_that_was_changed_is_refused(made: Path, tmp_path: Path) -> None:
    out = copied(made, tmp_path / "out")
    text = (out / MANIFEST).read_text()
    (out / MANIFEST).write_text(text.replace('"exact_duplicate": 1', '"exact_duplicate": 2'))
    with pytest.raises(DataError, match="was changed after it was written"):
        verify(out)
    (out / MANIFEST).write_text(text[:-40])
    with pytest.raises(DataError, match="is damaged"):
        verify(out)
    (out / MANIFEST).unlink()
    with pytest.raises(DataError, match="holds no prepared data"):
        verify(out)


def test_executors_are_no_part_of_what_decides(made: Path) -> None:
    manifest = (made / MANIFEST).read_text()
    assert not any(name in manifest for name in ("executor", "n_workers", "serial"))
    assert set(json.loads(manifest)["parameters"]) == {
        "sources",
        "heldout_fraction",
        "min_heldout",
        "split_long_documents_bytes",
        "reading",
        "cleaning",
        "dedup",
        "decontamination",
    }
    assert SPLITS == ("train", "heldout")
