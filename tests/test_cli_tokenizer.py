"""The commands of `groundup tokenizer` from end to end, and what is said of a wrong input."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.cli import main
from groundup.report.tokenizer_page import NAMES
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.laboratory import replay

from .test_cli import refused
from .tokenizer.conftest import SMALL_TEXTS

Capture = pytest.CaptureFixture[str]
STORY = "The miller walked to the river, and the river was wide and cold.\n"
LINES = [f"{STORY}Number {i}: {SMALL_TEXTS[i % len(SMALL_TEXTS)]}" for i in range(60)]
NASTY = 'a <|endoftext|>\r\n\tZ\u0301 é 中 \U0001f469\u200d\U0001f467 "\\'


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of text in two sub-folders, of three kinds of file, and one that is no text."""
    folder = tmp_path_factory.mktemp("texts") / "my texts"
    for name, lines in (("tales", LINES[:30]), ("notes", LINES[30:])):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.txt").write_text("\n\n".join(lines), encoding="utf-8")
    rows = [{"text": "A row of text, and the river."}, {"messages": "no chat"}]
    (folder / "notes" / "b.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pq.write_table(pa.table({"text": LINES[:5]}), folder / "tales" / "c.parquet")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n")
    return folder


@pytest.fixture(scope="module")
def trained(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "tok"
    assert main(["tokenizer", "train", "--data", str(texts), "--vocab-size", "340", "--out",
                 str(out), "--quiet"]) == 0  # fmt: skip
    return out


def run(capsys: Capture, *arguments: str | Path) -> str:
    """What a command prints, which must succeed."""
    code = main(["tokenizer", *map(str, arguments)])
    found = capsys.readouterr()
    assert code == 0, found.err
    assert found.err == ""
    return found.out


def type_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


# --- train ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "size"), [("bpe", 320), ("wordpiece", 560), ("unigram", 300)]
)
def test_training_is_done_once_and_then_known(
    algorithm: str, size: int, texts: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "tok"
    arguments = ("train", "--data", texts, "--algorithm", algorithm, "--vocab-size", size,
                 "--pattern", "gpt2", "--out", out)  # fmt: skip
    told = run(capsys, *map(str, arguments))
    assert f"learned: {algorithm}, {size} tokens" in told
    assert "left out 1 files of other endings: 1 x .png" in told
    assert "1 rows left out" in told
    tokenizer = Tokenizer.load(out)
    assert (tokenizer.algorithm, tokenizer.vocab_size) == (algorithm, size)
    assert tokenizer.decode(tokenizer.encode(NASTY)) == NASTY
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    assert f"done before: {algorithm}" in run(capsys, *map(str, arguments))
    after = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    assert {**before, ".lock": 0} == {**after, ".lock": 0}


def test_training_as_json_ends_with_the_result(
    texts: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "tok"
    printed = run(capsys, "train", "--data", texts, "--vocab-size", "300", "--out", out, "--json")
    *events, result = map(json.loads, printed.splitlines())
    assert {"stage", "message"} <= {event["event"] for event in events}
    assert result["vocab_size"] == 300
    assert result["fingerprint"] == Tokenizer.load(out).fingerprint
    assert result["out"] == str(out)


def test_a_finished_folder_is_not_trained_over(texts: Path, trained: Path, capsys: Capture) -> None:
    told = refused(capsys, "tokenizer", "train", "--data", texts, "--vocab-size", "341", "--out",
                   trained)  # fmt: skip
    assert "holds a finished tokenizer of vocab_size=340, not 341; give another --out" in told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--vocab-size", "90000"], r"--vocab-size=90000 is more than the text supports \(it "
         r"yields \d+ tokens\); use --vocab-size \d+ or add text"),
        (["--vocab-size", "100"], "vocab_size=100 must be at least 260.*; try vocab_size=1024"),
        (["--pattern", "qwen3"], "--pattern qwen3 is none of .*gpt2.*; did you mean qwen2"),
        (["--pattern", "words"], "--pattern words is none of .*, or give a regular expression"),
        (["--pattern", "("], "pattern.*\\("),
        (["--min-count", "0"], "min_count=0 must be at least 1"),
        (["--data", "nowhere"], "--data nowhere does not exist; give a file or a folder"),
    ],
)  # fmt: skip
def test_a_training_that_cannot_be_is_refused(
    more: list[str], message: str, texts: Path, tmp_path: Path, capsys: Capture
) -> None:
    told = refused(capsys, "tokenizer", "train", "--data", texts, "--out", tmp_path / "tok", *more)
    assert re.search(message, told), told
    assert not (tmp_path / "tok" / "tokenizer.json").exists()


