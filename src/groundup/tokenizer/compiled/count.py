"""Counting words, compiled: `counts.count_plainly` for the published patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundup.tokenizer.compiled.scan import SCANNED, scan_texts
from groundup.tokenizer.compiled.word_table import WordTable
from groundup.tokenizer.counts import CountedWords, count_plainly
from groundup.tokenizer.pretokenize import Cutter, PatternCutter


def count_compiled(
    texts: Sequence[str], cutter: Cutter, max_in_text: int | None
) -> tuple[CountedWords, int]:
    """Words of all texts, and how many occurrences the cap on one text's share left out.

    >>> found, n_left_out = count_compiled(["a a a a a a", "b a"], PatternCutter("gpt2"), 3)
    >>> dict(zip(found.words(), found.counts.tolist())), n_left_out
    ({b'a': 1, b' a': 4, b'b': 1}, 2)
    """
    if not isinstance(cutter, PatternCutter) or cutter.pattern not in SCANNED:
        return count_plainly(texts, cutter, max_in_text)
    table = WordTable()
    counts = np.zeros(0, dtype=np.int64)
    n_left_out = 0
    for chunk in _chunks(texts):
        text, ends, n_words = scan_texts(chunk, cutter.pattern)
        numbers = table.intern(text, 0, ends)
        if len(counts) < table.n_words:
            counts = np.concatenate([counts, np.zeros(2 * table.n_words - len(counts), np.int64)])
        first = 0
        for last in n_words.tolist() if max_in_text is not None else [len(numbers)]:
            if max_in_text is not None and last - first > max_in_text:
                mine, n = np.unique(numbers[first:last], return_counts=True)
                counts[mine] += np.minimum(n, max_in_text)
                n_left_out += int(np.maximum(n - max_in_text, 0).sum())
                numbers[first:last] = -1
            first = last
        kept = numbers[numbers >= 0]
        counts[: table.n_words] += np.bincount(kept, minlength=table.n_words)
    text, _, lengths = table.spelled()
    return (
        CountedWords(
            text[: table.n_bytes].copy(),
            lengths.astype(np.uint32),
            counts[: table.n_words].astype(np.uint64),
        ),
        n_left_out,
    )


_CHUNK_CHARACTERS = 1 << 22


def _chunks(texts: Sequence[str]) -> list[list[str]]:
    """Texts in order, some millions of characters together: what is scanned at a time."""
    chunks: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if chunks[-1] and size + len(text) > _CHUNK_CHARACTERS:
            chunks.append([])
            size = 0
        chunks[-1].append(text)
        size += len(text)
    return chunks
