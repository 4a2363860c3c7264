"""`groundup data report`, `peek` and `explain`: what they print, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from groundup.cli import main
from groundup.data.prepare import DataConfig, prepare

from .data.test_manifest import write_sources
from .test_cli_data import QUICK, refused

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("page") / "stories", 8)


@pytest.fixture(scope="module")
def out(stories: Path) -> Path:
    out = stories.parent / "out"
    rules = ["--set", "cleaning.max_characters=344"]
    arguments = ["data", "prepare", "--data", str(stories), "--out", str(out), "--quiet"]
    assert main([*arguments, *QUICK, *rules]) == 0
    return out


def test_report(out: Path, capsys: Capture) -> None:
    assert main(["data", "report", str(out)]) == 0
    assert (out / "data.html").is_file()
    assert "byte for byte" in capsys.readouterr().out
    assert main(["data", "verify", str(out)]) == 0  # the page is none of the data


def test_peek_shows_any_stage(out: Path, capsys: Capture) -> None:
    for stage in ("read", "clean", "dedup_exact", "dedup_near", "divide", "documents"):
        capsys.readouterr()
        assert main(["data", "peek", str(out), "--stage", stage, "-n", "2", "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(rows) == 2
        assert all(row["text"] and row["source"] == "stories" for row in rows)
    removed = ["data", "peek", str(out), "--stage", "removed", "--reason", "exact_duplicate"]
    assert main([*removed, "--json"]) == 0
    [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["reason"] == "exact_duplicate"


def test_peek_shows_chats_and_pairs_turn_by_turn(
    talk_folder: Path, stories: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "talk"
    sources = ["--data", str(talk_folder), "--data", str(stories)]
    assert main(["data", "prepare", *sources, "--out", str(out), "--quiet", *QUICK]) == 0
    counts = json.loads((out / "counts.json").read_text())
    for kind, who in (("chats", "assistant: The "), ("preferences", "chosen: Yes, ")):
        n = sum(side["n"] for side in counts[kind].values())
        assert main(["data", "peek", str(out), "--stage", kind, "-n", "2"]) == 0
        printed = capsys.readouterr().out
        assert f"2 of {n} {kind}" in printed
        assert printed.count(f"   {who}") == 2
        assert main(["data", "peek", str(out), "--stage", kind, "-n", "999", "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(rows) == len({row["id"] for row in rows}) == n
    read = ["data", "peek", str(out), "--stage", "read", "--source", "talk", "-n", "99"]
    assert main(read) == 0
    assert "   user: " in capsys.readouterr().out  # the JSON of an earlier stage, as turns too
    line = refused(capsys, "data", "peek", out, "--stage", "chats", "--source", "stories")
    assert "no document at chats with source stories" in line


def test_peek_refuses_what_is_not_there(out: Path, capsys: Capture) -> None:
    line = refused(capsys, "data", "peek", out, "--stage", "washed")
    assert "there are read, clean, dedup_exact" in line
    line = refused(capsys, "data", "peek", out, "--source", "poems")
    assert "no document at documents with source poems; sources are stories" in line
    line = refused(capsys, "data", "peek", out, "--reason", "empty")
    assert "add --stage removed" in line


def test_explain_agrees_with_what_was_done(stories: Path, out: Path, capsys: Capture) -> None:
    for name in ("same.txt", "03.txt", "near.txt", "00.txt", "07.txt"):
        capsys.readouterr()
        assert main(["data", "explain", str(stories / name), "--in", str(out), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["id"] == f"stories/{name}#0"
        [step, *_] = told["done"]
        n_characters = next(s["value"] for s in told["scores"] if s["score"] == "n_characters")
        assert (step["stage"] == "clean") == (told["reason"] is not None) == (n_characters > 344)


def test_explain_without_prepared_data(stories: Path, capsys: Capture) -> None:
    quick = ["--set", "cleaning.identify_language=false", "--set", "cleaning.preset=web"]
    assert main(["data", "explain", str(stories / "00.txt"), *quick]) == 0
    lines = capsys.readouterr().out
    assert "✗ c4_sentences" in lines
    assert "at least 5" in lines
    assert "not asked: duplicates" in lines
    assert main(["data", "explain", str(stories / "zero.txt"), *quick]) == 0
    assert "refused, has_nul" in capsys.readouterr().out
    assert "count from 0" in refused(
        capsys, "data", "explain", stories / "00.txt", "--document", "4", *quick
    )
    assert "is not a file" in refused(capsys, "data", "explain", stories, *quick)


def explained(capsys: Capture, *arguments: object) -> dict[str, Any]:
    """What explain tells of one document."""
    capsys.readouterr()
    assert main(["data", "explain", *map(str, arguments), "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def would(told: dict[str, Any]) -> dict[str, str]:
    return {step["stage"]: step["what"] for step in told["would"]}


@pytest.fixture(scope="module")
def strict(stories: Path) -> tuple[Path, Path]:
    """Prepared data with every comparison on, and a folder for files that are not in it."""
    place = stories.parent
    notice = "This notice stands in each of the documents here."
    source = place / "noticed"
    source.mkdir()
    for n in range(7):
        words = " ".join(f"word{n}x{i}" for i in range(60))
        (source / f"{n}.txt").write_text(f"{words}\n{notice}\n")
    items = place / "items.jsonl"
    items.write_text(json.dumps({"question": ITEM, "answer": "10"}) + "\n")
    sets = [
        "dedup.lines={keep_one: false}",
        f'decontamination.benchmarks=[{{"path":"{items}","name":"sums"}}]',
    ]
    out = place / "strict"
    arguments = ["data", "prepare", "--data", str(source), "--out", str(out), "--quiet", *QUICK]
    assert main([*arguments, *(x for one in sets for x in ("--set", one))]) == 0
    new = place / "new"
    new.mkdir()
    return out, new


ITEM = "Maria has seven baskets and puts three green pears and four red plums into each of them."


def test_explain_holds_a_new_file_against_the_data(
    strict: tuple[Path, Path], capsys: Capture
) -> None:
    out, new = strict
    old = (out.parent / "noticed" / "3.txt").read_text()
    files = {
        "same": old,
        "near": old.replace("word3x30 ", "otherwise "),
        "item": f"A teacher wrote this down.\n\n{ITEM.upper()}\n",
        "line": "Ferrets sleep by day.\n\nThis notice stands in each of the documents here.\n",
        "fresh": "Nothing like this was written before, and nobody will read it.\n",
    }
    told = {}
    for name, text in files.items():
        (new / f"{name}.txt").write_text(text)
        told[name] = explained(capsys, new / f"{name}.txt", "--in", out)
        assert not told[name]["done"]
    assert "the same text as noticed/3.txt#0" in would(told["same"])["dedup_exact"]
    assert told["same"]["verdict"] == "it would be dropped at dedup_exact for exact_duplicate"
    assert "nearly the same as noticed/3.txt#0" in would(told["near"])["dedup_near"]
    # "near/near.txt#0" comes before "noticed/3.txt#0", and the smallest id stays
    assert told["near"]["verdict"] == "it would take the place of noticed/3.txt#0 at dedup_near"
    assert "shares words with sums 0" in would(told["item"])["decontaminate"]
    assert "contaminated_document" in told["item"]["verdict"]
    assert "stand in other documents too" in would(told["line"])["dedup_lines"]
    assert "“This notice stands" in would(told["line"])["dedup_lines"]
    for name in ("line", "fresh"):
        assert told[name]["verdict"] == "it would be kept"
        assert set(would(told[name])) == {
            "dedup_exact",
            "dedup_near",
            "dedup_lines",
            "decontaminate",
        }
    assert would(told["fresh"])["dedup_exact"] == "no document has the same text"


def test_what_explain_foretells_is_what_prepare_does(
    strict: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    out, _ = strict
    source = tmp_path / "noticed"
    shutil.copytree(out.parent / "noticed", source)
    edits = {"z8": "otherwise", "z9": "word3x30", "za": "word3x30 word3x30"}  # near, exact, near
    for name, edit in edits.items():
        text = (source / "3.txt").read_text().replace("word3x30", edit)
        (source / f"{name}.txt").write_text(text)
    foretold = {name: explained(capsys, source / f"{name}.txt", "--in", out) for name in edits}
    arguments = ["data", "prepare", "--data", str(source), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--quiet", *QUICK]) == 0
    for name, one in foretold.items():
        done = explained(capsys, source / f"{name}.txt", "--in", tmp_path / "out")
        assert done["would"] == []
        assert one["verdict"] == f"it would be {done['verdict']}"
        assert "3.txt#0" in done["done"][0]["what"]
    reasons = {name: one["verdict"].split()[-1] for name, one in foretold.items()}
    copies = ("near_duplicate", "exact_duplicate", "near_duplicate")
    assert reasons == dict(zip(edits, copies, strict=True))


def test_explain_says_so_where_a_file_has_changed(
    stories: Path, out: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = stories / "05.txt"
    was = path.read_text()
    told = explained(capsys, path, "--in", out)
    assert told["done"][0]["stage"] != "read"
    path.write_text(was + "\nOne more line that was not there.\n")
    try:
        told = explained(capsys, path, "--in", out)
    finally:
        path.write_text(was)
    assert told["done"][0]["stage"] == "read"
    assert "has changed since" in told["done"][0]["what"]


def test_explain_without_the_stages_says_what_it_cannot_compare(
    strict: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    out, _ = strict
    (tmp_path / "new.txt").write_text("Nothing like this was written before.\n")
    (out / "stages").rename(tmp_path / "stages")
    try:
        told = explained(capsys, tmp_path / "new.txt", "--in", out)
    finally:
        (tmp_path / "stages").rename(out / "stages")
    assert set(would(told).values()) == {"not compared: the files of that stage were deleted"}


def test_report_and_peek_of_a_run(stories: Path, tmp_path: Path, capsys: Capture) -> None:
    from groundup.data.manifest import DATASET

    run = tmp_path / "run"
    config = DataConfig(
        sources=[{"path": str(stories)}], heldout_fraction=0.2,
        cleaning={"identify_language": False},
    )  # fmt: skip
    prepare(config, run / "data", work=run / "data.stages", manifest_name=DATASET)
    assert main(["data", "report", str(run)]) == 0
    assert (run / "data" / "data.html").is_file()
    assert main(["data", "peek", str(run), "--stage", "clean", "-n", "1"]) == 0
    assert "1 of " in capsys.readouterr().out
