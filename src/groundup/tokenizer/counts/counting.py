"""Count the words of a corpus that may be larger than memory: all that a trainer has to know.

A corpus is a list of shards (`shards_of`): a few documents each, or a stretch of a big file. A
shard is counted by itself, in a worker process, into a run: its distinct words in order, with their
counts, in a folder named by what the shard holds and how it is counted. A run that stands and is
whole is not made again, so a count that was killed goes on with the shards that were missing. At
the end the runs are merged, block by block. Nothing is estimated: a count is a sum, the same in
whatever order workers finish. Called by `trainer.py`; `count_words_in` is for texts in memory.

Memory: a worker holds a batch of text and `table_bytes` of words, about four times that while it
sorts them; the calling process holds `result_bytes` of words, twice that at the end, and what is
learnt from them takes many times as much.

Legend
    word      what a cutter cuts, as bytes
    document  what the cap on one document's share looks at: a text, or a piece of a long one
    run       distinct words in the order of their bytes, with counts: three arrays in a folder
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from unicodedata import unidata_version

import regex
import tokenizers

from groundup import __version__
from groundup.runtime import Listener, Silent, folder_lock, remove_leftovers, stable_hash, to_dict
from groundup.tokenizer.counts.config import CountConfig
from groundup.tokenizer.counts.corpus import (
    CutFile,
    Shard,
    TextSource,
    TextSpan,
    continues,
    cut_file,
    pieces_of,
)
from groundup.tokenizer.counts.result import CountReport, WordCounts, keep, tell
from groundup.tokenizer.counts.runs import (
    FORMAT,
    CountedWords,
    Table,
    concatenated,
    merge,
    merge_to_few,
    read_header,
    write_run,
)
from groundup.tokenizer.normalize import Normalizer
from groundup.tokenizer.pretokenize import Cutter, well_formed
from groundup.workers import Workers, n_processors

A = TypeVar("A")
B = TypeVar("B")

BATCH_BYTES = 4 << 20  # text counted at a time
MOST_WORKERS = 4  # unless told otherwise; each holds some hundred megabytes


class CountLoop(Protocol):
    """The inner loop, which may be replaced by a faster one that gives the same."""

    def __call__(
        self, texts: Sequence[str], cutter: Cutter, max_in_text: int | None
    ) -> tuple[CountedWords, int]:
        """Words of all texts in any order, and how many occurrences the cap left out.

        A word counts at most `max_in_text` times for each text.
        """


def count_plainly(
    texts: Sequence[str], cutter: Cutter, max_in_text: int | None
) -> tuple[CountedWords, int]:
    """Count the words of each text, as far as one text may count.

    >>> from groundup.tokenizer.pretokenize import PatternCutter
    >>> found, n_left_out = count_plainly(["a a a a a a", "b a"], PatternCutter("gpt2"), 3)
    >>> dict(zip(found.words(), found.counts.tolist())), n_left_out
    ({b'a': 1, b' a': 4, b'b': 1}, 2)
    """
    counts: Counter[bytes] = Counter()
    n_left_out = 0
    for text in texts:
        words = cutter.cut(text)
        if max_in_text is None or len(words) <= max_in_text:
            counts.update(words)
            continue
        for word, n in Counter(words).items():
            counts[word] += min(n, max_in_text)
            n_left_out += max(n - max_in_text, 0)
    return CountedWords.of(counts, counts.values()), n_left_out


def count_words(
    shards: Sequence[Shard],
    cutter: Cutter,
    config: CountConfig,
    *,
    folder: Path,
    normalizer: Normalizer | None = None,
    loop: CountLoop = count_plainly,
    listener: Listener | None = None,
) -> WordCounts:
    """How often each word occurs in a corpus, counted in processes and on disk.

    `folder` keeps the runs, about a tenth of the text, for when it is called again: after a kill,
    or with shards added. Workers start as new interpreters, so a script that calls this stands
    under `if __name__ == "__main__":`, and what it hands over can be pickled.

    Raises TokenizerError if there are no words, DataError if a file cannot be read.
    """
    listener = listener or Silent()
    counting = _Counting(cutter, normalizer, config, loop)
    with folder_lock(folder):
        for place in (folder, folder / "shards", folder / "merged"):
            remove_leftovers(place)
        n_workers = config.n_workers or min(n_processors(), MOST_WORKERS, len(shards) // 2)
        with Workers(n_workers) as workers:
            jobs = [partial(_count_shard, counting, shard, folder / "shards") for shard in shards]
            done = workers.do(jobs, lambda n: listener.progress("count words", n, len(jobs), {}))
            runs = [run for run, _ in done]
            report = _sum(report for _, report in done)
            about = {**counting.parameters(), "min_count": config.min_count}
            about |= {"result_bytes": config.result_bytes, "runs": [run.name for run in runs]}
            result = folder / "results" / stable_hash(about)
            remove_leftovers(result.parent)
            if read_header(result) is None:
                runs = merge_to_few(runs, folder / "merged", workers)
        if read_header(result) is None:
            keep(merge(runs), report, config).save(result, about)
    counts = WordCounts.load(result)
    tell(counts.report, config, listener)
    return counts


def count_words_in(
    texts: Iterable[str],
    cutter: Cutter,
    config: CountConfig | None = None,
    *,
    normalizer: Normalizer | None = None,
    loop: CountLoop = count_plainly,
) -> WordCounts:
    """How often each word occurs in texts at hand, counted here and now.

    Batches are counted in threads, of which the compiled loop keeps as many busy as there are
    processors, and added in their order. What does not fit in `table_bytes` goes to a temporary
    folder.

    >>> from groundup.tokenizer.pretokenize import PatternCutter
    >>> count_words_in(["to be or", "not to be"], PatternCutter("gpt2")).as_dict()
    {b' be': 2, b' or': 1, b' to': 1, b'not': 1, b'to': 1}
    """
    config = config or CountConfig()
    with tempfile.TemporaryDirectory(prefix="groundup-") as scratch:
        table = Table(config.table_bytes, Path(scratch))
        counting = _Counting(cutter, normalizer, config, loop)
        report = counting.count(
            [_Held(texts)], table, config.n_workers or min(n_processors(), MOST_WORKERS)
        )
        return keep(table.blocks(), report, config)


@dataclass(frozen=True)
class _Held:
    """Texts in memory as a source."""

    held: Iterable[str]

    def fingerprint(self) -> str:
        raise AssertionError("texts in memory are counted once")

    def texts(self) -> Iterator[str]:
        return iter(self.held)


@dataclass(frozen=True)
class _Counting:
    """How words are found and counted."""

    cutter: Cutter
    normalizer: Normalizer | None
    config: CountConfig
    loop: CountLoop

    def parameters(self) -> dict[str, Any]:
        """What decides a shard's counts, beside its text."""
        parts = {"cutter": self.cutter, "normalizer": self.normalizer}
        names = ("max_word_bytes", "max_in_document", "document_bytes")
        return {
            "format": FORMAT,
            "versions": [__version__, regex.__version__, tokenizers.__version__, unidata_version],
            **{name: [type(part).__name__, to_dict(part)] for name, part in parts.items()},
            **{name: getattr(self.config, name) for name in names},
        }

    def words_of(self, text: str) -> list[bytes]:
        """The words of a text."""
        return self.cutter.cut(self.normalizer(text) if self.normalizer else text)

    def count(self, sources: Iterable[TextSource], table: Table, n_threads: int = 1) -> CountReport:
        """Add the words of all documents to a table, batch by batch."""
        tally: Counter[str] = Counter()
        batches = self._batches(sources, tally)
        for found, mine in _mapped(self._counted, batches, n_threads):
            tally.update(mine)
            table.add(found)
        return CountReport(**tally)

    def _batches(
        self, sources: Iterable[TextSource], tally: Counter[str]
    ) -> Iterator[Sequence[str]]:
        batch: list[str] = []
        size = 0
        for source in sources:
            for text in self._documents(source, tally):
                batch.append(text)
                size += len(text)
                if size >= min(BATCH_BYTES, self.config.table_bytes):
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def _counted(self, texts: Sequence[str]) -> tuple[CountedWords, dict[str, int]]:
        """The words of a batch, and what a report says of them."""
        if self.normalizer:
            texts = [self.normalizer(text) for text in texts]
        found, n_left_out = self.loop(texts, self.cutter, self.config.max_in_document)
        found, n_long_words = _cut_long_words(found, self.config.max_word_bytes)
        return found, {
            "n_left_out": n_left_out,
            "n_long_words": n_long_words,
            "n_words": int(found.counts.sum()),
            "n_text_bytes": int((found.counts * found.lengths).sum()),
        }

    def _documents(self, source: TextSource, tally: Counter[str]) -> Iterator[str]:
        """The texts of a source, those too long in pieces."""
        if isinstance(source, CutFile):
            tally["n_documents"] += source.holds_start
            tally["n_forced_cuts"] += source.n_forced_cuts
            yield from source.texts()
            return
        limit = self.config.document_bytes
        for text in source.texts():
            tally["n_documents"] += 1
            if len(text) * 4 <= limit:  # no character takes more than four bytes
                yield well_formed(text)
                continue
            pieces, n_forced = pieces_of(well_formed(text), limit, self.words_of)
            tally["n_forced_cuts"] += n_forced
            yield from pieces


