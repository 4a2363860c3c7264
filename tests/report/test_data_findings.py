"""A folder of many kinds: what its page says is so, for each version of the manifest."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from groundup.data.manifest import read_manifest
from groundup.data.prepare import DataConfig, prepare
from groundup.report.data_facts import DataFacts, facts_of
from groundup.report.data_figures import drops, ends, lost_by_source
from groundup.report.data_findings import findings
from groundup.report.data_findings_text import hardest_hit
from groundup.report.data_flow import flow, lost_of_all
from groundup.report.data_measured import Language
from groundup.report.data_page import write_data_page
from groundup.report.data_stages import NAMES
from groundup.report.data_tables import sources
from groundup.report.data_went import guesses, hits, reasons, unread_files
from groundup.report.data_words import share

from .test_page import text_of

PIECE_BYTES = 4096
N_TEXTS, N_FORUM, N_LEAKED, N_CHATS, N_CHATS_LEAKED, N_PAIRS = 30, 6, 5, 12, 2, 7
WORDS = [a + b for a in ("ba", "ku", "mi", "ro", "se", "to") for b in ("lan", "pek", "rid", "sum")]


def words(n: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=n))


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_mixed(place: Path) -> tuple[list[Path], list[Path]]:
    """Sources and evaluation sets: a giant, a forum full of items, chats, and what is not read."""
    folders = [place / name for name in ("web", "forum", "talk", "tables")]
    for folder in folders:
        folder.mkdir(parents=True)
    web, forum, talk, tables = folders
    for n in range(N_TEXTS):
        (web / f"{n:02d}.txt").write_text(f"Page {n}. {words(60, n)}.\n")
    (web / "old.txt").write_text(f"Große {words(60, 99)}.\n", encoding="utf-16")
    (web / "app.min.js").write_text("".join(f"var x{n}={n * n};f(x{n}," for n in range(1500)))
    items = {
        name: [words(20, 1000 * k + n) for n in range(8)]
        for k, name in enumerate(("sums", "goals"), 1)
    }
    sets = []
    for name, questions in items.items():
        sets.append(place / f"{name}.jsonl")
        _write_lines(sets[-1], [{"question": one} for one in questions])
    for n in range(N_FORUM):
        leaked = items["sums" if n % 2 else "goals"][n] if n < N_LEAKED else ""
        (forum / f"thread{n}.txt").write_text(f"Thread {n}: {words(40, 500 + n)}. {leaked}\n")
    said = [words(15, 700 + n) for n in range(N_CHATS)]
    said[:N_CHATS_LEAKED] = items["sums"][6 : 6 + N_CHATS_LEAKED]
    chats = [
        [{"role": "user", "content": one}, {"role": "assistant", "content": "Yes."}] for one in said
    ]
    _write_lines(talk / "mine.jsonl", [{"messages": one} for one in [*chats, chats[-1]]])
    pairs = [
        {"prompt": words(9, 800 + n), "chosen": "Yes.", "rejected": "No."} for n in range(N_PAIRS)
    ]
    _write_lines(talk / "pairs.jsonl", pairs)
    (tables / "large.tsv").write_text("kind\tsaid it\n" + "ham\tgood morning\n" * 900)
    _write_lines(tables / "small.jsonl", [{"title": str(n)} for n in range(20)])
    (tables / "picture.jpg").write_bytes(b"\xff\xd8")
    return folders, sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared; to be read, never written."""
    place = tmp_path_factory.mktemp("mixed")
    folders, sets = write_mixed(place)
    config = DataConfig(
        sources=[str(one) for one in folders],
        reading={"piece_bytes": PIECE_BYTES},
        dedup={"near": None},
        decontamination={"benchmarks": [{"path": str(one)} for one in sets]},
    )
    prepare(config, place / "out")
    return place / "out"


@pytest.fixture(scope="module")
def facts(folder: Path) -> DataFacts:
    return facts_of(folder)


@pytest.fixture(scope="module")
def bare(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DataFacts:
    """The same without what the stages made, which may be deleted."""
    copy = tmp_path_factory.mktemp("bare") / "out"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("stages"))
    return facts_of(copy)


# --- files ----------------------------------------------------------------------------------------


def test_a_file_that_is_most_of_the_text_is_named(facts: DataFacts) -> None:
    web = Path(facts.manifest["sources"][0]["path"])
    size = (web / "app.min.js").stat().st_size
    assert size > 3 * PIECE_BYTES
    n_bytes = next(s for s in facts.manifest["stages"] if s["name"] == "divide")["bytes_out"]
    told = next(one for one in findings(facts) if "app.min.js" in one)
    assert told.startswith(
        f"One file, web/app.min.js, holds {share(size / n_bytes)} of the text left"
    )
    assert facts.largest[0].n_bytes == size


