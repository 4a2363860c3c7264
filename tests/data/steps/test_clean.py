"""The step that cleans: what it leaves to be seen, and what makes it work again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.data.cleaning import CleaningConfig, FineWebConfig
from groundup.data.cleaning import config as cleaning_config
from groundup.data.engine import Engine
from groundup.data.reading import ReadingConfig, SourceConfig
from groundup.data.steps.clean import clean
from groundup.data.steps.read import read_source_into
from groundup.data.steps.shard import REMOVED, Shard
from groundup.data.table import EXCERPT_CHARACTERS, rows_of

LONG = "So said the hens of the mill. " * 16  # 480 characters


def read(engine: Engine, folder: Path, *texts: str) -> list[Shard]:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    source = SourceConfig(path=str(path))
    return read_source_into(engine, source, "texts", ReadingConfig()).shards


@pytest.mark.parametrize("pii", ["mask", "off"])
def test_what_is_shown_of_a_dropped_document_is_masked(tmp_path: Path, pii: str) -> None:
    """The second address would be cut in two by the excerpt's end, and so be none."""
    dropped = f"Ann is ann@firm.de. {LONG[:-20]}Write to bob.brown@firm.de. {LONG}"
    kept = "Cid is cid@firm.de."
    assert dropped.index("@firm.de. So") < dropped.index("bob") < EXCERPT_CHARACTERS
    engine = Engine(tmp_path / "work")
    config = CleaningConfig(preset="none", identify_language=False, max_characters=99, pii=pii)
    [made] = clean(engine, read(engine, tmp_path, dropped, kept), config)
    [gone] = rows_of(made.artefact.path(REMOVED))
    [stays] = rows_of(made.path)
    assert gone["reason"] == "too_many_characters"
    if pii == "off":
        assert (gone["text"], stays["text"]) == (dropped[:500], kept)
        assert made.artefact.counts["masked"] == {}
    else:
        masked = dropped.replace("ann@firm.de", "<EMAIL>").replace("bob.brown@firm.de", "<EMAIL>")
        assert (gone["text"], stays["text"]) == (masked[:500], "Cid is <EMAIL>.")
        assert made.artefact.counts["masked"] == {"email": 1}  # of what stays


def test_another_limit_of_a_preset_judges_anew_and_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preset is written by its name; what it comes to may differ in another version of us."""
    engine = Engine(tmp_path / "work")
    lines = [f"The {number:02} hens came home at night and slept." for number in range(20)]
    shards = read(engine, tmp_path, "\n".join([*lines, lines[0]]))
    config = CleaningConfig(
        preset="web", identify_language=False, gopher_quality=None, repetition=None, c4=None
    )
    [kept] = clean(engine, shards, config)
    assert kept.n == 1
    n_made = engine.n_made
    clean(engine, shards, config)
    assert engine.n_made == n_made
    strict = cleaning_config.Rules(fineweb=FineWebConfig(max_duplicate_line_characters=0.01))
    monkeypatch.setitem(cleaning_config._PRESETS, "web", strict)
    [gone] = clean(engine, shards, config)
    assert gone.artefact.counts["dropped"] == {"too_many_characters_in_duplicate_lines": 1}
    assert engine.n_made == n_made + 1
