"""Which files a source is made of: folders, links, endings; and its configs and hashes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from groundup.data.reading import (
    ReadingConfig,
    SourceConfig,
    find_inputs,
    input_hash,
    source_fingerprint,
)
from groundup.data.records import Document, Refusal
from groundup.runtime import DataError

from .samples import read


def source(path: Path | str) -> SourceConfig:
    return SourceConfig(path=str(path))


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system lets no one make symbolic links")


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/two.MD").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "c.jsonl").write_text('{"text": "three"}\n\n{"text": "four"}\n')
    (tmp_path / ".hidden.txt").write_text("not read")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/x.txt").write_text("not read")
    (tmp_path / "page.html").mkdir()
    found = [(r.id, r.text) for r in read(tmp_path) if isinstance(r, Document)]
    assert found == [
        ("s/a.txt#0", "one"),
        ("s/b/two.MD#0", "two"),
        ("s/c.jsonl#0", "three"),
        ("s/c.jsonl#2", "four"),
    ]


def test_links_that_lead_nowhere_new_are_named(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    (folder / "sub/a.txt").write_text("one")
    (outside / "b.txt").write_text("two")
    link(folder / "sub/loop", folder)
    link(folder / "again", folder / "sub")
    link(folder / "other", outside)
    link(folder / "other2", outside)
    link(outside / "back", outside)
    link(folder / "dangling.txt", tmp_path / "nowhere.txt")
    inputs, refusals = find_inputs(source(folder))
    assert [file.relative for file in inputs] == ["other/b.txt", "sub/a.txt"]
    assert {refusal.id: refusal.reason for refusal in refusals} == {
        "in/again": "linked_twice",
        "in/dangling.txt": "dangling_link",
        "in/other/back": "link_loop",
        "in/other2": "linked_twice",
        "in/sub/loop": "link_loop",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="pipes and such names are those of Linux")
def test_pipes_and_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("words")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)
        server.bind("socket.txt")
        document, *refusals = sorted(read(tmp_path), key=lambda record: record.id)
    assert document.id == "s/caf\\xe9.txt#0"
    assert [refusal.reason for refusal in refusals if isinstance(refusal, Refusal)] == [
        "not_a_file",
        "not_a_file",
    ]


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "b.txt").chmod(0)
    if os.access(tmp_path / "locked", os.R_OK):
        pytest.skip("this user may read everything")
    assert [type(record) for record in read(tmp_path)] == [Refusal, Document, Refusal]


def test_files_of_other_endings_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8")
    refusal, document = read(tmp_path)
    assert isinstance(document, Document)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/b.jpg", "ending_not_read")


def test_a_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source .*nowhere does not exist; check its path"):
        read(tmp_path / "nowhere")


def test_a_folder_without_readable_files_says_what_it_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs \.txt, \.md, .*; found no files"):
        read(tmp_path)
    for name in ("a.jpg", "b.jpg", "README", "c.doc.gz"):
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"found 1 x \.doc\.gz, 2 x \.jpg, 1 x no ending"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"found 1 x \.jpg"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "path is empty"),
        ({"path": "x", "weight": 0}, "weight=0.0 must be above 0"),
        ({"path": "x", "name": "a/b"}, "name='a/b' must hold no / # or"),
        ({"path": "x", "column": ""}, "column is empty; name a column such as 'text'"),
        ({"path": "x", "wieght": 1}, "wieght"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"piece_bytes": 63}, "piece_bytes=63 must be at least 64"),
        ({"max_document_bytes": 0}, "max_document_bytes=0 must be at least 1"),
        ({"max_expansion": 0.5}, "max_expansion=0.5 must be at least 1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadingConfig(**fields)


def test_labels_are_parts_of_ids() -> None:
    assert source("a/my#books.txt").label == "my_books"
    assert source("hf:allenai/c4/en:train").label == "allenai-c4-en-train"
    assert SourceConfig(path="x", name="y").label == "y"


def test_the_fingerprint_follows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    sources = [source(folder), source("demo")]
    first = source_fingerprint(sources, builtin=["demo"])
    assert source_fingerprint(sources, builtin=["demo"]) == first
    (folder / "photo.jpg").write_text("not read, so it changes nothing")
    assert source_fingerprint(sources, builtin=["demo"]) == first
    (folder / "a.txt").write_text("two")
    changed = source_fingerprint(sources, builtin=["demo"])
    (folder / "a.txt").rename(folder / "b.txt")
    renamed = source_fingerprint(sources, builtin=["demo"])
    assert len({first, changed, renamed}) == 3


def test_the_hash_of_an_input_follows_its_bytes(tmp_path: Path) -> None:
    for name, text in (("a.txt", "one"), ("b.txt", "one"), ("c.txt", "two")):
        (tmp_path / name).write_text(text)
    a, b, c = find_inputs(source(tmp_path))[0]
    assert input_hash(a) == input_hash(b) != input_hash(c)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DataError, match=r"a\.txt cannot be read .*leave it out"):
        input_hash(a)