def test_a_text_that_was_read_in_parts_is_one_document_of_its_length(facts: DataFacts) -> None:
    assert facts.lengths_read is not None
    web = Path(facts.manifest["sources"][0]["path"])
    assert facts.lengths_read.longest == len((web / "app.min.js").read_text())
    n_read = ends(facts)[0]
    assert facts.n_cut == 1
    assert facts.lengths_read.n == N_TEXTS + 2 + N_FORUM < n_read
    assert facts.lengths_read.median < facts.lengths_read.median_of_text


def test_files_of_which_nothing_was_read_are_told_in_bytes(facts: DataFacts) -> None:
    tables = Path(facts.manifest["sources"][3]["path"])
    sizes = {name: (tables / name).stat().st_size for name in ("large.tsv", "small.jsonl")}
    told = unread_files(facts)
    assert [one["path"] for one in told["files"]] == ["tables/large.tsv", "tables/small.jsonl"]
    assert findings(facts)[0].startswith("2 files gave nothing: ")
    assert "tables/large.tsv (" in findings(facts)[0]
    assert findings(facts)[0].endswith("More than half of tables is in such files.")
    about = facts.manifest["sources"][3]["unread"]
    assert (about["files"], about["bytes"]) == (2, sum(sizes.values()))


def test_examples_of_refusals_are_of_different_files_the_largest_first(facts: DataFacts) -> None:
    [one] = [one for one in facts.reasons if one.reason == "columns_not_known"]
    names = [row["id"].partition("#")[0] for row in one.examples]
    assert names == ["tables/large.tsv", "tables/small.jsonl"]
    assert one.n > len(names)


def test_guessed_encodings_are_told(facts: DataFacts) -> None:
    assert guesses(facts) == [{"note": "encoding utf-16-le", "n": "1", "where": "web 1"}]
    assert any(
        "1 file is not UTF-8" in one and "utf-16-le (1), in web" in one for one in findings(facts)
    )


# --- kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["facts", "bare"])
def test_chats_are_not_counted_as_documents(version: str, request: pytest.FixtureRequest) -> None:
    facts = request.getfixturevalue(version)
    assert lost_by_source(facts)["talk"] == (0, 0)
    assert lost_by_source(facts)["forum"] == (N_LEAKED, N_FORUM)
    kinds = {one.reason: one.kinds for one in drops(facts)}
    assert kinds["contaminated_document"] == {"documents": N_LEAKED, "chats": N_CHATS_LEAKED}
    assert kinds["exact_duplicate"] == {"documents": 0, "chats": 1}
    n_in, n_out = ends(facts)
    assert sum(one.get("documents", 0) for one in kinds.values()) == n_in - n_out
    assert lost_of_all(facts) == f"{N_LEAKED} of {n_in} documents, 3 of {N_CHATS + 1} chats"


