"""What preparing must not do: take other people's files for its own, or lose what it has made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundup.cli import main
from groundup.data.adopt import prepared_source
from groundup.data.manifest import read_manifest, verify
from groundup.data.prepare import DataConfig, prepare
from groundup.data.reading import SourceConfig
from groundup.runtime import DataError

Capture = pytest.CaptureFixture[str]
STORY = "The {0} fox found {0} berries near the old mill and hid them before the {0} rain."


def tales(folder: Path, n: int = 12) -> Path:
    folder.mkdir(parents=True)
    for i in range(n):
        (folder / f"{i:02d}.txt").write_text(STORY.format(f"{i}th"))
    return folder


def prepared(tmp_path: Path, **settings: Any) -> tuple[Path, Path]:
    source, out = tmp_path / "tales", tmp_path / "out"
    if not source.exists():
        tales(source)
    prepare(DataConfig(sources=[str(source)], **settings), out)
    return source, out


def refused(capsys: Capture, *arguments: object) -> str:
    assert main(["data", "prepare", *map(str, arguments)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize(
    "theirs", ["manifest.json", "documents/thesis.docx", "stages/act1/scene.txt"]
)
def test_a_folder_of_something_else_is_not_written_to(
    tmp_path: Path, capsys: Capture, theirs: str
) -> None:
    file = tmp_path / "project" / theirs
    file.parent.mkdir(parents=True)
    file.write_text('{"name": "mine"}')
    found = refused(capsys, "--data", tales(tmp_path / "tales"), "--out", tmp_path / "project")
    assert "holds something else" in found
    assert [path for path in (tmp_path / "project").rglob("*") if path.is_file()] == [file]


def test_a_source_within_the_output_is_refused(tmp_path: Path) -> None:
    source = tales(tmp_path / "out" / "documents")
    with pytest.raises(DataError, match=r"lies inside the output .* would be replaced"):
        prepare(DataConfig(sources=[str(source)]), tmp_path / "out")
    assert len(list(source.iterdir())) == 12


@pytest.mark.parametrize(
    "fail",
    [
        lambda source, out: prepare(DataConfig(sources=[str(source), str(source) + "no"]), out),
        lambda source, out: prepare(
            DataConfig(sources=[str(source)], cleaning={"min_characters": 10_000}), out
        ),
        lambda source, out: prepare(
            DataConfig(sources=[str(source)], decontamination={"benchmarks": [{"path": "/no"}]}),
            out,
        ),
    ],
    ids=["no such source", "nothing left", "no such benchmark"],
)
def test_a_run_that_fails_leaves_what_stood(
    tmp_path: Path, fail: Callable[[Path, Path], Any], capsys: Capture
) -> None:
    source, out = prepared(tmp_path)
    before = read_manifest(out)
    with pytest.raises(DataError):
        fail(source, out)
    assert read_manifest(out) == before
    assert verify(out) == []
    assert main(["data", "peek", str(out), "--stage", "clean", "-n", "50"]) == 0
    assert "12 of 12 documents at clean" in capsys.readouterr().out


def test_a_tokenizer_that_is_not_there_is_told_before_any_work(
    tmp_path: Path, capsys: Capture
) -> None:
    source = tales(tmp_path / "tales")
    found = refused(
        capsys, "--data", source, "--out", tmp_path / "out", "--tokenizer", tmp_path / "none"
    )
    assert "none" in found
    assert not (tmp_path / "out" / "stages" / "read").exists()


def test_what_is_unfinished_is_no_text(tmp_path: Path) -> None:
    _, out = prepared(tmp_path)
    (out / "manifest.json").unlink()
    for use in (
        lambda: prepared_source([SourceConfig(path=str(out))]),
        lambda: prepare(DataConfig(sources=[str(out)]), tmp_path / "again"),
    ):
        with pytest.raises(DataError, match="not prepared to the end; run its groundup data"):
            use()


def test_a_second_run_says_that_nothing_has_changed(tmp_path: Path, capsys: Capture) -> None:
    source, out = prepared(tmp_path)
    assert main(["data", "prepare", "--data", str(source), "--out", str(out)]) == 0
    assert "nothing has changed" in capsys.readouterr().out


def test_a_manifest_that_names_other_folders_is_refused(tmp_path: Path) -> None:
    _, out = prepared(tmp_path)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"]["../evil"] = {"hash": "0", "bytes": 0}
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="names files outside its folder"):
        read_manifest(out)


def test_the_fingerprint_does_not_follow_where_the_word_list_lies(tmp_path: Path) -> None:
    found = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "words.txt").write_text("\ufeffmill\n", encoding="utf-8")
        settings = {"word_list": tmp_path / place / "words.txt", "max_listed_words": 1}
        _, out = prepared(tmp_path, cleaning=settings)
        found.append(read_manifest(out)["fingerprint"])
    assert found[0] == found[1]


def test_an_evaluation_set_that_cannot_be_used_is_told_before_any_work(tmp_path: Path) -> None:
    exam = tmp_path / "exam.csv"
    exam.write_text("foo,bar\n1,2\n")
    source = tales(tmp_path / "tales")
    config = DataConfig(
        sources=[str(source)], decontamination={"benchmarks": [{"path": str(exam)}]}
    )
    with pytest.raises(DataError, match="are of no known shape; say which hold the text"):
        prepare(config, tmp_path / "out")
    assert not (tmp_path / "out" / "stages" / "read").exists()


def test_a_word_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\ufeffmill\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"12 has_listed_words, such as .*loosen data\.cleaning"):
        prepared(tmp_path, cleaning={"word_list": tmp_path / "words.txt"})


@pytest.mark.parametrize(
    "line",
    [
        '{"\\ud800": 1}',
        '{"text": "One more.", "licence": "\\ud800"}',
        '{"messages": [{"role": "\\ud800", "content": ""}]}',
    ],
)
def test_halves_of_surrogate_pairs_stop_nothing(tmp_path: Path, line: str) -> None:
    source = tales(tmp_path / "tales")
    (source / "odd.jsonl").write_text(line + "\n")
    (source / "gone").symlink_to(b"/nowhere/\xff".decode("utf-8", "surrogateescape"))
    counts = prepare(DataConfig(sources=[str(source)]), tmp_path / "out")
    assert counts["removed"]["dangling_link"]["n"] == 1
    assert sum(counts["documents"][split]["n"] for split in ("train", "heldout")) >= 12
