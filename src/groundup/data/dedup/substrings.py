"""Windows of texts, chosen by what is in them, for long repeated substrings to be cut.

Looking up every window of n bytes would take ten times the text. Winnowing (Schleimer, Wilkerson,
Aiken 2003) takes of every w windows that follow one another one with the smallest hash. Two texts
that share n + w - 1 bytes share w windows, and choose the same one of them, or equal ones. Of equal
ones the one that was chosen before stays chosen, so a row of dashes is not looked up at each dash.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from groundup.data.dedup.config import SubstringsConfig
from groundup.data.dedup.keys import KeyWriter
from groundup.data.dedup.lines import as_places
from groundup.data.dedup.repeats import PLACE, hash_bytes
from groundup.data.dedup.texts import Texts, texts_of
from groundup.data.dedup.words import STEP, mix
from groundup.tokenizer.compiled.jit import kernel

_SEEDS = (np.uint64(3), np.uint64(4))
_BASE = np.uint64(0xD1342543DE82EF95)  # of the polynomial over bytes; odd (Steele, Vigna 2021)
_ONE = np.uint64(1)
_ROOM = 3  # times 1 / (sample_bytes + 1): half more than hashes in random order take


def find_windows(shard: Path, config: SubstringsConfig, out: Path) -> dict[str, int]:
    """Write a `repeats.PLACE` for each chosen window of a shard's texts."""
    with KeyWriter(out, PLACE) as writer:
        for texts in texts_of(shard):
            writer.add(windows_of(texts, config))
    return {"windows": writer.n_entries}


def windows_of(texts: Texts, config: SubstringsConfig) -> np.ndarray:
    """The chosen windows: (n,) `repeats.PLACE`."""
    n_bytes = int(texts.offsets[-1] - texts.offsets[0])
    room = min(_ROOM * n_bytes // (config.sample_bytes + 1), n_bytes) + 1
    ranks = np.empty(texts.longest + 1, dtype=np.uint64)
    while True:
        chosen = np.empty((room, 2), dtype=np.int64)  # text, start
        n = _choose(
            texts.data, texts.offsets, config.min_bytes, config.sample_bytes, ranks, chosen
        )  # fmt: skip
        if n <= room:
            break
        room = n
    chosen = chosen[:n].copy()
    hashes = np.empty((n, 2), dtype=np.uint64)
    _hash_windows(texts.data, chosen, config.min_bytes, *_SEEDS, hashes)
    ends = chosen[:, 1:] + config.min_bytes
    return as_places(texts, hashes, np.concatenate([chosen, ends], axis=1))


@kernel
def _choose(
    data: np.ndarray,
    offsets: np.ndarray,
    min_bytes: int,
    sample_bytes: int,
    ranks: np.ndarray,
    chosen: np.ndarray,
) -> int:
    """The windows of the smallest rank among each `sample_bytes`, of equals the one chosen before.

    chosen: (any, 2), written as far as it goes; returns how many there are.
    """
    power = _ONE
    for _ in range(min_bytes):
        power *= _BASE
    n = 0
    for text in range(len(offsets) - 1):
        begin = offsets[text]
        n_windows = offsets[text + 1] - begin - min_bytes + 1
        if n_windows < sample_bytes:
            continue
        value = np.uint64(0)
        for i in range(min_bytes - 1):
            value = value * _BASE + np.uint64(data[begin + i]) + _ONE
        for i in range(n_windows):
            value = value * _BASE + np.uint64(data[begin + i + min_bytes - 1]) + _ONE
            if i > 0:
                value -= (np.uint64(data[begin + i - 1]) + _ONE) * power
            ranks[i] = mix(value * STEP)
        best, last = -1, -1
        for i in range(sample_bytes - 1, n_windows):
            if best <= i - sample_bytes:
                best = i - sample_bytes + 1
                for j in range(best + 1, i + 1):
                    if ranks[j] <= ranks[best]:
                        best = j
            elif ranks[i] < ranks[best]:
                best = i
            if best != last:
                if n < len(chosen):
                    chosen[n, 0], chosen[n, 1] = text, begin + best
                n, last = n + 1, best
    return n


@kernel
def _hash_windows(
    data: np.ndarray,
    chosen: np.ndarray,
    min_bytes: int,
    seed_1: np.uint64,
    seed_2: np.uint64,
    hashes: np.ndarray,
) -> None:
    for index in range(len(chosen)):
        start = chosen[index, 1]
        hashes[index, 0] = hash_bytes(data, start, start + min_bytes, seed_1)
        hashes[index, 1] = hash_bytes(data, start, start + min_bytes, seed_2)