def test_an_algorithm_that_there_is_not_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert main(["tokenizer", "train", "--data", ".", "--algorithm", "bep", "--out", "x"]) == 2
    told = capsys.readouterr().err
    assert "'bep' is not one of" in told
    assert "'unigram'" in told


def bad_folders(tmp_path: Path) -> dict[str, Path]:
    """Data without text: an empty folder, one of other files, bytes, an empty file."""
    found = {name: tmp_path / name for name in ("empty", "other", "bytes", "void")}
    for folder in found.values():
        folder.mkdir()
    (found["other"] / "a.png").write_bytes(b"\x89PNG")
    (found["bytes"] / "a.txt").write_bytes(b"\x89\x00\xff\x01" * 100)
    (found["void"] / "a.txt").write_bytes(b"")
    return found


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize("kind", ["empty", "other", "bytes", "void"])
def test_data_without_text_is_refused(
    command: str, kind: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = bad_folders(tmp_path)[kind]
    out = ["--out", str(tmp_path / "out")]
    told = refused(capsys, "tokenizer", command, "--data", folder, *out)
    assert str(folder) in told or "add text" in told or "too little text" in told, told
    assert not (tmp_path / "out" / "tokenizer.json").exists()


# --- encode and decode ----------------------------------------------------------------------------


def test_encoding_and_decoding_give_the_text_back(
    trained: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Tokenizer.load(trained)
    file = tmp_path / "text.txt"
    file.write_bytes(NASTY.encode())
    by_file = run(capsys, "encode", trained, "--file", file, "--json")
    found = json.loads(by_file)
    assert found == {
        "ids": tokenizer.encode(NASTY),
        "tokens": [tokenizer.token_string(i) for i in tokenizer.encode(NASTY)],
    }
    for arguments in (("--file", "-"), ("-",), ()):
        type_in(monkeypatch, NASTY.encode())
        assert run(capsys, "encode", trained, *arguments, "--json") == by_file
    assert run(capsys, "encode", trained, NASTY).split() == list(map(str, found["ids"]))
    (tmp_path / "ids.json").write_text(by_file, encoding="utf-8")
    ids = " ".join(map(str, found["ids"]))
    for given in (ids, ids.replace(" ", ","), str(found["ids"]), tmp_path / "ids.json"):
        assert run(capsys, "decode", trained, "--ids", given) == NASTY
    type_in(monkeypatch, by_file.encode())
    assert json.loads(run(capsys, "decode", trained, "--ids", "-", "--json")) == {"text": NASTY}
    assert run(capsys, "decode", trained, "--ids", "39 68 75 75 78") == "Hello"  # README's
    assert run(capsys, "decode", trained, "72", "256") == tokenizer.decode([72, 256])
    assert json.loads(run(capsys, "encode", trained, "", "--json")) == {"ids": [], "tokens": []}


def test_a_file_is_a_tokenizer_as_well_as_a_folder(trained: Path, capsys: Capture) -> None:
    found = run(capsys, "encode", trained, STORY)
    assert run(capsys, "encode", trained / "tokenizer.json", STORY) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "nowhere", "x"], "nowhere"),
        (["encode", "TOK", "x", "--file", "y"], "give a text or a --file, not both"),
        (["encode", "TOK", "--file", "nowhere.txt"], "nowhere.txt cannot be read (No such file"),
        (["encode", "TOK", "--file", "BYTES"], "is not UTF-8 at byte 1; save it as UTF-8 first"),
        (["encode", "BYTES", "x"], "bytes.txt"),
        (["decode", "TOK"], 'decode needs ids: --ids "72 101", --ids FILE or --ids -'),
        (["decode", "TOK", "--ids", "1 340"], "340"),
        (["decode", "TOK", "--ids", "1.5"], "1.5 cannot be read (No such file"),
        (["decode", "TOK", "--ids", '{"id": [1]}'], "an object without ids"),
        (["decode", "TOK", "--ids", "BYTES"], "is not UTF-8"),
        (["decode", "TOK", "--ids", "WORDS"], "--ids takes whole numbers, such as 72 101"),
        (["inspect", "TOK", "--data", "nowhere"], "--data nowhere does not exist"),
        (["play", "TOK", "--out", "FOLDER"], "is a folder; give a file, such as"),
        (["trian"], "neither a command of groundup tokenizer nor a run folder; did you mean train"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], message: str, trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"a\xff\x00")
    (tmp_path / "words.txt").write_text("one two", encoding="utf-8")
    places = {"TOK": trained, "BYTES": tmp_path / "bytes.txt", "WORDS": tmp_path / "words.txt",
              "FOLDER": tmp_path}  # fmt: skip
    told = refused(capsys, "tokenizer", *(str(places.get(one, one)) for one in arguments))
    assert message in told


