"""The fast path: the same ids as the readable one, by kernels over arrays, on several threads.

A batch of texts becomes one array of bytes. Its words are found (`scan.py`, or the cutter itself
for a pattern of one's own), each distinct word is entered in a table (`word_table.py`), words that
are new to the table are spelled (`bpe.py`, `wordpiece.py`, `unigram.py`), and the ids put together
by the words' numbers. A text's words are few and come again and again: hardly any is spelled twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Protocol

import numpy as np

from groundup.tokenizer.bpe import Bpe
from groundup.tokenizer.compiled.bpe import BpeSpeller
from groundup.tokenizer.compiled.gather import gather
from groundup.tokenizer.compiled.scan import SCANNED, as_array, scan_texts
from groundup.tokenizer.compiled.word_table import WordTable
from groundup.tokenizer.normalize import Normalizer
from groundup.tokenizer.pretokenize import Cutter, PatternCutter, well_formed

__all__ = ["CompiledEncoder"]

_CHUNK_BYTES = 1 << 20
_KEPT_WORDS = 1 << 19


class Speller(Protocol):
    """Spells words that are not in the table yet."""

    def spell(
        self, arena: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids one after the other, and how many are each word's."""


class CompiledEncoder:
    """Texts to arrays of ids.

    >>> from groundup.tokenizer.bpe import byte_level_bpe
    >>> encoder = CompiledEncoder(byte_level_bpe([(71, 72)]), PatternCutter("qwen2"), None)
    >>> [ids.tolist() for ids in encoder.encode_batch(["hi", "hi hi"], 1)]
    [[256], [256, 220, 256]]
    """

    def __init__(self, model: Any, cutter: Cutter, normalizer: Normalizer | None) -> None:
        self._model, self._cutter, self._normalizer = model, cutter, normalizer
        self._speller = speller_of(model)
        self._idle: list[_Worker] = []
        self._lock = Lock()

    def encode_batch(self, texts: Sequence[str], n_threads: int | None) -> list[np.ndarray]:
        """The ids of each text, int32: (n_tokens,)."""
        chunks = list(_chunks(texts))
        n_threads = min(n_threads or n_cpus(), len(chunks))
        if n_threads <= 1:
            return [ids for chunk in chunks for ids in self._encode_chunk(chunk)]
        with ThreadPoolExecutor(n_threads) as pool:
            return [ids for found in pool.map(self._encode_chunk, chunks) for ids in found]

    def encode_words(self, words: Sequence[bytes]) -> list[np.ndarray]:
        """The ids of each word, int32: (n_tokens,)."""
        ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        numbers = np.arange(1, len(words) + 1)
        return self._with_worker(as_array(b"".join(words)), ends, numbers)

    def _encode_chunk(self, texts: Sequence[str]) -> list[np.ndarray]:
        if isinstance(self._cutter, PatternCutter) and self._cutter.pattern in SCANNED:
            text, ends, n_words = scan_texts(self._prepared(texts), self._cutter.pattern)
        else:
            words = [self._cutter.cut(well_formed(text)) for text in self._prepared(texts)]
            lengths = [len(word) for found in words for word in found]
            text = as_array(b"".join(word for found in words for word in found))
            ends = np.cumsum(lengths, dtype=np.int64)
            n_words = np.cumsum([len(found) for found in words])
        return self._with_worker(text, ends, n_words)

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        normalizer = self._normalizer
        if normalizer is None:
            return list(texts)
        return [normalizer(well_formed(text)) for text in texts]

    def _with_worker(
        self, text: np.ndarray, ends: np.ndarray, n_words: np.ndarray
    ) -> list[np.ndarray]:
        with self._lock:
            worker = self._idle.pop() if self._idle else _Worker(self._speller, self._model)
        try:
            return worker.encode(text, ends, n_words)
        finally:
            if worker.table.n_words < _KEPT_WORDS:
                with self._lock:
                    self._idle.append(worker)


class _Worker:
    """A table of words and what they are spelled as; one thread's at a time."""

    def __init__(self, speller: Speller, model: Any) -> None:
        self.table = WordTable()
        self._speller = speller
        self._ids = np.empty(1 << 16, dtype=np.int32)
        self._ends = np.zeros(1, dtype=np.int64)  # of each word's ids; 0 stands before the first
        if getattr(model, "whole_words", False):
            self._enter_pieces(model)

    def _enter_pieces(self, model: Bpe) -> None:
        """Words that are pieces need no spelling."""
        pieces = list(model.id_of)
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        self.table.intern(as_array(b"".join(pieces)), 0, ends)
        ids = np.fromiter(model.id_of.values(), dtype=np.int32, count=len(pieces))
        self._append(ids, np.ones(len(pieces), dtype=np.int32))

    def encode(self, text: np.ndarray, ends: np.ndarray, n_words: np.ndarray) -> list[np.ndarray]:
        """The ids of each text; n_words: (n_texts,), the words up to each text's end."""
        known = self.table.n_words
        numbers = self.table.intern(text, 0, ends)
        if self.table.n_words > known:
            self._append(*self._speller.spell(*self.table.spelled(known)))
        ids, id_ends = gather(numbers, self._ids, self._ends)
        cuts = np.concatenate([[0], n_words]).astype(np.int64)
        places = id_ends[cuts]
        return [ids[a:b] for a, b in zip(places[:-1].tolist(), places[1:].tolist(), strict=True)]

    def _append(self, ids: np.ndarray, counts: np.ndarray) -> None:
        n_ids = int(self._ends[-1])
        while len(self._ids) < n_ids + len(ids):
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
        self._ids[n_ids : n_ids + len(ids)] = ids
        self._ends = np.concatenate([self._ends, n_ids + np.cumsum(counts, dtype=np.int64)])


def speller_of(model: Any) -> Speller:
    """The kernels that spell as a model does."""
    match model.name:
        case "bpe":
            return BpeSpeller(model)
        case "wordpiece":
            from groundup.tokenizer.compiled.wordpiece import WordPieceSpeller

            return WordPieceSpeller(model)
        case "unigram":
            from groundup.tokenizer.compiled.unigram import UnigramSpeller

            return UnigramSpeller(model)
    raise AssertionError(model.name)


def n_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _chunks(texts: Sequence[str]) -> list[list[str]]:
    """Texts in order, about a chunk's bytes together."""
    chunks: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if chunks[-1] and size + len(text) > _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(text)
        size += len(text)
    return chunks if chunks[0] else []
