"""The stream from files to tokens: as wide as its bytes, and what went in the right units."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from groundup.data.prepare import DataConfig, prepare
from groundup.report.data_charts import meter, metered
from groundup.report.data_facts import facts_of
from groundup.report.data_flow import flow

WIDTH = re.compile(r"H([\d.]+) V100")


def _sources(place: Path) -> Path:
    source = place / "texts"
    source.mkdir()
    menu = "Home | About us | Contact | Imprint and more of that\n"
    for n in range(12):
        text = f"{menu}This is the story of number {n}, and what it did to {n * 7} others.\r\n"
        (source / f"{n:02d}.txt").write_text(text, newline="")
    (source / "same.txt").write_text((source / "03.txt").read_text())
    (source / "rows.tsv").write_text("kind\tsaid it\n" + "ham\tgood morning\n" * 200)
    return source


def test_the_stream_narrows_by_bytes_from_files_on(tmp_path: Path) -> None:
    source = _sources(tmp_path)
    lines = {"min_documents": 5, "min_bytes": 20}
    prepare(DataConfig(sources=[str(source)], dedup={"near": None, "lines": lines}), tmp_path / "o")
    facts = facts_of(tmp_path / "o")
    stages = {stage["name"]: stage for stage in facts.manifest["stages"]}
    rows = {row["name"]: row for row in flow(facts)}
    n_bytes = sum(file.stat().st_size for file in source.iterdir())
    assert stages["read"]["bytes_in"] == n_bytes
    widths = {name: float(WIDTH.findall(row["svg"])[0]) for name, row in rows.items()}
    full = widths["read"] / (stages["read"]["bytes_out"] / n_bytes)
    for name, stage in (
        ("drop exact copies", "dedup_exact"),
        ("cut repeated lines", "dedup_lines"),
    ):
        wanted = full * stages[stage]["bytes_out"] / n_bytes
        assert widths[name] == pytest.approx(wanted, abs=0.1)
    assert 'class="branch"' in rows["read"]["svg"]
    less = stages["dedup_lines"]["bytes_in"] - stages["dedup_lines"]["bytes_out"]
    assert less > 0
    assert rows["cut repeated lines"]["lost"] == f"\u2212{less} bytes"
    assert rows["drop exact copies"]["lost"] == "\u22121 document"


def test_what_was_repaired_is_no_loss(tmp_path: Path) -> None:
    source = _sources(tmp_path)
    (source / "odd.txt").write_text("A story\u0007 of a bell that rang and rang.\n")
    prepare(DataConfig(sources=[str(source)], dedup={"near": None}), tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    row = next(row for row in flow(facts) if row["name"] == "clean")
    assert row["lost"] == ""
    assert row["changed"] == "1 byte less, repaired"


def test_bars_have_a_track_even_at_nothing() -> None:
    assert 'class="track"' in meter(0)
    assert 'class="meter"' not in meter(0)
    assert 'style="width: 40%"' in meter(0.4)
    assert metered(0.4).startswith('<span class="metered">40%<span class="track"')
