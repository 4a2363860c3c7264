"""Lengths of many texts in little memory, and which document a piece of text is of.

Part of what the page of prepared data tells; called by `data_measured.py` and `data_facts.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from groundup.data.reading.formats import kind_of

_PER_DOUBLING = 16  # bins, so that a median is right within 4%
_MANY_ROWS = ("jsonl", "json", "csv", "tsv", "parquet", "warc")  # each is a document of its own


@dataclass
class Lengths:
    """Documents by their length, in bins that double: {k: documents of 2^k to 2^(k+1) - 1}.

    median: half of the documents are shorter; median_of_text: half of the text is in shorter ones
    """

    bins: dict[int, int]
    n: int
    total: int
    longest: int
    median: int
    median_of_text: int = 0


class LengthTally:
    """Lengths in bins that double, and in finer ones for the medians."""

    def __init__(self) -> None:
        self._fine: Counter[int] = Counter()
        self._text: Counter[int] = Counter()
        self._n = self._total = self._longest = 0
        self._bins: Counter[int] = Counter()

    def add(self, lengths: np.ndarray) -> None:
        """lengths: (n,), zero or more each"""
        lengths = np.asarray(lengths, dtype=np.int64)
        if not len(lengths):
            return
        logs = np.log2(np.maximum(lengths, 1))
        for counter, per in ((self._bins, 1), (self._fine, _PER_DOUBLING)):
            values, places, counts = np.unique(
                np.floor(logs * per).astype(int), return_inverse=True, return_counts=True
            )
            counter.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        sums = np.bincount(places, weights=lengths).astype(np.int64)
        self._text.update(dict(zip(values.tolist(), sums.tolist(), strict=True)))
        self._n += len(lengths)
        self._total += int(lengths.sum())
        self._longest = max(self._longest, int(lengths.max()))

    def lengths(self) -> Lengths:
        """What was added."""
        bins = dict(sorted(self._bins.items()))
        medians = (min(_middle(one), self._longest) for one in (self._fine, self._text))
        return Lengths(bins, self._n, self._total, self._longest, *medians)


def _middle(fine: Counter[int]) -> int:
    """The length at which half of what is counted lies in lower bins."""
    seen, total = 0, fine.total()
    for place, n in sorted(fine.items()):
        seen += n
        if 2 * seen >= total:
            return round(2 ** ((place + 0.5) / _PER_DOUBLING))
    return 0


def document_of(id: str) -> str:
    """The document that a piece is of: reading cuts what is very long, and dividing all that is.

    Of a file of rows or pages each is one, of any other the file is.

    >>> document_of("web/app.js#5.12"), document_of("a/b.zip!/c.csv.gz#7.3"), document_of("a#7")
    ('web/app.js', 'a/b.zip!/c.csv.gz#7', 'a#7')
    """
    name, mark, number = id.rpartition("#")
    if not mark:
        return id
    return f"{name}#{number.partition('.')[0]}" if _has_rows(name) else name


@lru_cache(maxsize=1024)
def _has_rows(name: str) -> bool:
    kind = kind_of(name)
    return kind is None or kind.format in _MANY_ROWS


class Joined:
    """Lengths of documents from those of their pieces, which follow each other.

    The first and the last document of a file may have more pieces in another one, so these are held
    until all files were seen.
    """

    def __init__(self) -> None:
        self.n_cut = 0
        self._held: dict[str, tuple[int, int]] = {}
        self._name: str | None = None
        self._length = self._n_pieces = 0
        self._is_first = True

    def add(self, ids: Iterable[str], lengths: Iterable[int]) -> Iterator[tuple[str, int]]:
        """Gives (document, its length) for each that has come to its end."""
        for id, length in zip(ids, lengths, strict=True):
            name = document_of(id)
            if name != self._name:
                if self._name is not None and not self._is_first:
                    self.n_cut += self._n_pieces > 1
                    yield self._name, self._length
                else:
                    self._hold()
                    self._is_first = self._name is None
                self._name, self._length, self._n_pieces = name, 0, 0
            self._length += length
            self._n_pieces += 1

    def end_file(self) -> None:
        """What comes next is from another file."""
        self._hold()
        self._name, self._is_first = None, True

    def end(self) -> Iterator[tuple[str, int]]:
        """Gives those that were held."""
        self.end_file()
        for name, (length, n_pieces) in self._held.items():
            self.n_cut += n_pieces > 1
            yield name, length
        self._held = {}

    def _hold(self) -> None:
        if self._name is not None:
            length, n_pieces = self._held.get(self._name, (0, 0))
            self._held[self._name] = (length + self._length, n_pieces + self._n_pieces)
