"""`groundup data`: what its commands print and write, killed or not, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import groundup
from groundup.cli import main
from groundup.data.prepare import DataConfig, suited_executor
from groundup.data.reading import SourceConfig
from groundup.runtime import hash_file
from groundup.tokenizer import TokenizerConfig, train_tokenizer

from .data.test_manifest import write_sources

Capture = pytest.CaptureFixture[str]
QUICK = ["--set", "cleaning.identify_language=false", "--set", "heldout_fraction=0.2"]


def refused(capsys: Capture, *arguments: object) -> str:
    """The one line that a user's mistake ends in."""
    assert main([str(argument) for argument in arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("groundup: ")
    assert errors.count("\n") == 1
    return errors.removeprefix("groundup: ").rstrip("\n")


def prepared_stories(folder: Path) -> Path:
    """Data prepared of stories beside it, some of which a rule drops."""
    stories, out = write_sources(folder / "stories", 8), folder / "out"
    rules = ["--set", "cleaning.min_characters=322"]
    arguments = ["data", "prepare", "--data", str(stories), "--out", str(out), "--quiet"]
    assert main([*arguments, *QUICK, *rules]) == 0
    return out


def tree(folder: Path) -> dict[str, str]:
    """Every file but locks, with its hash."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "stories", 8)


def test_a_quality_classifier_is_trained_and_used(
    tmp_path: Path, stories: Path, capsys: Capture
) -> None:
    draw = random.Random(4)
    words = {"good": ["the", "owl", "sat", "and", "sang", "of", "old", "stones"]}
    words["bad"] = ["BUY", "cheap", "pills", "NOW", "click", "winner", "free"]
    for side, known in words.items():
        rows = ({"text": " ".join(draw.choices(known, k=12))} for _ in range(150))
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, bad, classifier = (tmp_path / n for n in ("good.jsonl", "bad.jsonl", "quality.json"))
    arguments = ["--good", str(good), "--bad", str(bad), "--out", str(classifier)]
    assert main(["data", "quality", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "of those it calls good, 100.0% are" in printed
    assert "speaks for bad: " in printed
    assert f"--set cleaning.classifier={classifier}" in printed
    assert main(["data", "quality", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["precision"] == 1.0
    assert told["n_good"] + told["n_bad"] > 30
    assert dict(told["strongest"])

    out = tmp_path / "out"
    both = ["--data", str(good), "--data", str(bad), "--out", str(out), "--json"]
    sets = [*QUICK, "--set", f"cleaning.classifier={classifier}", "--set", "dedup.near=null"]
    assert main(["data", "prepare", *both, *sets]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert counts["removed"]["poor_quality"]["n"] == 150
    assert sum(counts["sources"]["good"]["documents"][s]["n"] for s in ("train", "heldout")) == 150
    assert sum(counts["sources"]["bad"]["documents"][s]["n"] for s in ("train", "heldout")) == 0

    one = tmp_path / "one.txt"
    one.write_text("A single text.")
    found = refused(capsys, "data", "quality", "--good", good, "--bad", one, "--out", classifier)
    assert found.startswith("1 bad example leaves none")


def test_processes_are_started_where_they_pay(
    stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(sources=(SourceConfig(path="demo"), SourceConfig(path=str(stories))))
    assert suited_executor(config) == "serial"
    n_bytes = sum(file.stat().st_size for file in stories.rglob("*") if file.is_file())
    monkeypatch.setattr(sys.modules["groundup.data.prepare"], "PROCESSES_FROM_BYTES", n_bytes)
    assert suited_executor(config) == "processes"


def test_prepare_and_verify(tmp_path: Path, stories: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    arguments = ["data", "prepare", "--data", str(stories), "--out", str(out), *QUICK]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if "->" in line]
    assert [line.split()[0] for line in shown] == [
        "read", "clean", "dedup_exact", "dedup_near", "divide",
    ]  # fmt: skip
    assert shown[0].endswith("1 has nul")
    assert shown[2].endswith("1 exact duplicate")
    assert "fingerprint" in lines[-1]
    before = tree(out)

    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert tree(out) == before
    assert main(["data", "verify", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["faults"] == []

    next((out / "documents").glob("train-*")).unlink()
    assert "documents/train-00000.parquet is missing" in refused(capsys, "data", "verify", out)
    assert main([*arguments, "--quiet"]) == 0
    assert tree(out) == before


def test_a_tokenizer_that_is_given(tmp_path: Path, stories: Path, capsys: Capture) -> None:
    texts = [path.read_text() for path in sorted(stories.glob("0*.txt"))]
    tokenizer = train_tokenizer(texts, TokenizerConfig(vocab_size=280))
    tokenizer.save(tmp_path / "mine")
    out = tmp_path / "out"
    arguments = ["data", "prepare", "--data", str(stories), "--out", str(out), *QUICK]
    assert main([*arguments, "--tokenizer", str(tmp_path / "mine"), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert counts["tokens"]["train"] > counts["tokens"]["heldout"] > 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["tokenizer"] == {"hash": tokenizer.fingerprint, "vocab_size": 280}
    assert (out / "tokens" / "train-stories" / "train-00000.bin").is_file()
    assert main([*arguments, "--quiet"]) == 0  # without a tokenizer there are no tokens
    assert not (out / "tokens").exists()


def test_the_data_of_a_recipe(tmp_path: Path, stories: Path, capsys: Capture) -> None:
    recipe = tmp_path / "mine.yaml"
    source = {"path": str(stories), "name": "mine", "weight": 3.0}
    data = {"sources": ["demo", source], "cleaning": {"identify_language": False}}
    sizes = {"n_documents": 40, "n_chats": 30, "n_preferences": 20}
    values = {"name": "mine", "data": data, "demo": sizes, "pretrain": {"tokens": 9}}
    recipe.write_text(json.dumps(values))
    out = tmp_path / "out"
    arguments = ["data", "prepare", "--recipe", str(recipe), "--out", str(out), "--json"]
    assert main([*arguments, "--set", "heldout_fraction=0.2"]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert counts["sources"]["mine"]["weight"] == 3.0
    assert sum(side["n"] for side in counts["sources"]["demo"]["documents"].values()) == 40
    parameters = json.loads((out / "manifest.json").read_text())["parameters"]
    assert parameters["heldout_fraction"] == 0.2
    assert not parameters["cleaning"]["identify_language"]

    other = ["--data", str(stories), "--out", str(tmp_path / "other")]
    assert main([*arguments[:-3], *other, "--json"]) == 0  # other sources, the same settings
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])["sources"]) == ["stories"]
    twice = refused(capsys, "data", "prepare", *other, "--set", "sources=[demo]")
    assert twice == "--data and --set sources name the sources twice; give one of them"
    found = refused(capsys, "data", "prepare", "--out", tmp_path / "other")
    assert found == "give --data PATH, or --recipe FILE with data.sources in it"


def test_what_was_lost_assumed_and_made_again_is_told(tmp_path: Path, capsys: Capture) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    rows = [{"text": f"Row {n} tells of owl {n * n}."} for n in range(40)]
    (mine / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (mine / "sms.tsv").write_text("ham\tOk lar\nspam\tWin a prize now\n")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    (mine / "chats.jsonl").write_text((json.dumps({"messages": turns}) + "\n") * 3)
    french = "Les élèves étaient à l'école où ils ont mangé des gâteaux très sucrés. " * 9
    (mine / "vieux.txt").write_bytes(french.encode("cp1252"))
    out = tmp_path / "out"
    arguments = ["data", "prepare", "--data", str(mine), "--out", str(out), *QUICK]
    assert main(arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "mine: nothing was read of 1 of its 4 files, 32 bytes; the largest is sms.tsv" in printed
    assert "mine: assumed: encoding cp1252 (1)" in printed
    assert "3 -> 1 chats: 2 exact duplicate" in printed
    stages = {one["name"]: one for one in json.loads((out / "manifest.json").read_text())["stages"]}
    exact = stages["dedup_exact"]
    assert exact["dropped"] == {}
    assert exact["chats_dropped"] == {"exact_duplicate": 2}
    assert exact["chats_bytes_in"] == 3 * exact["chats_bytes_out"] > 0

    assert main(["data", "report", str(out)]) == 0
    assert main([*arguments, "--quiet"]) == 0
    assert (out / "data.html").is_file()  # it is still true
    capsys.readouterr()
    assert main([*arguments, "--set", "heldout_fraction=0.3"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"\d of \d+ parts were made; the others stood", told)
    assert "data.html was of other data and is gone" in told
    assert not (out / "data.html").exists()


def test_a_column_is_named_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "table.csv"
    table.write_text("id,body\n" + "".join(f"{n},Owl {n} ate {n * n}.\n" for n in range(20)))
    arguments = ["data", "prepare", "--data", table, "--out", tmp_path / "out", *QUICK]
    assert "columns found: id, body" in refused(capsys, *arguments)
    assert main([*map(str, arguments), "--column", "body", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sum(side["n"] for side in counts["documents"].values()) == 20
    bare = tmp_path / "bare.tsv"
    bare.write_text("".join(f"ham\tSo said {n} owls of {n * n}.\n" for n in range(20)))
    out = ["--out", str(tmp_path / "bare"), "--json"]
    assert main(["data", "prepare", "--data", str(bare), "--column", "2", *out, *QUICK]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sum(side["n"] for side in counts["documents"].values()) == 20
    assert main(["data", "explain", str(bare), "--column", "2"]) == 0
    assert "1 of 20 in this file" in capsys.readouterr().out
    found = refused(capsys, "data", "prepare", "--recipe", "base", "--out", "x", "--column", "a")
    assert found.startswith("--column is about what --data names")


def test_what_a_user_does_wrong_is_told_in_one_line(
    tmp_path: Path, stories: Path, capsys: Capture
) -> None:
    prepare = ["data", "prepare", "--data", stories, "--out", tmp_path / "out"]
    found = refused(capsys, *prepare, "--set", "cleaning.preest=web")
    assert found == "unknown recipe key data.cleaning.preest; did you mean data.cleaning.preset?"
    found = refused(capsys, *prepare, "--vocab-size", 300, "--tokenizer", tmp_path)
    assert found.endswith("give one of them")
    found = refused(capsys, *prepare, *QUICK, "--vocab-size", 9000)
    assert re.search(r"--vocab-size=9000 is more than .* use --vocab-size \d+ or add text", found)
    (tmp_path / "out" / "stages").rename(tmp_path / "begun")
    (tmp_path / "out").rmdir()
    found = refused(capsys, *prepare, "--address", "head:1")
    assert found.startswith("an address (head:1) is for ray, not for serial")
    found = refused(capsys, "data", "prepare", "--data", tmp_path / "no", "--out", tmp_path / "out")
    assert found.endswith("does not exist; give a file or a folder")
    found = refused(capsys, "data", "prepare", "--data", stories, "--out", stories / "out")
    assert "lies inside the source" in found
    found = refused(capsys, "data", "prepare", "--data", stories, "--out", stories)
    assert "holds something else (00.txt" in found
    assert "holds no prepared data" in refused(capsys, "data", "verify", tmp_path)
    found = refused(capsys, "data", "prepair")
    assert found.startswith("prepair is neither a command of groundup data nor a run folder")
    assert "did you mean prepare?" in found
    assert not (tmp_path / "out").exists()


def started(*arguments: object) -> subprocess.Popen[bytes]:
    source = str(Path(groundup.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "groundup", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path, stories: Path) -> None:
    def arguments(out: Path, *more: str) -> list[object]:
        return ["data", "prepare", "--data", stories, "--out", out, "--vocab-size", 280,
                *QUICK, *more]  # fmt: skip

    assert main([*map(str, arguments(tmp_path / "at once")), "--quiet"]) == 0
    expected = tree(tmp_path / "at once")
    out = tmp_path / "killed"
    draw = random.Random(3)
    n_kills = 0
    for number in range(10):
        more = ("--executor", "processes", "--workers", "2") if number % 3 == 2 else ()
        process = started(*arguments(out, *more))
        n_before = len(list(out.glob("stages/*/*/header.json")))
        goal = n_before + draw.randrange(4)
        while process.poll() is None and len(list(out.glob("stages/*/*/header.json"))) <= goal:
            time.sleep(0.005)
        time.sleep(draw.random() / 10)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            n_kills += 1
        process.communicate()
    assert n_kills >= 3
    last = started(*arguments(out))
    assert (last.communicate()[1], last.returncode) == (b"", 0)
    assert tree(out) == expected


@pytest.mark.exhaustive
def test_each_executor_gives_the_same_bytes(tmp_path: Path, stories: Path) -> None:
    trees = []
    names = ["serial", "processes"]
    if importlib.util.find_spec("ray"):
        names.append("ray")
    for name in names:
        out = tmp_path / name
        more = [] if name == "serial" else ["--workers", "2"]
        arguments = ["data", "prepare", "--data", stories, "--out", out, "--vocab-size", 280,
                     "--executor", name, *more, *QUICK]  # fmt: skip
        process = started(*arguments)
        assert (process.communicate()[1], process.returncode) == (b"", 0)
        trees.append(tree(out))
    assert all(one == trees[0] for one in trees)
