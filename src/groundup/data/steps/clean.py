"""Documents repaired and scored, then judged and masked: two jobs for each shard.

What is measured does not depend on the limits, so a change of these makes only the second again.
Chats and preference pairs are masked alone (`mask_talk.py`).
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
from groundup.data.identity import FILES, cleaning_files
from groundup.data.steps.mask_talk import mask_talk
from groundup.data.steps.shard import ROWS, RowsWriter, Shard
from groundup.data.table import TableWriter, tables_of
from groundup.runtime import to_dict

VERSION = 1  # of scoring
JUDGE_VERSION = 2  # 2: what is kept of a dropped document is masked too
SCORES = "scores.parquet"
_LIBRARIES = ("ftfy", "py3langid", "regex", "numpy", "numba")


def clean(engine: Engine, shards: Sequence[Shard], config: CleaningConfig) -> list[Shard]:
    """The shards in their order: documents without what the rules drop, repaired and masked; chats
    and pairs masked.
    """
    documents = [shard for shard in shards if shard.kind == "documents"]
    talk = [shard for shard in shards if shard.kind != "documents"]
    cleaned = iter(_clean_documents(engine, documents, config) if documents else [])
    masked = iter(mask_talk(engine, talk, config) if talk else [])
    return [next(cleaned if shard.kind == "documents" else masked) for shard in shards]


def _clean_documents(
    engine: Engine, shards: Sequence[Shard], config: CleaningConfig
) -> list[Shard]:
    digests = cleaning_files(config)
    places = {name: str(getattr(config, name).absolute()) for name in digests}
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
    # What a preset's groups come to is told too, so that another default makes this again.
    judged = {**versions, "cleaning": _without_files(config), "rules": to_dict(config.rules)}
    jobs = [
        Job(STAGE, JUDGE_VERSION, judge_shard, (artefact,), judged, {"places": places}, _LIBRARIES)
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


def _without_files(config: CleaningConfig) -> dict[str, Any]:
    return {**to_dict(config), **dict.fromkeys(FILES)}


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
    """Write the documents that stay and those that go, both masked; counted in those that stay."""
    config = _config_of(params)
    masked: Counter[str] = Counter()
    scores = _Rows(tables_of(inputs[0] / SCORES))
    with RowsWriter(folder, STAGE) as writer:
        for table in tables_of(inputs[0] / ROWS):
            reasons, values = judge(scores.take(table.num_rows), config)
            for row, reason, value in zip(table.to_pylist(), reasons, values, strict=True):
                if config.pii == "mask":
                    text, found = mask_pii(row["text"])
                    row = {**row, "text": text}
                    masked.update(found if reason is None else {})
                if reason is not None:
                    detail = detail_of(reason, value)
                    writer.remove(row, reason, score=value, detail=detail)
                elif not row["text"].strip():
                    writer.remove(
                        row, "empty", detail="nothing is left of it, repaired and its lines judged"
                    )
                else:
                    writer.keep(row)
    return {**writer.tally.counts(), "masked": dict(sorted(masked.items()))}


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
