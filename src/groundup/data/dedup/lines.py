"""The lines of texts, for those that stand in several documents to be cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from groundup.data.dedup.keys import KeyWriter
from groundup.data.dedup.repeats import PLACE, hash_bytes
from groundup.data.dedup.signatures import content_keys
from groundup.data.dedup.texts import Texts, texts_of
from groundup.tokenizer.compiled.jit import kernel

_SEEDS = (np.uint64(1), np.uint64(2))
_NEWLINE, _BLANK = 10, 32


def find_lines(shard: Path, min_bytes: int, out: Path) -> dict[str, int]:
    """Write a `repeats.PLACE` for each line of a shard's texts that may be cut (`lines_of`).

    Lines are compared without the white space around them, and cut with it and their newline.
    """
    with KeyWriter(out, PLACE) as writer:
        for texts in texts_of(shard):
            writer.add(lines_of(texts, min_bytes))
    return {"lines": writer.n_entries}


def lines_of(texts: Texts, min_bytes: int) -> np.ndarray:
    """The lines of at least so many bytes, a letter or number among them: (n,) `repeats.PLACE`."""
    begin, end = int(texts.offsets[0]), int(texts.offsets[-1])
    room = (end - begin) // min_bytes + 1
    hashes = np.empty((room, 2), dtype=np.uint64)
    places = np.empty((room, 3), dtype=np.int64)  # text, start, end
    n = _find_lines(texts.data, texts.offsets, min_bytes, *_SEEDS, hashes, places)
    return as_places(texts, hashes[:n], places[:n])


def as_places(texts: Texts, hashes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """hashes: (n, 2) uint64; places: (n, 3) of text, start, end -> (n,) `repeats.PLACE`."""
    found = np.empty(len(hashes), dtype=PLACE)
    found["key"], found["check"] = hashes.T
    found["content"] = content_keys(texts)[places[:, 0]]
    found["row"] = texts.first_row + places[:, 0]
    begins = texts.offsets[places[:, 0]]
    found["start"], found["end"] = places[:, 1] - begins, places[:, 2] - begins
    return found


@kernel
def _has_letters(data: np.ndarray, start: int, stop: int) -> bool:
    """Whether there is an ASCII letter or digit, or a character beyond ASCII."""
    for i in range(start, stop):
        byte = data[i]
        letter = byte | 32
        if byte >= 128 or 48 <= byte <= 57 or 97 <= letter <= 122:
            return True
    return False


@kernel
def _find_lines(
    data: np.ndarray,
    offsets: np.ndarray,
    min_bytes: int,
    seed_1: np.uint64,
    seed_2: np.uint64,
    hashes: np.ndarray,
    places: np.ndarray,
) -> int:
    n = 0
    for text in range(len(offsets) - 1):
        begin, stop = offsets[text], offsets[text + 1]
        while begin < stop:
            end = begin
            while end < stop and data[end] != _NEWLINE:
                end += 1
            first, last = begin, end
            while first < last and data[first] <= _BLANK:
                first += 1
            while last > first and data[last - 1] <= _BLANK:
                last -= 1
            behind = min(end + 1, stop)
            if last - first >= min_bytes and _has_letters(data, first, last):
                hashes[n, 0] = hash_bytes(data, first, last, seed_1)
                hashes[n, 1] = hash_bytes(data, first, last, seed_2)
                places[n, 0], places[n, 1], places[n, 2] = text, begin, behind
                n += 1
            begin = behind
    return n
