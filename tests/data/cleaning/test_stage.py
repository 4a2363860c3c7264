"""A table cleaned as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from groundup.data.cleaning import CleaningConfig, QualityClassifier, clean_table
from groundup.data.table import DOCUMENT_SCHEMA, REMOVED_SCHEMA

STORY = (
    "The fox came by the mill at night. It was cold and the river had ice on it. "
    "Nobody in the house heard that, but the old dog did. She did not bark. "
    "In the morning there were tracks, and the hens were all still there. "
)
ROWS = [
    {"id": "s/a#0", "source": "s", "text": f"{STORY}Write to ann@firm.de.\r\n"},
    {"id": "s/b#0", "source": "s", "text": "Buy now! " * 60},
    {"id": "s/c#0", "source": "s", "text": ""},
    {"id": "s/d#0", "source": "s", "text": f"{STORY}Menu\nIt is schÃ¶n there, said the hen."},
]


def documents() -> pa.Table:
    return pa.Table.from_pylist(ROWS, schema=DOCUMENT_SCHEMA)


def test_kept_removed_and_scores_account_for_every_row() -> None:
    config = CleaningConfig(
        preset="light", identify_language=False, min_characters=1, pii="mask", drop_lines=False
    )
    cleaned = clean_table(documents(), config)
    assert cleaned.kept.schema == DOCUMENT_SCHEMA
    assert cleaned.kept.column("text").to_pylist() == [
        f"{STORY}Write to <EMAIL>.\n",
        f"{STORY}Menu\nIt is schön there, said the hen.",
    ]
    assert cleaned.removed.schema == REMOVED_SCHEMA
    first, second = cleaned.removed.to_pylist()
    assert (first["id"], first["reason"]) == ("s/b#0", "too_many_repeated_10_grams")
    assert first["score"] > 0.4
    assert first["detail"].startswith("too_many_repeated_10_grams with 0.")
    assert first["text"] == ROWS[1]["text"][:500]
    assert (second["id"], second["reason"], second["score"]) == ("s/c#0", "too_few_characters", 0)
    assert cleaned.scores.column("id").to_pylist() == [row["id"] for row in ROWS]
    assert cleaned.counts == {"masked.email": 1, "repaired": 2}


def test_what_is_shown_of_dropped_texts_is_masked_where_those_that_stay_are() -> None:
    """The end of the excerpt would cut the second address in two, and so make it none."""
    begins = "Ann ann@firm.de. " + "Ha. " * 119
    text = f"{begins}Bob bob.brown@firm.de. " + "Ha. " * 99
    table = pa.Table.from_pylist([{"id": "a", "source": "s", "text": text}], schema=DOCUMENT_SCHEMA)
    config = CleaningConfig(identify_language=False, pii="mask")
    cleaned = clean_table(table, config)
    [gone] = cleaned.removed.to_pylist()
    assert gone["text"] == f"{begins}Bob <EMAIL>. ".replace("ann@firm.de", "<EMAIL>")[:500]
    assert cleaned.counts == {"repaired": 0}  # what is masked is counted in texts that stay
    [shown] = clean_table(table, replace(config, pii="off")).removed.to_pylist()
    assert shown["text"] == text[:500]


def test_the_rows_of_a_table_do_not_know_of_each_other() -> None:
    config = CleaningConfig(preset="web", identify_language=False)
    whole = clean_table(documents(), config)
    parts = [clean_table(documents().slice(i, 1), config) for i in range(len(ROWS))]
    assert pa.concat_tables([part.kept for part in parts]).equals(whole.kept)
    assert pa.concat_tables([part.removed for part in parts]).equals(whole.removed)
    assert pa.concat_tables([part.scores for part in parts]).equals(whole.scores)


def test_nothing_is_dropped_or_changed_where_all_is_off() -> None:
    config = CleaningConfig(preset="none", repair=False, identify_language=False)
    cleaned = clean_table(documents(), config)
    assert cleaned.kept.equals(documents())
    assert len(cleaned.removed) == 0
    assert cleaned.counts == {}


def test_lines_are_dropped_before_texts_are_judged() -> None:
    config = CleaningConfig(preset="none", identify_language=False, drop_lines=True)
    cleaned = clean_table(documents().slice(3), config)
    assert cleaned.kept.column("text").to_pylist() == ["It is schön there, said the hen."]
    assert cleaned.counts == {"line.no_end_mark": 1, "repaired": 1}


def test_programs_are_neither_judged_as_prose_nor_robbed_of_lines() -> None:
    program = "x = {}\n" * 50 + "y = 1\n"
    rows = [
        {"id": f"s/{path}#0", "source": "s", "path": path, "text": program}
        for path in ("a.py", "a.txt")
    ]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    config = CleaningConfig(preset="web", identify_language=False, drop_lines=True)
    cleaned = clean_table(table, config)
    assert cleaned.kept.column("id").to_pylist() == ["s/a.py#0"]
    assert cleaned.kept.column("text").to_pylist() == [program]


def test_the_users_word_list_and_classifier_are_asked(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("old dog\n")
    config = CleaningConfig(
        preset="none", identify_language=False, word_list=tmp_path / "words.txt"
    )
    reasons = clean_table(documents(), config).removed.column("reason").to_pylist()
    assert reasons == ["has_listed_words", "has_listed_words"]
    good = [f"The {i} hens came home at night and slept." for i in range(60)]
    bad = [f"Buy {i} now! Cheap cheap!" for i in range(60)]
    QualityClassifier.train(good, bad).save(tmp_path / "quality.json")
    config = CleaningConfig(
        preset="none",
        identify_language=False,
        classifier=tmp_path / "quality.json",
        min_quality=0.3,
    )
    removed = clean_table(documents(), config).removed.to_pylist()
    assert ("s/b#0", "poor_quality") in [(row["id"], row["reason"]) for row in removed]
    assert "s/a#0" not in [row["id"] for row in removed]


def test_other_languages_are_dropped() -> None:
    pytest.importorskip("py3langid")
    german = "Der Fuchs kam nachts an der Mühle vorbei, und niemand wachte davon auf."
    table = pa.Table.from_pylist(
        [{"id": "g", "source": "s", "text": german}, {"id": "e", "source": "s", "text": STORY}],
        schema=DOCUMENT_SCHEMA,
    )
    cleaned = clean_table(table, CleaningConfig(preset="none", languages=("en",)))
    assert cleaned.kept.column("id").to_pylist() == ["e"]
    assert cleaned.removed.column("reason").to_pylist() == ["other_language"]
    assert cleaned.scores.column("language").to_pylist() == ["de", "en"]
