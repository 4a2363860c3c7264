"""`groundup data report`, `peek` and `verify`: what they print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.cli import main
from groundup.data.prepare import DataConfig, prepare

from .test_cli_data import QUICK, prepared_stories, refused

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_stories(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def stories(out: Path) -> Path:
    return out.parent / "stories"


def test_report(out: Path, capsys: Capture) -> None:
    assert main(["data", "report", str(out)]) == 0
    assert (out / "data.html").is_file()
    printed = capsys.readouterr().out
    assert printed.startswith("reading ")
    assert "byte for byte" in printed
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
    assert "nothing at chats with source stories" in line


def test_peek_says_what_it_counts(
    talk_folder: Path, stories: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "talk"
    sources = ["--data", str(talk_folder), "--data", str(stories)]
    cut = ["--set", "split_long_documents_bytes=128"]
    assert main(["data", "prepare", *sources, "--out", str(out), "--quiet", *QUICK, *cut]) == 0
    stages = {one["name"]: one for one in json.loads((out / "manifest.json").read_text())["stages"]}

    def counted(stage: str, *arguments: str) -> str:
        capsys.readouterr()
        assert main(["data", "peek", str(out), "--stage", stage, "-n", "1", *arguments]) == 0
        return capsys.readouterr().out.splitlines()[-1].removesuffix("; --seed shows others")

    for stage in ("read", "dedup_exact"):
        n = {kind: stages[stage][f"{kind}_out"] for kind in ("documents", "chats", "preferences")}
        kinds = f"{n['documents']} documents, {n['chats']} chats and {n['preferences']} preferences"
        assert counted(stage) == f"1 of {sum(n.values())} rows at {stage}: {kinds}"
    n_stories = stages["read"]["documents_out"]
    assert counted("read", "--source", "stories") == f"1 of {n_stories} documents at read"
    assert counted("clean") == f"1 of {stages['clean']['documents_out']} documents at clean"
    n_pieces = stages["divide"]["documents_out"]
    assert n_pieces > stages["divide"]["documents_in"]
    assert counted("documents") == counted("divide") == f"1 of {n_pieces} pieces"
    assert counted("removed", "--reason", "has_nul") == "1 of 1 row removed"
    assert "dedup_near, divide, documents" in refused(capsys, "data", "peek", out, "--stage", "cut")


def test_peek_knows_a_reason_by_its_words(out: Path, capsys: Capture) -> None:
    removed = ["data", "peek", out, "--stage", "removed", "--reason"]
    for name in ("exact duplicate", "Exact-duplicate", "exact_duplicate"):
        capsys.readouterr()
        assert main([*map(str, removed), name, "--json"]) == 0
        [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert row["reason"] == "exact_duplicate"
    assert refused(capsys, *removed, "exact duplicates").endswith("did you mean exact_duplicate?")
    told = refused(capsys, *removed, "boring")
    assert told.endswith("reasons are exact_duplicate, has_nul, near_duplicate, too_few_characters")


def test_peek_refuses_what_is_not_there(out: Path, capsys: Capture) -> None:
    line = refused(capsys, "data", "peek", out, "--stage", "washed")
    assert "there are read, clean, dedup_exact" in line
    line = refused(capsys, "data", "peek", out, "--source", "poems")
    assert "nothing at documents with source poems; sources are stories" in line
    line = refused(capsys, "data", "peek", out, "--reason", "empty")
    assert "add --stage removed" in line


def test_verify_says_how_it_is_mended(stories: Path, tmp_path: Path, capsys: Capture) -> None:
    """And what it says is so."""
    out = tmp_path / "out"
    arguments = ["data", "prepare", "--data", str(stories), "--out", str(out), "--quiet", *QUICK]
    assert main(arguments) == 0
    file = out / "documents" / "train-00000.parquet"
    damaged = bytearray(file.read_bytes())
    damaged[60] ^= 1
    file.write_bytes(bytes(damaged))
    (out / "documents" / "more.txt").write_text("Whose is this?")
    told = refused(capsys, "data", "verify", out)
    assert told.endswith(
        "the same groundup data prepare makes anew what is damaged, and nothing else"
    )
    assert main(arguments) == 0
    assert main(["data", "verify", str(out)]) == 0


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
    (run / "data" / "counts.json").write_text("{}")
    assert f"delete {run / 'data'} and build again" in refused(capsys, "data", "verify", run)
    assert main(["data", "peek", str(run), "--stage", "clean", "-n", "1"]) == 0
    assert "1 of " in capsys.readouterr().out
