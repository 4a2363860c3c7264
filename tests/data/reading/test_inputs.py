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
from groundup.data.reading.inputs import check_source, check_sources
from groundup.data.records import Document, Refusal
from groundup.recipe import checked_source
from groundup.runtime import DataError

from .samples import read, reasons_of, refusal_of


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


def test_links_to_what_holds_the_source_are_not_followed(tmp_path: Path) -> None:
    """They would give the source a second time, and all that lies beside it."""
    folder = tmp_path / "in/src"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (tmp_path / "in/beside").mkdir()
    (tmp_path / "in/beside/secret.txt").write_text("two")
    link(folder / "up", tmp_path / "in")
    link(folder / "sub/top", Path("/"))
    inputs, refusals = find_inputs(source(folder))
    assert [file.relative for file in inputs] == ["a.txt"]
    assert {refusal.id: refusal.reason for refusal in refusals} == {
        "src/sub/top": "link_loop",
        "src/up": "link_loop",
    }


@pytest.mark.parametrize("names", [("1", "2"), ("2", "1")])
def test_of_folders_that_are_linked_none_is_read_in_another(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """Whichever of the two comes first, each file is read once."""
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (outside / "sub").mkdir(parents=True)
    (outside / "a.txt").write_text("one")
    (outside / "sub/b.txt").write_text("two")
    link(outside / "sub/up", outside)
    link(folder / names[0], outside)
    link(folder / names[1], outside / "sub")
    inputs, refusals = find_inputs(source(folder))
    assert sorted(file.path.name for file in inputs) == ["a.txt", "b.txt"]
    found = {refusal.id: refusal.reason for refusal in refusals}
    if names[0] == "1":
        assert found == {"in/1/sub/up": "link_loop", "in/2": "linked_twice"}
    else:
        assert found == {"in/1/up": "link_loop", "in/2/sub": "linked_twice"}


@pytest.mark.skipif(sys.platform != "linux", reason="pipes and such names are those of Linux")
def test_links_to_themselves_and_to_devices(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    link(tmp_path / "self.txt", tmp_path / "self.txt")
    link(tmp_path / "zero.txt", Path("/dev/zero"))
    link(tmp_path / "below.txt", tmp_path / "a.txt/b.txt")
    assert reasons_of(tmp_path) == {
        "below.txt": "dangling_link",
        "self.txt": "link_loop",
        "zero.txt": "not_a_file",
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
    refusal = refusal_of(tmp_path)
    assert (refusal.id, refusal.reason) == ("s/.", "empty")
    assert refusal.detail.startswith(
        "holds nothing to read (found no files); endings that are read"
    )
    for name in ("a.jpg", "b.jpg", "README", "c.doc.gz"):
        (tmp_path / name).write_text("x")
    found = find_inputs(source(tmp_path))[1][0]
    assert found.reason == "empty"
    assert "(found 1 x .doc.gz, 2 x .jpg, 1 x no ending)" in found.detail
    assert reasons_of(tmp_path / "a.jpg") == {".": "empty", "a.jpg": "ending_not_read"}
    with pytest.raises(
        DataError, match=r"s/\. cannot be used \(empty: holds nothing to read \(found"
    ):
        read(tmp_path, strict=True)


@pytest.mark.skipif(sys.platform != "linux", reason="pipes and such names are those of Linux")
def test_sources_are_checked_before_any_is_read(tmp_path: Path) -> None:
    """One of them may hold nothing; not all, and none may be missing."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("one")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    full, empty, pipe = (source(tmp_path / name) for name in ("full", "empty", "pipe.txt"))
    check_sources([empty, full, pipe])
    check_sources([empty, source("demo")], builtin=["demo"])
    both = (
        r"^source .*empty holds nothing to read \(found no files\); "
        r"source .*pipe\.txt holds nothing to read .*; endings that are read: \.txt, \.md, "
    )
    with pytest.raises(DataError, match=both):
        check_sources([empty, pipe])
    with pytest.raises(DataError, match=r"nowhere does not exist; check its path"):
        check_sources([full, source(tmp_path / "nowhere")])
    with pytest.raises(DataError, match=r"names no folder"):
        check_sources([full, source(f"hf:{tmp_path}/nowhere")])
    assert reasons_of(pipe.path)["pipe.txt"] == "not_a_file"
    assert [read(s.path)[0].id for s in (full, empty)] == ["s/a.txt#0", "s/."]


@pytest.mark.parametrize(
    "name", ["x" * 300, "x/" * 2500, "a\0b", "loop", "dangling", "file.txt/x"], ids=lambda n: n[:9]
)
def test_a_path_that_cannot_be_looked_up_is_told(tmp_path: Path, name: str) -> None:
    link(tmp_path / "loop", tmp_path / "loop")
    link(tmp_path / "dangling", tmp_path / "nowhere")
    (tmp_path / "file.txt").write_text("one")
    path = f"{tmp_path}/{name}"
    for called, check in (
        ("source", lambda: check_source(source(path))),
        ("source", lambda: find_inputs(source(path))),
        ("--data", lambda: checked_source(path)),
        ("source hf:", lambda: check_source(source(f"hf:{path}"))),
    ):
        with pytest.raises(DataError, match=rf"^{called}.* (does not exist|cannot be|names no)"):
            check()


def test_a_path_in_a_folder_that_may_not_be_entered_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked/a.txt").write_text("one")
    (tmp_path / "locked").chmod(0)
    if os.access(tmp_path / "locked", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(DataError, match=r"--data .*a\.txt cannot be looked up \(Permission denied"):
        checked_source(str(tmp_path / "locked/a.txt"))
    with pytest.raises(DataError, match=r"source folder .*locked cannot be read \(Permission"):
        find_inputs(source(tmp_path / "locked"))


def test_what_data_names_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    assert checked_source("a.txt") == str(tmp_path / "a.txt")
    assert checked_source("hf:./set:test") == f"hf:{tmp_path}/set:test"
    assert checked_source("hf:allenai/c4") == "hf:allenai/c4"
    assert checked_source("demo") == "demo"
    (tmp_path / "demo").mkdir()
    assert checked_source("demo") == str(tmp_path / "demo")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "path is empty"),
        ({"path": "x", "weight": 0}, "weight=0.0 must be above 0"),
        ({"path": "x", "name": "a/b"}, "name='a/b' must hold no / # or"),
        ({"path": "x", "column": ""}, "column is empty; name a column such as 'text'"),
        ({"path": "x", "column": 0}, "column=0 must be a name, or a number counted from 1"),
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
    assert source("hf:/data/my#set:test").label == "my-set-test"
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
