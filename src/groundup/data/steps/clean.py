"""Documents repaired and scored, then judged and masked: two jobs for each shard.

What is measured does not depend on the limits, so a change of these makes only the second again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from groundup.data.cleaning import (
    SCORE_SCHEMA,
    CleaningConfig,
    FineWebConfig,
    Scorer,
    clean_table,
    judge,
    mask_pii,
)
from groundup.data.cleaning.stage import STAGE, detail_of
from groundup.data.cleaning.stage import VERSION as CLEANING_VERSION
from groundup.data.engine import Engine, Job
from groundup.data.steps.shard import ROWS, RowsWriter, Shard
from groundup.data.table import TableWriter, tables_of
from groundup.runtime import DataError, hash_file, to_dict

VERSION = 1
SCORES = "scores.parquet"
_FILES = ("word_list", "classifier")
_LIBRARIES = ("ftfy", "py3langid", "regex", "numpy", "numba")


def clean(engine: Engine, shards: Sequence[Shard], config: CleaningConfig) -> list[Shard]:
    """The shards without what the rules drop, texts repaired and masked."""
    places, digests = _files_of(config)
    versions = {"version": CLEANING_VERSION, "files": digests}
    measured = {**versions, "cleaning": _without_files(measuring(config))}
    jobs = [
        Job(
            "score",
            VERSION,
            score_shard,
            (shard.artefact,),
            {**measured, "file": shard.file},
            {"places": places},
            _LIBRARIES,
        )
        for shard in shards
    ]
    scored = engine.run(jobs, "repair and score")
    judged = {**versions, "cleaning": _without_files(config)}
    jobs = [
        Job(STAGE, VERSION, judge_shard, (artefact,), judged, {"places": places}, _LIBRARIES)
        for artefact in scored
    ]
    made = engine.run(jobs, "judge")
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)]


def measuring(config: CleaningConfig) -> CleaningConfig:
    """The same config with every limit off: what decides texts and scores alone.

    >>> measuring(CleaningConfig(min_characters=9)) == measuring(CleaningConfig())
    True
    """
    fineweb = config.rules.fineweb or FineWebConfig()
    return CleaningConfig(
        preset="none",
        repair=config.repair,
        identify_language=config.identify_language,
        c4=replace(
            config.line_rules,
            min_sentences=None,
            refuse_lorem_ipsum=False,
            refuse_curly_bracket=False,
        ),
        fineweb=FineWebConfig(
            min_end_mark_lines=None,
            max_short_lines=None,
            short_line_characters=fineweb.short_line_characters,
            max_duplicate_line_characters=None,
            max_newlines_per_word=None,
        ),
        drop_lines=config.drop_lines,
        word_list=config.word_list,
        max_listed_words=_NO_LIMIT,
        classifier=config.classifier,
        min_quality=0.0,
    )


_NO_LIMIT = 1 << 62


def _files_of(config: CleaningConfig) -> tuple[dict[str, str], dict[str, str]]:
    """Where the word list and the classifier are, and their hashes."""
    places: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name in _FILES:
        path: Path | None = getattr(config, name)
        if path is None:
            continue
        try:
            digests[name] = hash_file(path)
        except OSError as error:
            raise DataError(
                f"cleaning.{name}={path} cannot be read ({error.strerror or error}); "
                "give another file, or leave it out"
            ) from error
        places[name] = str(path.absolute())
    return places, digests


def _without_files(config: CleaningConfig) -> dict[str, Any]:
    return {**to_dict(config), **dict.fromkeys(_FILES)}


def _config_of(params: dict[str, Any]) -> CleaningConfig:
    return CleaningConfig(**{**params["cleaning"], **params["places"]})


def score_shard(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the repaired documents of a shard, and a row of scores for each."""
    config = _config_of(params)
    scorer = Scorer(config)
    counts: Counter[str] = Counter()
    with (
        TableWriter(folder / ROWS) as rows,
        TableWriter(folder / SCORES, SCORE_SCHEMA) as scores,
    ):
        for table in tables_of(inputs[0] / params["file"]):
            cleaned = clean_table(table, config, scorer)
            assert cleaned.kept.num_rows == table.num_rows, "no limit is on"
            rows.add_table(cleaned.kept)
            scores.add_table(cleaned.scores)
            counts.update(cleaned.counts)
    return {"changes": dict(sorted(counts.items()))}


def judge_shard(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the documents that stay, masked, and those that go."""
    config = _config_of(params)
    masked: Counter[str] = Counter()
    scores = _Rows(tables_of(inputs[0] / SCORES))
    with RowsWriter(folder, STAGE) as writer:
        for table in tables_of(inputs[0] / ROWS):
            reasons, values = judge(scores.take(table.num_rows), config)
            for row, reason, value in zip(table.to_pylist(), reasons, values, strict=True):
                if reason is not None:
                    detail = detail_of(reason, value)
                    writer.remove(row, reason, score=value, detail=detail)
                elif not row["text"].strip():
                    writer.remove(
                        row, "empty", detail="nothing is left of it, repaired and its lines judged"
                    )
                else:
                    writer.keep(_masked(row, masked) if config.pii == "mask" else row)
    return {**writer.tally.counts(), "masked": dict(sorted(masked.items()))}


def _masked(row: dict[str, Any], masked: Counter[str]) -> dict[str, Any]:
    text, found = mask_pii(row["text"])
    masked.update(found)
    return {**row, "text": text}


class _Rows:
    """Rows from a stream of tables, as many at a time as are asked for."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._held: pa.Table | None = None

    def take(self, n: int) -> pa.Table:
        parts: list[pa.Table] = []
        while n:
            if self._held is None or not self._held.num_rows:
                self._held = next(self._tables)
            parts.append(self._held.slice(0, n))
            self._held = self._held.slice(parts[-1].num_rows)
            n -= parts[-1].num_rows
        return pa.concat_tables(parts)
