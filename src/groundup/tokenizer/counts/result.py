"""The words of a corpus with their counts, and what became of the others.

Called by `counting.py`, which adds them up, and by the trainers, which learn from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundup.runtime import Listener, StorageError, TokenizerError, format_count
from groundup.tokenizer.counts.config import CountConfig
from groundup.tokenizer.counts.runs import (
    ARRAYS,
    CountedWords,
    concatenated,
    read_header,
    write_run,
)


@dataclass(frozen=True)
class CountReport:
    """What was counted, and what was not.

    n_documents, n_words: documents, and occurrences of words, that were counted
    n_text_bytes: the bytes of those words together
    n_left_out: occurrences beyond max_in_document
    n_long_words: occurrences of words that were cut at max_word_bytes
    n_forced_cuts: pieces of long documents that had to end where a word may go on
    n_distinct: different words, the dropped ones included
    min_count: what a word's count had to be in the end
    n_dropped_distinct, n_dropped_words, n_dropped_bytes: different words below it, their
        occurrences, and the bytes of those
    """

    n_documents: int = 0
    n_words: int = 0
    n_text_bytes: int = 0
    n_left_out: int = 0
    n_long_words: int = 0
    n_forced_cuts: int = 0
    n_distinct: int = 0
    min_count: int = 1
    n_dropped_distinct: int = 0
    n_dropped_words: int = 0
    n_dropped_bytes: int = 0


@dataclass(frozen=True, eq=False)
class WordCounts:
    """The words of a corpus that occurred often enough, in the order of their bytes."""

    table: CountedWords
    report: CountReport

    def as_dict(self) -> dict[bytes, int]:
        """For the readable trainers: a count per word."""
        return dict(zip(self.table.words(), self.table.counts.tolist(), strict=True))

    def save(self, folder: Path, parameters: Any = None) -> None:
        """Write to a folder, whole or not at all."""
        about = {"parameters": parameters, "report": asdict(self.report)}
        write_run(folder, [self.table], about)

    @classmethod
    def load(cls, folder: Path) -> WordCounts:
        """Read what `save` wrote; StorageError if it is damaged."""
        header = read_header(folder)
        if header is None:
            raise StorageError(f"{folder} holds no whole word counts; count the corpus again")
        arrays = [np.fromfile(folder / name, dtype) for name, dtype in ARRAYS.items()]
        return cls(CountedWords(*arrays), CountReport(**header["report"]))


def keep(blocks: Iterable[CountedWords], report: CountReport, config: CountConfig) -> WordCounts:
    """The words that occur often enough, and are few enough.

    min_count is raised only when what has come so far is too much already, so that it ends as the
    smallest with which all words fit, whatever the blocks.
    """
    if not report.n_words:
        raise TokenizerError("there are no words to count; add text")
    min_count, n_distinct, size = config.min_count, 0, 0
    kept: list[CountedWords] = []
    for block in blocks:
        n_distinct += len(block)
        kept.append(block.where(block.counts >= min_count))
        size += kept[-1].n_bytes
        while size > config.result_bytes:
            min_count = 1 + min(int(block.counts.min()) for block in kept if len(block))
            kept = [block.where(block.counts >= min_count) for block in kept]
            size = sum(block.n_bytes for block in kept)
    table = concatenated(kept)
    if not len(table):
        raise TokenizerError(
            f"no word of {n_distinct} occurs min_count={min_count} times; lower min_count, raise "
            f"result_bytes={config.result_bytes}, or add text"
        )
    n_kept = int(table.counts.sum())
    n_kept_bytes = int((table.counts * table.lengths).sum())
    return WordCounts(
        table,
        replace(
            report,
            n_distinct=n_distinct,
            min_count=min_count,
            n_dropped_distinct=n_distinct - len(table),
            n_dropped_words=report.n_words - n_kept,
            n_dropped_bytes=report.n_text_bytes - n_kept_bytes,
        ),
    )


def tell(report: CountReport, config: CountConfig, listener: Listener) -> None:
    """Say what a reader of the counts should know."""
    if report.min_count > config.min_count:
        listener.message(
            f"words that occur less than {report.min_count} times are left out, not only those "
            f"below min_count={config.min_count}: more do not fit in "
            f"result_bytes={config.result_bytes}"
        )
    if report.n_dropped_bytes:
        share = report.n_dropped_bytes / report.n_text_bytes
        listener.message(
            f"left out {format_count(report.n_dropped_distinct)} words that occur less than "
            f"{report.min_count} times, {share:.1%} of the text"
        )
    if report.n_left_out:
        listener.message(
            f"left out {format_count(report.n_left_out)} repetitions of words beyond "
            f"max_in_document={config.max_in_document}"
        )
    if report.n_forced_cuts:
        listener.message(
            f"{report.n_forced_cuts} pieces of long documents end where a word may go on: "
            f"none of the borders tried in {config.document_bytes} bytes was one for this cutter"
        )
