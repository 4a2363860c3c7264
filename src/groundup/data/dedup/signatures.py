"""MinHash signatures of texts and the keys of their bands: the first step of near-duplicate search.

Each of the signature's hash functions sends 32-bit shingle hashes x to a*x + b modulo 2^32, a odd,
which permutes them; its number is the smallest it gives on the shingles of a text. x comes out of
`hash_shingles`, whose bits are mixed already. The loop over the functions is one the compiler turns
into vector instructions, which is why this is done here and not by a library (bench/data_dedup.py
has rensa's speed beside it).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xxhash

from groundup.data.dedup.config import NearConfig
from groundup.data.dedup.keys import KEY, KeyWriter
from groundup.data.dedup.texts import Texts, texts_of
from groundup.data.dedup.words import (
    STEP,
    character_table,
    hash_shingles,
    hash_words,
    mix,
    mix_all,
    room_for,
)
from groundup.runtime import derive_seed
from groundup.tokenizer.compiled.jit import kernel

_LARGEST = np.uint32(0xFFFFFFFF)
_UPPER_HALF = np.uint64(32)


def sign_shard(shard: Path, config: NearConfig, out: Path) -> dict[str, int]:
    """Write the band keys of a shard's texts into the folder `out`; texts without words have none.

    An entry (`keys.KEY`) is a band's key, the hash of the text, and its row.
    """
    n_documents = n_without_words = 0
    with KeyWriter(out, KEY) as writer:
        for texts in texts_of(shard):
            signatures, n_shingles = sign_texts(texts, config)
            has_words = n_shingles > 0
            n_documents += len(texts)
            n_without_words += int(np.count_nonzero(~has_words))
            keys = band_keys(signatures[has_words], config)
            entries = np.empty(keys.size, dtype=KEY)
            entries["key"] = keys.reshape(-1)
            entries["check"] = np.repeat(content_keys(texts)[has_words], config.bands)
            entries["row"] = np.repeat(texts.rows[has_words], config.bands)
            writer.add(entries)
    return {"documents": n_documents, "without_words": n_without_words, "keys": writer.n_entries}


def content_keys(texts: Texts) -> np.ndarray:
    """A 64-bit hash of each text, by which texts have an order of their own: (n_texts,) uint64."""
    digests = (xxhash.xxh3_64_intdigest(texts.bytes(i)) for i in range(len(texts)))
    return np.fromiter(digests, dtype=np.uint64, count=len(texts))


def sign_texts(texts: Texts, config: NearConfig) -> tuple[np.ndarray, np.ndarray]:
    """Signatures and how many shingles each was made of: (n_texts, n_hashes) uint32, (n_texts,).

    The shingles are counted with repetitions; where there are none the signature says nothing.
    """
    signatures = np.empty((len(texts), config.n_hashes), dtype=np.uint32)
    n_shingles = np.empty(len(texts), dtype=np.int64)
    scratch = np.empty(room_for(texts.longest), dtype=np.uint64)
    multipliers, addends = _permutations(config)
    _sign(
        texts.data, texts.offsets, character_table(), config.shingle_words,
        multipliers, addends, scratch, signatures, n_shingles,
    )  # fmt: skip
    return signatures, n_shingles


def band_keys(signatures: np.ndarray, config: NearConfig) -> np.ndarray:
    """One key for each band, its number hashed in: (n, n_hashes) uint32 -> (n, bands) uint64."""
    keys = np.empty((len(signatures), config.bands), dtype=np.uint64)
    _hash_bands(signatures, config.rows, keys)
    return keys


def _permutations(config: NearConfig) -> tuple[np.ndarray, np.ndarray]:
    """The odd multipliers and the addends: (n_hashes,) uint32 each."""
    start = np.uint64(derive_seed(config.seed, "minhash"))
    counter = np.arange(1, 2 * config.n_hashes + 1, dtype=np.uint64) * STEP + start
    drawn = (mix_all(counter) >> _UPPER_HALF).astype(np.uint32)
    return drawn[: config.n_hashes] | np.uint32(1), drawn[config.n_hashes :]


@kernel
def _sign(
    data: np.ndarray,
    offsets: np.ndarray,
    characters: np.ndarray,
    shingle_words: int,
    multipliers: np.ndarray,
    addends: np.ndarray,
    scratch: np.ndarray,
    signatures: np.ndarray,
    n_shingles: np.ndarray,
) -> None:
    no_places = np.empty((0, 2), dtype=np.int64)
    for index in range(len(offsets) - 1):
        start, stop = offsets[index], offsets[index + 1]
        n_words = hash_words(data, start, stop, characters, scratch, no_places)
        n = hash_shingles(scratch, n_words, shingle_words, scratch)
        n_shingles[index] = n
        signature = signatures[index]
        for k in range(len(multipliers)):
            signature[k] = _LARGEST
        for i in range(n):
            shingle = np.uint32(scratch[i] >> _UPPER_HALF)
            for k in range(len(multipliers)):
                value = np.uint32(shingle * multipliers[k] + addends[k])
                signature[k] = min(signature[k], value)


@kernel
def _hash_bands(signatures: np.ndarray, rows: int, keys: np.ndarray) -> None:
    for index in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            key = mix(np.uint64(band + 1) * STEP)
            for row in range(band * rows, (band + 1) * rows):
                key = mix(key ^ np.uint64(signatures[index, row]))
            keys[index, band] = key