def _mapped(function: Callable[[A], B], items: Iterable[A], n_threads: int) -> Iterator[B]:
    """`map` in threads, in order; no more items are taken than threads can work on, and one."""
    if n_threads <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        at_work: deque[Future[B]] = deque()
        for item in items:
            at_work.append(pool.submit(function, item))
            if len(at_work) > n_threads:
                yield at_work.popleft().result()
        while at_work:
            yield at_work.popleft().result()


def _cut_long_words(found: CountedWords, limit_bytes: int) -> tuple[CountedWords, int]:
    """Cut words beyond the limit between characters; also how many occurrences that were.

    >>> cut, n_long_words = _cut_long_words(CountedWords.of(["naïveté".encode()], [2]), 4)
    >>> cut.words(), cut.counts.tolist(), n_long_words
    ([b'na\\xc3\\xaf', b'vet', b'\\xc3\\xa9'], [2, 2, 2], 2)
    """
    is_long = found.lengths > limit_bytes
    if not is_long.any():
        return found, 0
    long, short = found.where(is_long), found.where(~is_long)
    words: list[bytes] = []
    counts: list[int] = []
    for word, count in zip(long.words(), long.counts.tolist(), strict=True):
        begin = 0
        while begin < len(word):
            end = begin + limit_bytes
            while end < len(word) and end > begin + 1 and continues(word[end]):
                end -= 1
            words.append(word[begin:end])
            counts.append(count)
            begin = end
    return concatenated([short, CountedWords.of(words, counts)]), int(long.counts.sum())


def _count_shard(counting: _Counting, shard: Shard, folder: Path) -> tuple[Path, CountReport]:
    """Count a shard into a run, unless it stands already; the run and what was counted."""
    size, words_of = counting.config.document_bytes, counting.words_of
    sources = [cut_file(s, size, words_of) if isinstance(s, TextSpan) else s for s in shard]
    parameters = counting.parameters()
    run = folder / stable_hash([parameters, [source.fingerprint() for source in sources]])
    if (header := read_header(run)) is not None:
        return run, CountReport(**header["report"])
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f".{run.name}."  # and .tmp, so that `remove_leftovers` knows what a kill has left
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=".tmp", dir=folder) as scratch:
        table = Table(counting.config.table_bytes, Path(scratch))
        report = counting.count(sources, table)
        write_run(run, table.blocks(), {"parameters": parameters, "report": asdict(report)})
    return run, report


def _sum(reports: Iterable[CountReport]) -> CountReport:
    total: Counter[str] = Counter()
    for report in reports:
        total.update({name: n for name, n in asdict(report).items() if name != "min_count"})
    return CountReport(**total)
