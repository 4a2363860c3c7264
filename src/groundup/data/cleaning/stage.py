"""A table of documents cleaned: repaired, scored, judged, masked; what goes has its reason.

Repair and the dropping of lines come first, since they change the text that is judged; masking
comes last, since placeholders are no one's words. Called by the data pipeline, shard by shard.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from groundup.data.cleaning.boilerplate import drop_lines
from groundup.data.cleaning.config import CleaningConfig
from groundup.data.cleaning.pii import mask_pii
from groundup.data.cleaning.prose import is_source_code
from groundup.data.cleaning.repair import repair
from groundup.data.cleaning.rules import judge
from groundup.data.cleaning.scores import Scorer, score_table
from groundup.data.table import EXCERPT_CHARACTERS, REMOVED_SCHEMA

STAGE = "clean"
VERSION = 2  # 2: words of unspaced scripts, code is no prose, light is light


@dataclass(frozen=True)
class Cleaned:
    """What became of a table of documents.

    kept: rows that stay, with the columns that came in and the text as it is now
    removed: id, source, stage, reason, score, kept_id (null), detail, text (its beginning, masked
        where those that stay are)
    scores: one row for each that came in, in order (`SCORE_SCHEMA`)
    counts: `repaired` texts, `line.REASON` lines dropped, `masked.KIND` replaced in texts that stay
    """

    kept: pa.Table
    removed: pa.Table
    scores: pa.Table
    counts: dict[str, int]


def clean_table(table: pa.Table, config: CleaningConfig, scorer: Scorer | None = None) -> Cleaned:
    """Clean a table with at least `id`, `source` and `text`; each row by itself, in order.

    `path`, where there is one, tells source code, of which the rules on prose are not asked and no
    lines are dropped.

    >>> texts = ["One\\r\\n", "Ha. " * 99]
    >>> rows = [{"id": f"s/{n}", "source": "s", "text": text} for n, text in enumerate(texts)]
    >>> cleaned = clean_table(pa.Table.from_pylist(rows), CleaningConfig(identify_language=False))
    >>> cleaned.kept.column("text").to_pylist(), cleaned.removed.column("reason").to_pylist()
    (['One\\n'], ['too_many_repeated_10_grams'])
    """
    counts: Counter[str] = Counter()
    paths = table.column("path") if "path" in table.schema.names else pa.nulls(len(table))
    texts = [
        _prepared(text.as_py(), is_source_code(path.as_py()), config, counts)
        for text, path in zip(table.column("text"), paths, strict=True)
    ]
    place = table.schema.get_field_index("text")
    field = table.schema.field("text")
    table = table.set_column(place, field, pa.array(texts, field.type))
    scores = score_table(table, config, scorer)
    reasons, values = judge(scores, config)
    stays = pa.array([reason is None for reason in reasons], pa.bool_())
    kept = table.filter(stays)
    if config.pii == "mask":
        masked = []
        for text in kept.column("text"):
            new, found = mask_pii(text.as_py())
            masked.append(new)
            counts.update({f"masked.{kind}": n for kind, n in found.items()})
        kept = kept.set_column(place, field, pa.array(masked, field.type))
    removed = _removed(table, reasons, values, config)
    return Cleaned(kept, removed, scores, dict(sorted(counts.items())))


def _prepared(text: str, is_source: bool, config: CleaningConfig, counts: Counter[str]) -> str:
    """The text repaired, and without the lines that are dropped."""
    if config.repair:
        mended = repair(text)
        counts["repaired"] += mended != text
        text = mended
    if config.drop_lines and not is_source:
        text, dropped = drop_lines(text, config.line_rules)
        counts.update({f"line.{reason}": n for reason, n in dropped.items()})
    return text


def detail_of(reason: str, value: float) -> str:
    """What is said of a text that a rule drops.

    >>> detail_of("too_many_words", 101234.0), detail_of("too_many_hashes", 0.25)
    ('too_many_words with 101,234', 'too_many_hashes with 0.25')
    """
    return f"{reason} with {value:,.0f}" if value >= 1000 else f"{reason} with {value:.4g}"


def _removed(
    table: pa.Table, reasons: list[str | None], values: list[float], config: CleaningConfig
) -> pa.Table:
    places = [place for place, reason in enumerate(reasons) if reason is not None]
    gone = table.select(["id", "source", "text"]).take(pa.array(places, pa.int64()))
    texts = gone.column("text").to_pylist()
    if config.pii == "mask":  # whole: what an excerpt cuts in two is no address any more
        texts = [mask_pii(text)[0] for text in texts]
    n = len(places)
    columns = {
        "id": gone.column("id").to_pylist(),
        "source": gone.column("source").to_pylist(),
        "stage": [STAGE] * n,
        "reason": [reasons[place] for place in places],
        "score": [values[place] for place in places],
        "kept_id": [None] * n,
        "detail": [detail_of(str(reasons[place]), values[place]) for place in places],
        "text": [text[:EXCERPT_CHARACTERS] for text in texts],
    }
    return pa.table(columns, schema=REMOVED_SCHEMA)
