"""What counts, and how much memory counting may take."""

from __future__ import annotations

from groundup.runtime import config
from groundup.tokenizer.counts.runs import ARROW_BYTES


@config
class CountConfig:
    """What counts, and how much memory it may take.

    min_count: words that occur less often in the whole corpus are dropped
    max_word_bytes: a longer word is cut, between characters, into words of at most so many bytes
    max_in_document: one word counts at most so often in one document; None for as often as it comes
    document_bytes: a longer document is cut, where no word spans, into pieces of about so many
        bytes, and each piece has a document's share
    shard_bytes: text that is counted, and lost by a kill, as one
    table_bytes: words that a worker holds before it writes them to disk
    result_bytes: words kept at the end; min_count is raised as far as they need it. Learning takes
        many times as much: at the default, where no two words are alike and all are long, 32,768
        tokens of byte-pair encoding take about 1.3 GB, so that all processes stay within 2 GB
    n_workers: processes, or threads for texts at hand; 1 for none but the caller's. None for one
        per processor, four at most for the memory they take, as far as there are two shards for
        each, since to start one takes as long as to count some ten megabytes
    """

    min_count: int = 1
    max_word_bytes: int = 1024
    max_in_document: int | None = 16384
    document_bytes: int = 1 << 20
    shard_bytes: int = 64 << 20
    table_bytes: int = 32 << 20
    result_bytes: int = 24 << 20
    n_workers: int | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            got = getattr(self, name)
            if got is not None and got < least:
                raise ValueError(f"{name}={got} must be at least {least}")
        if self.document_bytes < self.max_word_bytes:
            raise ValueError(
                f"document_bytes={self.document_bytes} must be at least max_word_bytes="
                f"{self.max_word_bytes}; try document_bytes={1 << 20}"
            )
        if self.table_bytes > ARROW_BYTES // 2:
            raise ValueError(
                f"table_bytes={self.table_bytes} must be at most {ARROW_BYTES // 2}; "
                f"try table_bytes={32 << 20}"
            )


_LEAST = {
    "min_count": 1,
    "max_word_bytes": 4,  # one character
    "max_in_document": 1,
    "document_bytes": 16,
    "shard_bytes": 1,
    "table_bytes": 1,
    "result_bytes": 1,
    "n_workers": 1,
}
