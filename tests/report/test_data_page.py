"""The page of prepared data: the answer first, every count as the manifest's, nothing trusted."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from groundup.data.manifest import read_manifest
from groundup.data.prepare import DataConfig, TokenizerChoice, prepare
from groundup.data.table import rows_of
from groundup.report.data_charts import stream
from groundup.report.data_facts import DataFacts, facts_of
from groundup.report.data_figures import ends, lost_by_source
from groundup.report.data_findings import findings, headline
from groundup.report.data_page import write_data_page
from groundup.report.data_words import plain
from groundup.runtime import DataError, GroundupError
from groundup.tokenizer import TokenizerConfig
from groundup.tokenizer.counts import CountConfig

from ..data.test_manifest import write_sources
from .test_page import TagBalance, text_of

PIECE = re.compile(r"#\d+\.\d+$")
NASTY = "<script>alert(1)</script> "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data with a refusal, a copy, a near copy, and a dropped text with tags in it."""
    place = tmp_path_factory.mktemp("page")
    source = write_sources(place / "stories")
    (source / "nasty.txt").write_text(NASTY * 40)
    config = DataConfig(
        sources=[{"path": str(source), "licence": "CC0-1.0"}],
        heldout_fraction=0.2,
        cleaning={"identify_language": False, "max_characters": 500},
    )
    counting = CountConfig(n_workers=1)
    choice = TokenizerChoice(config=TokenizerConfig(vocab_size=300, counting=counting))
    prepare(config, place / "out", tokenizer=choice)
    return place / "out"


@pytest.fixture(scope="module")
def facts(folder: Path) -> DataFacts:
    return facts_of(folder)


def test_what_is_told_is_what_the_manifest_counts(facts: DataFacts, folder: Path) -> None:
    stages = read_manifest(folder)["stages"]
    for stage in stages:
        for reason, n in stage["dropped"].items():
            [told] = [r for r in facts.reasons if (r.stage, r.reason) == (stage["name"], reason)]
            assert told.n == n == sum(told.sources.values())
            assert 0 < len(told.examples) <= n
    dropped = {stage["name"]: stage["dropped"] for stage in stages}
    assert facts.exact.n_removed == dropped["dedup_exact"]["exact_duplicate"] == 1
    assert facts.near.n_removed == dropped["dedup_near"]["near_duplicate"]
    assert facts.lengths.n == stages[-1]["documents_out"]
    assert facts.lengths.total == stages[-1]["bytes_out"]
    assert facts.lengths.longest >= facts.lengths.median > 0
    assert facts.rules is not None
    [rule] = facts.rules
    assert (rule.reason, rule.limit, rule.n_beyond) == ("too_many_characters", 500, 1)


def test_the_page_begins_with_the_answer_and_is_whole(facts: DataFacts, tmp_path: Path) -> None:
    page = write_data_page(facts, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<h1>{headline(facts)}</h1>" in page
    told = text_of(page)
    for reason in facts.reasons:
        assert plain(reason.reason) in told
    parser = TagBalance()
    parser.feed(page)
    assert not parser.open
    assert "script" not in parser.tags
    assert NASTY not in page
    assert "&lt;script&gt;" in page
    assert not [v for _, v in parser.attributes if v.startswith(("http", "//", "data:"))]
    assert "default-src 'none'" in page


def test_findings_name_copies_and_the_first_reason(facts: DataFacts) -> None:
    found = " ".join(findings(facts))
    assert plain(facts.reasons[0].reason) in found
    assert "1 the same byte for byte" in found


def test_without_the_stages_what_they_measured_is_missing(folder: Path, tmp_path: Path) -> None:
    stages = folder / "stages"
    stages.rename(tmp_path / "stages")
    try:
        facts = facts_of(folder)
        page = write_data_page(facts, tmp_path / "page.html").read_text(encoding="utf-8")
    finally:
        (tmp_path / "stages").rename(stages)
    assert facts.rules is None
    assert facts.languages is None
    assert facts.exact.n_removed == 1
    assert "languages unknown" in page


def test_chats_are_told_where_there_are_some(tmp_path: Path) -> None:
    chats, texts = tmp_path / "chats.jsonl", tmp_path / "texts.jsonl"
    talk = [{"role": "user", "content": "Hi {n}"}, {"role": "assistant", "content": "Hello."}]
    with chats.open("w") as file:
        for n in range(30):
            said = [{**turn, "content": turn["content"].replace("{n}", str(n))} for turn in talk]
            file.write(json.dumps({"messages": said}) + "\n")
    texts.write_text("".join(json.dumps({"text": f"Text number {n}."}) + "\n" for n in range(9)))
    for name, sources in (("alone", [chats]), ("both", [chats, texts])):
        prepare(DataConfig(sources=[str(source) for source in sources]), tmp_path / name)
    alone, both = (facts_of(tmp_path / name) for name in ("alone", "both"))
    assert headline(alone) == "No documents, but 30 chats"
    page = text_of(write_data_page(alone).read_text(encoding="utf-8"))
    assert "0 of 30 chats" in page
    assert "100%" not in page.partition("From files")[0]
    assert "in a piece" not in page
    assert "No documents, but 30 chats" in text_of(
        write_data_page(alone).read_text(encoding="utf-8")
    )
    assert headline(both) == "All 9 documents are left"
    assert "Beside the documents there are 30 chats" in " ".join(findings(both))


def test_what_is_no_prepared_data_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no prepared data"):
        facts_of(tmp_path)
    with pytest.raises(GroundupError, match=r"is a folder; give a file, such as .*data\.html"):
        write_data_page(facts_of(folder), tmp_path)


def test_a_stream_that_loses_nothing_has_no_branch() -> None:
    assert "branch" not in stream(0.5, 0.5, title="t")
    assert 'class="branch"' in stream(0.5, 0.25, title="t")
    widths = [float(x) for x in re.findall(r"H([\d.]+) V100", stream(1, 0.25, title="t"))]
    full = [float(x) for x in re.findall(r"H([\d.]+) V100", stream(1, 1, title="t"))]
    assert widths == [full[0] / 4]


def test_figures_agree_with_the_files(facts: DataFacts, folder: Path) -> None:
    documents = [row for path in (folder / "documents").glob("*.parquet") for row in rows_of(path)]
    lengths = sorted(len(row["text"].encode()) for row in documents)
    assert (facts.lengths.n, facts.lengths.longest) == (len(lengths), lengths[-1])
    middle = lengths[(len(lengths) - 1) // 2]
    assert abs(facts.lengths.median - middle) <= 0.05 * middle
    wholes = {row["id"].rpartition(".")[0] if PIECE.search(row["id"]) else row["id"]
              for row in documents}  # fmt: skip
    assert facts.n_left.total() == len(wholes)
    assert lost_by_source(facts) == {
        "stories": (facts_lost(facts), facts_lost(facts) + len(wholes))
    }
    removed = [row for path in (folder / "removed").glob("*.parquet") for row in rows_of(path)]
    copies = Counter(row["kept_id"] for row in removed if row["reason"] == "near_duplicate")
    assert facts.near.sizes == dict(Counter(n + 1 for n in copies.values()))
    [pair, *_] = facts.pairs
    assert pair.removed["id"] in {row["id"] for row in removed}
    assert pair.kept_text
    assert pair.kept_text != pair.removed_text


def facts_lost(facts: DataFacts) -> int:
    n_in, n_out = ends(facts)
    return n_in - n_out