def test_a_file_of_both_kinds_is_told_apart(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    rows: list[Any] = [{"text": words(50, n)} for n in range(20)]
    rows += [{"text": words(50, n)} for n in range(5)] + [{"messages": turns}] * 6
    _write_lines(tmp_path / "mixed.jsonl", rows)
    prepare(DataConfig(sources=[str(tmp_path / "mixed.jsonl")]), tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    [told] = [one for one in drops(facts) if one.reason == "exact_duplicate"]
    assert told.kinds == {"documents": 5, "chats": 5}
    assert lost_by_source(facts)["mixed"] == (5, 25)


@pytest.mark.parametrize("version", ["facts", "bare"])
def test_the_stream_says_what_went_of_each_kind(
    version: str, request: pytest.FixtureRequest
) -> None:
    rows = {row["name"]: row for row in flow(request.getfixturevalue(version))}
    assert rows["drop evaluation items"]["lost"] == "\u22125 documents, \u22122 chats"
    assert rows["drop exact copies"]["lost"] == "\u22121 chat"
    n_files = N_TEXTS + 2 + N_FORUM + 2 + 2  # the picture is not read
    assert rows["read"]["figures"].startswith(f"{n_files} files of ")


def test_the_most_frequent_reason_is_that_of_documents(tmp_path: Path) -> None:
    source = tmp_path / "all"
    source.mkdir()
    said = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    }
    _write_lines(source / "chats.jsonl", [said] * 40)
    for n in range(9):
        (source / f"{n}.txt").write_text(words(5 if n < 3 else 50, n))
    (source / "same.txt").write_text(words(50, 8))
    config = DataConfig(sources=[str(source)], cleaning={"min_characters": 60})
    prepare(config, tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    assert drops(facts)[0].reason == "exact_duplicate"
    told = " ".join(findings(facts))
    assert (
        "The most frequent reason is “too few characters” (characters: below 60): 3, all in all."
        in told
    )
    assert "So were 39 chats." in told


def test_a_source_of_chats_is_not_gone(facts: DataFacts, bare: DataFacts) -> None:
    for one in (facts, bare):
        assert "Nothing at all is left of tables." in findings(one)
        row = next(row for row in sources(one) if row["name"] == "talk")
        assert (row["left"], row["talk"]) == (
            "none",
            f"{N_CHATS - N_CHATS_LEAKED} chats, {N_PAIRS} preference pairs",
        )


def test_what_the_reasons_count_is_what_the_manifest_counts(facts: DataFacts, folder: Path) -> None:
    found: dict[tuple[str, str, str], int] = {}
    for stage in read_manifest(folder)["stages"]:
        for kind in NAMES:
            name = "dropped" if kind == "documents" else f"{kind}_dropped"
            found |= {(stage["name"], r, kind): n for r, n in stage.get(name, {}).items()}
    told = {(one.stage, one.reason, kind): n
            for one in facts.reasons for kind, n in one.kinds.items() if n}  # fmt: skip
    assert not [one for one in facts.reasons if one.is_cut]
    assert told == found


# --- losses ---------------------------------------------------------------------------------------


def test_a_small_source_that_loses_most_is_told(facts: DataFacts) -> None:
    [told] = [one for one in findings(facts) if one.startswith("forum lost")]
    assert told == (
        f"forum lost {N_LEAKED} of the {N_FORUM} documents read of it (83%), all for "
        "“contaminated document”."
    )


def test_contamination_says_what_was_done_and_shows_each_set(facts: DataFacts) -> None:
    told = [one for one in findings(facts) if "items of the evaluation set" in one]
    assert len(told) == 2
    assert all(one.endswith("they were dropped.") for one in told)
    shown = {one["name"]: one["examples"] for one in hits(facts)}
    assert set(shown) == {"sums", "goals"}
    for name, examples in shown.items():
        assert examples
        assert all(f"shares words with {name} " in one["detail"] for one in examples)


def test_what_was_cut_out_is_not_said_to_be_dropped(tmp_path: Path) -> None:
    source, item = tmp_path / "texts", words(20, 1)
    source.mkdir()
    for n in range(9):
        around = [f"{words(90, 2 * n + k)}." for k in (100, 101)]
        (source / f"{n}.txt").write_text(f"\n\n{item}.\n\n".join(around) if n < 2 else around[0])
    _write_lines(tmp_path / "sums.jsonl", [{"question": item}])
    config = DataConfig(
        sources=[str(source)],
        decontamination={"benchmarks": [{"path": str(tmp_path / "sums.jsonl")}], "action": "span"},
    )
    prepare(config, tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    [told] = [one for one in findings(facts) if "items of the evaluation set" in one]
    assert told.startswith("2 texts give away 1 of the 1 items")
    assert "the words were cut out" in told
    assert ends(facts) == (9, 9)
    [cut] = [one for one in facts.reasons if one.is_cut]
    assert (cut.reason, cut.n) == ("contaminated_span", 2)


def test_all_that_was_dropped_is_in_the_list(facts: DataFacts) -> None:
    told = reasons(drops(facts), facts)
    names = {one["name"] for one in [*told["shown"], *told["rarer"]]}
    assert names == {"contaminated document", "exact duplicate"}
    [one] = [one for one in told["shown"] if one["name"] == "contaminated document"]
    assert one["n"] == "5 documents, 2 chats"
    assert one["share"] == share(7 / (ends(facts)[0] + N_CHATS + 1))


def test_languages_nobody_asked_for_are_no_fault_of_the_rules() -> None:
    english, chinese = Language("en", 1000, 9, 10), Language("zh", 40, 9, 40, n_unwanted=40)
    assert hardest_hit([english, chinese]) is None
    some = Language("zh", 80, 9, 70, n_unwanted=40)
    worst = hardest_hit([english, some])
    assert worst is some
    assert worst.rate == 30 / 40


def test_a_language_that_was_not_asked_for_is_no_warning(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    for n in range(24):
        english = f"This is story number {n}, which was told by the old man at the mill. "
        chinese = f"这是第{n}个故事，是磨坊里的老人讲给孩子们听的。"
        (source / f"en{n}.txt").write_text(english * 2)
        (source / f"zh{n}.txt").write_text(chinese * 3, encoding="utf-8")
    cleaning = {"languages": ["en"], "max_characters": 100_000}
    config = DataConfig(sources=[str(source)], cleaning=cleaning, dedup={"near": None})
    prepare(config, tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    [one] = drops(facts)
    assert (one.reason, one.n) == ("other_language", 24)
    assert not [told for told in findings(facts) if told.startswith("The rules drop")]


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["facts", "bare"])
def test_the_page_is_made_with_the_stages_and_without(
    version: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    facts = request.getfixturevalue(version)
    page = text_of(write_data_page(facts, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "5 documents, 2 chats" in page
    assert "groundup data prepare" in page
    assert "Files of which nothing was read" in page
    assert "What was guessed" in page
