"""Count the words of a corpus larger than memory. `counting.py` is the place to begin."""

from groundup.tokenizer.counts.config import CountConfig
from groundup.tokenizer.counts.corpus import (
    ParquetTexts,
    Shard,
    TextSource,
    TextSpan,
    shards_of,
)
from groundup.tokenizer.counts.counting import (
    CountLoop,
    count_plainly,
    count_words,
    count_words_in,
)
from groundup.tokenizer.counts.result import CountReport, WordCounts
from groundup.tokenizer.counts.runs import CountedWords

__all__ = [
    "CountConfig",
    "CountLoop",
    "CountReport",
    "CountedWords",
    "ParquetTexts",
    "Shard",
    "TextSource",
    "TextSpan",
    "WordCounts",
    "count_plainly",
    "count_words",
    "count_words_in",
    "shards_of",
]
