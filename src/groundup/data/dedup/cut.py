"""A shard whose texts are without the spans that stand elsewhere too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundup.data.dedup.config import LinesConfig, SubstringsConfig
from groundup.data.dedup.keys import bounds_of, read_range, run_starts, split_numbers
from groundup.data.dedup.remove import KEPT, REMOVED, shard_schema, with_source
from groundup.data.dedup.repeats import SPAN
from groundup.data.table import (
    EXCERPT_CHARACTERS,
    REMOVED_SCHEMA,
    TableWriter,
    removed_row,
    tables_of,
)

LONGEST_WORD = 64  # bytes: a run without white space that is longer is no word, and may be cut
_SPACE = re.compile(rb"[ \t\n]")


def cut_repeats(
    shard: Path,
    number: int,
    matched: Sequence[Path],
    config: LinesConfig | SubstringsConfig,
    out: Path,
) -> dict[str, int]:
    """Write a shard's documents without repeated spans, and what was cut, into the folder `out`.

    number: of the shard, in the order of the shards; matched: all folders of `match_repeats`. A
    document is dropped if nothing but white space is left of it, or, where substrings are cut,
    fewer than `min_bytes`. The text of a removed row is the beginning of what was cut.
    """
    match config:
        case LinesConfig():
            stage, what, least, between_words = "dedup_lines", "repeated_lines", 1, False
        case SubstringsConfig():
            stage, what, least = "dedup_substrings", "repeated_substrings", config.min_bytes
            between_words = True
    spans = spans_of(number, matched)
    rows = split_numbers(spans["document"])[1]
    counts = {"documents": 0, "kept": 0, "cut": 0, "removed": 0, "cut_bytes": 0}
    schema = shard_schema(shard)
    with (
        TableWriter(out / KEPT, schema) as kept,
        TableWriter(out / REMOVED, REMOVED_SCHEMA) as gone,
    ):
        for table in tables_of(shard):
            texts = table["text"].to_pylist()
            keep = np.ones(table.num_rows, dtype=bool)
            first = counts["documents"]
            counts["documents"] += table.num_rows
            begin, end = np.searchsorted(rows, [first, counts["documents"]]).tolist()
            starts = run_starts(rows[begin:end]) + begin
            for index in range(len(starts) - 1):
                here = spans[starts[index] : starts[index + 1]]
                row = int(rows[starts[index]]) - first
                document = table.slice(row, 1).to_pylist()[0]
                texts[row], pieces = cut_text(document["text"], here, between_words=between_words)
                if not pieces:
                    continue
                cut_bytes = sum(len(piece.encode()) for piece in pieces)
                keep[row] = len(texts[row].strip().encode()) >= least
                counts["cut_bytes"] += cut_bytes
                counts["cut" if keep[row] else "removed"] += 1
                reason = what if keep[row] else f"only_{what}"
                gone.add(_cut_row(document, stage, reason, pieces, cut_bytes))
            column = table.schema.get_field_index("text")
            table = table.set_column(column, table.schema.field(column), [_strings(table, texts)])
            kept.add_table(table.filter(keep))
            counts["kept"] += int(keep.sum())
    return counts


def spans_of(number: int, matched: Sequence[Path]) -> np.ndarray:
    """The spans of shard `number`, sorted, those that touch made one: (n,) SPAN."""
    first, behind = bounds_of(number)
    parts = [
        read_range(folder / "spans.bin", SPAN, "document", first, behind) for folder in matched
    ]
    spans = np.concatenate([np.empty(0, dtype=SPAN), *parts])
    spans = spans[np.lexsort((spans["end"], spans["start"], spans["document"]))]
    return joined(spans)


def joined(spans: np.ndarray) -> np.ndarray:
    """Sorted spans, those that overlap or touch made one.

    >>> spans = np.array([(1, 0, 5), (1, 3, 8), (1, 9, 10), (2, 8, 9)], dtype=SPAN)
    >>> joined(spans).tolist()
    [(1, 0, 8), (1, 9, 10), (2, 8, 9)]
    """
    made: list[tuple[int, int, int]] = []
    for document, start, end in spans.tolist():
        if made and made[-1][0] == document and start <= made[-1][2]:
            made[-1] = (document, made[-1][1], max(end, made[-1][2]))
        else:
            made.append((document, start, end))
    return np.array(made, dtype=SPAN)


def cut_text(text: str, spans: np.ndarray, *, between_words: bool = False) -> tuple[str, list[str]]:
    """A text without the spans of its UTF-8, and what was cut out.

    A span that begins or ends within a character is made smaller until it does not; with
    `between_words` one that does so within a word too, unless it has no white space near its ends.

    >>> cut_text("to be, or not", np.array([(0, 2, 6)], dtype=SPAN))
    ('to or not', [' be,'])
    >>> cut_text("to be, or not", np.array([(0, 1, 9)], dtype=SPAN), between_words=True)
    ('to or not', ['be, '])
    """
    data = text.encode()
    left, pieces, at = bytearray(), list[str](), 0
    for _, start, end in spans.tolist():
        if between_words:
            start, end = _between_words(data, start, end)
        while start < end and data[start] & 0xC0 == 0x80:
            start += 1
        while end > start and end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        left += data[at:start]
        pieces.append(data[start:end].decode())
        at = end
    return (left + data[at:]).decode(), [piece for piece in pieces if piece]


def _between_words(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The largest span within one whose ends stand behind white space, or at the text's ends."""
    if start > 0 and not data[start - 1 : start].isspace():
        found = _SPACE.search(data, start, min(start + LONGEST_WORD, end))
        start = found.end() if found else start
    if end < len(data) and not data[end - 1 : end].isspace():
        places = [m.end() for m in _SPACE.finditer(data, max(end - LONGEST_WORD, start), end)]
        end = places[-1] if places else end
    return start, end


def _cut_row(
    document: dict[str, Any], stage: str, reason: str, pieces: list[str], cut_bytes: int
) -> dict[str, Any]:
    detail = f"{len(pieces)} pieces, {cut_bytes} bytes, stand in other documents too"
    excerpt = "".join(pieces)[:EXCERPT_CHARACTERS]
    row = with_source({**document, "text": excerpt})
    share = cut_bytes / max(len(document["text"].encode()), 1)
    return removed_row(row, stage, reason, score=share, detail=detail)


def _strings(table: Any, texts: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, table.schema.field("text").type)
