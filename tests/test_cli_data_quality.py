"""`groundup data quality`: what it says of examples that are none, or too few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.cli import main

from .test_cli_data import refused

Capture = pytest.CaptureFixture[str]
WORDS = {"good": "the owl sat and sang of old stones", "bad": "BUY cheap pills NOW click winner"}


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, Path]:
    """A hundred rows of each side."""
    for side, words in WORDS.items():
        rows = ({"text": f"{words} {n}"} for n in range(100))
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {side: tmp_path / f"{side}.jsonl" for side in WORDS}


def test_what_was_refused_is_said(sides: dict[str, Path], tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "spam.tsv"
    table.write_text("kind\tsaid\n" + "".join(f"spam\t{WORDS['bad']} {n}\n" for n in range(100)))
    arguments = ["--good", str(sides["good"]), "--bad", str(table), "--out", str(tmp_path / "c")]
    told = refused(capsys, "data", "quality", *arguments)
    assert told.startswith("0 bad examples leave none to train on")
    assert f"refused of --bad {table}: 1 columns not known, such as spam/spam.tsv: columns" in told
    assert "--good" not in told

    with sides["bad"].open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", ')
        file.write('"content": "b"}]}\nno JSON\n')
    arguments = ["--good", str(sides["good"]), "--bad", str(sides["bad"]), *arguments[4:]]
    assert main(["data", "quality", *arguments]) == 0
    told = capsys.readouterr().out
    assert (
        f"refused of --bad {sides['bad']}: 1 not json, such as bad/bad.jsonl#101: line 102" in told
    )
    assert f"1 chat or pair of --bad {sides['bad']} went unused" in told
    assert main(["data", "quality", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["examples"]
    assert found["good"] == {"n": 100, "n_talk": 0, "refused": {}}
    assert found["bad"] == {"n": 100, "n_talk": 1, "refused": {"not_json": 1}}


def test_the_column_of_tables_is_named(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["--out", str(tmp_path / "c.json"), "--column", "said"]
    for side, words in WORDS.items():
        rows = "".join(f"{side},{words} {n}\n" for n in range(100))
        (tmp_path / f"{side}.csv").write_text(f"kind,said\n{rows}")
        arguments += [f"--{side}", str(tmp_path / f"{side}.csv")]
    assert main(["data", "quality", *arguments]) == 0
    assert "of those it calls good, 100.0% are" in capsys.readouterr().out


def test_a_file_of_many_lines_is_one_example(
    sides: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    lines = tmp_path / "good.txt"
    lines.write_text("".join(f"{WORDS['good']} {n}\n" for n in range(390)))
    arguments = ["--good", lines, "--bad", sides["bad"], "--out", tmp_path / "c.json"]
    told = refused(capsys, "data", "quality", *arguments)
    assert told.startswith("1 good example leaves none to ")
    assert f"--good {lines} is 1 example with 390 lines; if each line is one, write it as" in told