# --- inspect and play -----------------------------------------------------------------------------


def test_an_inspection_says_what_it_is_and_what_it_does(
    trained: Path, texts: Path, capsys: Capture
) -> None:
    told = run(capsys, "inspect", trained)
    assert "bpe, on bytes" in told
    assert "bytes/" not in told
    measured = run(capsys, "inspect", trained, "--data", texts)
    for expected in ("Latin", "Chinese", "tales", "notes", "rarest", "uses"):
        assert expected in measured
    assert max(map(len, measured.splitlines())) <= 100  # 80 where the terminal is not wider
    found = json.loads(run(capsys, "inspect", trained, "--data", texts, "--json"))
    assert found["tokenizer"]["vocab_size"] == 340
    assert {part["name"] for part in found["measured"]["sources"]} == {"tales", "notes"}
    assert found["support"]["n_learnt"] == 340 - 256 - 3


def test_playing_shows_tokens_ids_and_steps(
    trained: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Tokenizer.load(trained)
    told = run(capsys, "play", trained, "the river")
    assert f"ids: {' '.join(map(str, tokenizer.encode('the river')))}" in told
    for step in replay(tokenizer, b" river"):
        assert step.told in told
    type_in(monkeypatch, b"the river\nthe river\n")
    assert run(capsys, "play", trained) == told * 2 + "\n"
    assert "page: " in run(capsys, "play", trained, "--out", tmp_path / "play.html")
    assert "makeTokenizer" in (tmp_path / "play.html").read_text(encoding="utf-8")


# --- compare --------------------------------------------------------------------------------------


def compared(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    return dict(json.loads(run(capsys, "compare", *arguments, "--json")))


def test_a_comparison_names_one_and_says_why(
    texts: Path, trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    asked = ("--data", texts, "--vocab-sizes", "300,320", "--algorithms", "bpe,unigram",
             "--reference", trained)  # fmt: skip
    told = run(capsys, "compare", *asked, "--out", tmp_path / "page.html")
    found = compared(capsys, *asked)
    chosen = found["recommendation"]
    answer = f"Take {NAMES[chosen['algorithm']]} with {chosen['vocab_size']} tokens"
    assert f"{answer}." in told
    assert "left out 0" not in told
    assert f"--vocab-size {chosen['vocab_size']}" in told
    names = [one["name"] for one in found["tried"]]
    assert names == ["bpe 300", "bpe 320", "unigram 300", "unigram 320", "tok"]
    assert {part["name"] for part in found["sources"]} == {"tales", "notes"}
    assert "passages" not in found
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert answer in page
    # what is recommended can be trained with the words that are printed
    assert main(["tokenizer", "train", "--data", str(texts), "--vocab-size",
                 str(chosen["vocab_size"]), "--algorithm", chosen["algorithm"], "--out",
                 str(tmp_path / "tok"), "--quiet"]) == 0  # fmt: skip


def test_what_is_kept_gives_the_same_comparison(
    texts: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--data", texts, "--vocab-sizes", "300,320", "--algorithms", "bpe,unigram")
    plain = compared(capsys, *asked)
    keep = ("--keep", tmp_path / "kept")
    first = compared(capsys, *asked, *keep)
    assert first == plain
    (place,) = (tmp_path / "kept").iterdir()
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    second = compared(capsys, *asked, *keep)
    assert second == plain
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before
    # a damaged file is made again, another way of cutting has a place of its own
    (place / "held_out.jsonl").write_text("{", encoding="utf-8")
    (place / "unigram-300-chatml" / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert compared(capsys, *asked, *keep) == plain
    compared(capsys, *asked, *keep, "--pattern", "gpt2")
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--vocab-sizes", "eight"], "--vocab-sizes eight is no number of tokens; try 8k or 8192"),
        (["--vocab-sizes", "4096,64k"], "no vocabulary of 65536, 4096 tokens can be learnt"),
        (["--algorithms", "bep"], "--algorithms bep is none of bpe, wordpiece, unigram"),
        (["--corpus-size", "much"], "--corpus-size much is no amount of text; try 500MB or 10GB"),
        (["--model-size", "big"], "--model-size: "),
        (["--reference", "nowhere"], "nowhere"),
        (["--pattern", "("], "pattern"),
        (["--keep", "FILE"], "is a file; give a folder"),
        (["--data", "nowhere"], "--data nowhere does not exist"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(
    more: list[str], message: str, texts: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    more = [str(tmp_path / "file") if one == "FILE" else one for one in more]
    told = refused(capsys, "tokenizer", "compare", "--data", texts, *more)
    assert message in told
