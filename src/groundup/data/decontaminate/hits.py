"""Where texts share runs of words with evaluation sets.

A hash that is in the index only points at a place; it is a hit when the words there are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from groundup.data.decontaminate.index import Index
from groundup.data.dedup.texts import Texts, as_texts
from groundup.data.dedup.words import (
    character_table,
    fold,
    hash_runs,
    hash_words,
    room_for,
    words_of,
)
from groundup.tokenizer.compiled.jit import kernel

_FIRST_ROOM = 1 << 12


@dataclass(frozen=True)
class Hit:
    """A run of words that a text shares with an item: its place in the text's UTF-8, in bytes."""

    benchmark: str
    item: int
    start: int
    end: int


def find_hits(texts: Sequence[str], index: Index) -> list[list[Hit]]:
    """The hits in each text, in the order of their places."""
    column = pa.array(texts, pa.string())
    return [hits for chunk in as_texts(column) for hits in hits_of(chunk, index)]


def hits_of(texts: Texts, index: Index) -> Iterator[list[Hit]]:
    """The hits in each text of a chunk."""
    pointed = places_in(texts, index)
    bounds = np.searchsorted(pointed["text"], np.arange(len(texts) + 1))
    for number in range(len(texts)):
        here = pointed[bounds[number] : bounds[number + 1]]
        yield verified(bytes(texts.bytes(number)), here, index) if len(here) else []


PLACE = np.dtype([("hash", "<u8"), ("text", "<i8"), ("word", "<i8"), ("length", "<i8")])


def places_in(texts: Texts, index: Index) -> np.ndarray:
    """Where runs of words have hashes of the index, by text and word: (n,) PLACE."""
    if not len(index.runs):
        return np.empty(0, dtype=PLACE)
    room = _FIRST_ROOM
    words = np.empty(room_for(texts.longest), dtype=np.uint64)
    runs = np.empty_like(words)
    while True:
        hashes = np.empty(room, dtype=np.uint64)
        places = np.empty((room, 3), dtype=np.int64)
        n = _find(
            texts.data, texts.offsets, character_table(), index.lengths, index.hashes,
            index.filter, words, runs, hashes, places,
        )  # fmt: skip
        if n <= room:
            break
        room = n
    found = np.empty(n, dtype=PLACE)
    found["hash"] = hashes[:n]
    found["text"], found["word"], found["length"] = places[:n].T
    return found[np.lexsort((found["length"], found["word"], found["text"]))]


def verified(data: bytes, places: np.ndarray, index: Index) -> list[Hit]:
    """The hits among places where hashes agree: those where the words do."""
    words = fold(data.decode())
    _, spans = words_of(data)
    hits: dict[Hit, None] = {}
    for value, _, word, length in places.tolist():
        here = words[word : word + length]
        for _, run_length, text, position, _ in index.of_hash(value).tolist():
            benchmark, item, item_text = index.texts[text]
            if run_length == length and _folded(item_text)[position : position + length] == here:
                start, end = int(spans[word, 0]), int(spans[word + length - 1, 1])
                hits[Hit(benchmark, item, start, end)] = None
    return list(hits)


@lru_cache(maxsize=1024)
def _folded(text: str) -> list[str]:
    return fold(text)


@kernel
def _find(
    data: np.ndarray,
    offsets: np.ndarray,
    characters: np.ndarray,
    lengths: np.ndarray,
    wanted: np.ndarray,
    bits: np.ndarray,
    words: np.ndarray,
    runs: np.ndarray,
    hashes: np.ndarray,
    places: np.ndarray,
) -> int:
    """Write where runs have a wanted hash; returns how many there are, of which what fits."""
    no_places = np.empty((0, 2), dtype=np.int64)
    n_bits = 3
    while (len(bits) << 3) >> n_bits > 1:
        n_bits += 1
    shift = np.uint64(64 - n_bits)
    n = 0
    for text in range(len(offsets) - 1):
        n_words = hash_words(data, offsets[text], offsets[text + 1], characters, words, no_places)
        for length in lengths:
            for i in range(hash_runs(words, n_words, length, runs)):
                value = runs[i]
                place = value >> shift
                if not (bits[place >> np.uint64(3)] >> (place & np.uint64(7))) & np.uint64(1):
                    continue
                low, high = 0, len(wanted)
                while low < high:
                    middle = (low + high) >> 1
                    if wanted[middle] < value:
                        low = middle + 1
                    else:
                        high = middle
                if low < len(wanted) and wanted[low] == value:
                    if n < len(hashes):
                        hashes[n] = value
                        places[n, 0], places[n, 1], places[n, 2] = text, i, length
                    n += 1
    return n
