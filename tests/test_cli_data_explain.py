"""`groundup data explain`: what it says of a file, held against what is done with it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from groundup.cli import main

from .test_cli_data import QUICK, prepared_stories, refused

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_stories(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def stories(out: Path) -> Path:
    return out.parent / "stories"


def test_explain_agrees_with_what_was_done(stories: Path, out: Path, capsys: Capture) -> None:
    for name in ("same.txt", "03.txt", "near.txt", "00.txt", "07.txt"):
        capsys.readouterr()
        assert main(["data", "explain", str(stories / name), "--in", str(out), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["id"] == f"stories/{name}#0"
        [step, *_] = told["done"]
        n_characters = next(s["value"] for s in told["scores"] if s["score"] == "n_characters")
        assert (step["stage"] == "clean") == (told["reason"] is not None) == (n_characters < 322)


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


def test_explain_says_which_limit_was_broken(stories: Path, capsys: Capture) -> None:
    rules = ["--set", "cleaning.identify_language=false", "--set", "cleaning.max_characters=100"]
    assert main(["data", "explain", str(stories / "00.txt"), *rules]) == 0
    told = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("judge"))
    assert told.endswith("dropped: too_many_characters (characters: above 100)")


def test_explain_says_how_many_a_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [json.dumps({"text": f"Row {n} of these."}) for n in range(4)]
    path.write_text("\n".join([*rows, "no JSON", ""]))
    quick = ["--set", "cleaning.identify_language=false", "--set", "reading.strict=true"]

    def told(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["data", "explain", str(path), *quick, *arguments]) == 0
        return capsys.readouterr().out

    assert "1 of 5 in this file; -n 5 tells of all, --document N begins at number N" in told()
    assert "2 of 5 in this file" in told("--document", "3", "-n", "4")
    assert "refused, not_json" in told("--document", "4")  # though strict
    assert "in this file" not in told("-n", "5")
    assert json.loads(told("--json"))["n_in_file"] == 5
    assert "it holds 5; count from 0" in refused(
        capsys, "data", "explain", path, "--document", "5", *quick
    )
    monkeypatch.setattr(sys.modules["groundup.data.explain"], "_COUNTED", 3)
    assert "1 of more than 3 in this file; --document N" in told()
    assert "5 of" not in told("-n", "5")
    assert json.loads(told("--json"))["n_in_file"] is None


def test_explain_knows_what_became_of_chats_and_pairs(
    talk_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    source, out = tmp_path / "talk", tmp_path / "out"
    shutil.copytree(talk_folder, source)
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"question": ITEM, "answer": "10"}) + "\n")
    chat = {
        "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I"}]
    }
    item = json.loads(json.dumps(chat).replace("Who?", ITEM))
    mine = [chat, chat, item, {"prompt": "Which?", "chosen": "This one", "rejected": "That one"}]
    (source / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mine))
    sets = ["--set", f'decontamination.benchmarks=[{{"path":"{items}","name":"sums"}}]']
    arguments = ["data", "prepare", "--data", str(source), "--out", str(out), "--quiet"]
    assert main([*arguments, *QUICK, *sets]) == 0
    published = {
        json.loads(line)["id"]: f"kept, {told}"
        for split, told in (("train", "to train on"), ("heldout", "held out"))
        for kind in ("chats", "preferences")
        for line in (out / kind / f"{split}.jsonl").read_text().splitlines()
    }
    capsys.readouterr()
    explain = ["data", "explain", "--in", str(out), "--json", "-n", "4"]
    assert main([*explain, str(source / "mine.jsonl")]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    verdicts = [one["verdict"] for one in told]
    assert verdicts == [
        published["talk/mine.jsonl#0"],
        "dropped at dedup_exact for exact_duplicate",
        "dropped at decontaminate for contaminated_document",
        published["talk/mine.jsonl#3"],
    ]
    assert told[3]["done"][-1]["stage"] == "preferences"
    assert not any(one["would"] for one in told)

    new = tmp_path / "new.jsonl"
    fresh, item = (json.loads(json.dumps(chat).replace("Who?", x)) for x in ("Where?", ITEM[:-1]))
    new.write_text("".join(json.dumps(row) + "\n" for row in (chat, item, fresh)))
    capsys.readouterr()
    assert main([*explain, str(new)]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["verdict"] for one in told] == [
        "it would take the place of talk/mine.jsonl#0 at dedup_exact",
        "it would be dropped at decontaminate for contaminated_document",
        "it would be kept",
    ]
    changed = json.dumps(mine[0]).replace("Who?", "Who is it?")
    (source / "mine.jsonl").write_text(changed + "\n")
    one = explained(capsys, source / "mine.jsonl", "--in", out)
    assert "has changed since" in one["done"][0]["what"]


def test_explain_says_that_a_hidden_file_is_left_out(
    stories: Path, out: Path, capsys: Capture
) -> None:
    hidden = [stories / ".note.txt", stories / ".git" / "config.txt"]
    hidden[1].parent.mkdir()
    for path in hidden:
        words = " ".join(f"{path.stem}{n}" for n in range(60))
        path.write_text(f"A note of which nobody knows: {words}.\n")
    quick = ["--set", "cleaning.identify_language=false"]
    left_out = "a run on the folder leaves it out, for it is hidden; named by itself: "
    try:
        verdicts = [explained(capsys, path, "--in", out)["verdict"] for path in hidden]
        alone = explained(capsys, hidden[0], *quick)["verdict"]
    finally:
        shutil.rmtree(hidden[1].parent)
        hidden[0].unlink()
    assert verdicts == [f"{left_out}it would be kept"] * 2
    assert alone == f"{left_out}kept by the rules"


def test_explain_follows_a_link_into_the_source(tmp_path: Path, capsys: Capture) -> None:
    source, out = tmp_path / "notes", tmp_path / "out"
    source.mkdir()
    (source / "own.txt").write_text("This one lies in the folder.\n")
    (tmp_path / "far.txt").write_text("And this one lies elsewhere, where a link leads.\n")
    (source / "link.txt").symlink_to(tmp_path / "far.txt")
    arguments = ["data", "prepare", "--data", str(source), "--out", str(out), "--quiet"]
    assert main([*arguments, *QUICK]) == 0
    told = explained(capsys, source / "link.txt", "--in", out)
    assert told["id"] == "notes/link.txt#0"
    assert told["verdict"].startswith("kept, whole")


def test_candidates_that_were_not_compared_are_told(
    out: Path, stories: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new.txt"
    new.write_text((stories / "07.txt").read_text() + " And so it ended.")
    explain = ["data", "explain", str(new), "--in", str(out)]
    assert main(explain) == 0
    assert "candidates were compared" not in capsys.readouterr().out
    monkeypatch.setattr("groundup.data.compare.MOST_CANDIDATES", 0)
    assert main(explain) == 0
    assert "; only 0 of 1 candidates were compared" in capsys.readouterr().out
