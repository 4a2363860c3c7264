"""How much of a text says again what it said before: duplicate lines and n-grams, compiled.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
section A.1.1 and table A1. Segments and words come as 64-bit hashes; two that differ are taken for
one with a chance of about n^2 / 2^65, below one in a billion for a text of 100,000 words. Called by
`scores.py`. A word of an n-gram is as `words.join_words` says: of Chinese, Japanese, Thai and other
scripts without spaces it is two or three characters.

Legend
    hashes   (n,) uint64, of words or of lines
    lengths  (n,) int64, in characters
    kinds    (n,) uint8, of words
    joined   (n,) uint64, the hash of the word that begins at a place
    ends     (n,) int64, where the word after it begins; after n of them, behind an n-gram
    slots    (power of two > n,) int64, an open-addressing table of places + 1; 0 where it is free
"""

from __future__ import annotations

import numpy as np

from groundup.data.cleaning.words import IS_UNSPACED, Words, join_words
from groundup.tokenizer.compiled.jit import kernel

TOP_N_GRAMS = (2, 3, 4)
DUPLICATE_N_GRAMS = (5, 6, 7, 8, 9, 10)
_PRIME, _MIX, _SHIFT = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


def count_duplicates(hashes: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
    """How many segments have been seen before in the text, and their characters.

    >>> count_duplicates(np.array([7, 8, 7, 7], np.uint64), np.array([3, 5, 3, 3]))
    (2, 6)
    """
    n, n_characters = sum_duplicates(hashes, lengths, _slots(len(hashes)))
    return int(n), int(n_characters)


def n_gram_characters(words: Words) -> np.ndarray:
    """Characters in the commonest 2, 3, 4-gram and in repeated 5 to 10-grams, int64: (9,).

    The commonest n-gram counts with a space between words (none beside a character of an unspaced
    script), times how often it comes; of equally common ones the first counts. A repeated n-gram
    counts without spaces, each time it comes again, and the next is looked for behind it, so no
    word counts twice.

    >>> from groundup.data.cleaning.characters import code_points
    >>> from groundup.data.cleaning.words import find_words
    >>> n_gram_characters(find_words(code_points("hens lay hens lay hens lay eggs"))).tolist()
    [24, 26, 34, 0, 0, 0, 0, 0, 0]
    >>> n_gram_characters(find_words(code_points("春眠不觉晓，处处闻啼鸟。"))).tolist()
    [4, 5, 6, 0, 0, 0, 0, 0, 0]
    """
    found = np.zeros(len(TOP_N_GRAMS) + len(DUPLICATE_N_GRAMS), dtype=np.int64)
    n = len(words)
    joined, next_word = np.empty(n, dtype=np.uint64), np.empty(n, dtype=np.int64)
    join_words(words.hashes, words.kinds, joined, next_word)
    grams, ends, counts = joined.copy(), next_word.copy(), np.empty(n, dtype=np.int64)
    sum_n_grams(
        words.lengths, words.kinds, joined, next_word, _slots(n), grams, ends, counts, found
    )
    return found


def gram_hashes(hashes: np.ndarray, n: int) -> np.ndarray:
    """The hash of each n-gram of words, uint64: (n_words - n + 1,), or none of a shorter text."""
    grams = hashes.copy()
    for length in range(2, n + 1):
        extend_grams(grams, hashes, length)
    return grams[: max(len(hashes) - n + 1, 0)]


def _slots(n: int) -> np.ndarray:
    return np.zeros(1 << (2 * n + 1).bit_length(), dtype=np.int64)


# --- compiled -------------------------------------------------------------------------------------


@kernel
def find_or_enter(grams: np.ndarray, place: int, slots: np.ndarray) -> int:
    """The first place entered before that has the gram at `place`, or -1 and it is entered."""
    mask = len(slots) - 1
    slot = np.int64(grams[place] >> _SHIFT) & mask
    while slots[slot] != 0:
        if grams[slots[slot] - 1] == grams[place]:
            return slots[slot] - 1
        slot = (slot + 1) & mask
    slots[slot] = place + 1
    return -1


@kernel
def sum_duplicates(hashes: np.ndarray, lengths: np.ndarray, slots: np.ndarray) -> tuple[int, int]:
    """(duplicates, their characters) among segments; `slots` is empty."""
    n, n_characters = 0, 0
    for place in range(len(hashes)):
        if find_or_enter(hashes, place, slots) >= 0:
            n += 1
            n_characters += lengths[place]
    return n, n_characters


@kernel
def extend_grams(grams: np.ndarray, hashes: np.ndarray, n: int) -> None:
    """Turn the hashes of (n-1)-grams into those of n-grams."""
    for place in range(len(hashes) - n + 1):
        value = (grams[place] * _PRIME) ^ hashes[place + n - 1]
        value = (value ^ (value >> _SHIFT)) * _MIX
        grams[place] = value ^ (value >> _SHIFT)


@kernel
def extend_words(
    grams: np.ndarray, ends: np.ndarray, joined: np.ndarray, next_word: np.ndarray, n_grams: int
) -> int:
    """The same by one word as `join_words` has them, of the first `n_grams`; how many are left."""
    for place in range(n_grams):
        last = ends[place]
        if last == len(joined):  # the text ends; so it does for all that begin later
            return place
        value = (grams[place] * _PRIME) ^ joined[last]
        value = (value ^ (value >> _SHIFT)) * _MIX
        grams[place] = value ^ (value >> _SHIFT)
        ends[place] = next_word[last]
    return n_grams


@kernel
def sum_n_grams(
    lengths: np.ndarray,
    kinds: np.ndarray,
    joined: np.ndarray,
    next_word: np.ndarray,
    slots: np.ndarray,
    grams: np.ndarray,
    ends: np.ndarray,
    counts: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fill `found`; `grams` and `ends` begin as `joined` and `next_word`."""
    n_grams = len(joined)
    for n in range(2, 11):
        n_grams = extend_words(grams, ends, joined, next_word, n_grams)
        if n_grams < 1:
            return
        for slot in range(len(slots)):
            slots[slot] = 0
        if n < 5:
            best, times = _commonest(grams, n_grams, slots, counts)
            found[n - 2] = times * _width(best, ends[best], lengths, kinds)
        else:
            found[n - 2] = _repeated(grams, ends, n_grams, lengths, slots)
            if found[n - 2] == 0:  # no 5-gram comes twice, so no longer one does
                return


@kernel
def _commonest(
    grams: np.ndarray, n_grams: int, slots: np.ndarray, counts: np.ndarray
) -> tuple[int, int]:
    """The first place of the commonest gram, and how often it comes."""
    for place in range(n_grams):
        counts[place] = 0
    for place in range(n_grams):
        first = find_or_enter(grams, place, slots)
        counts[first if first >= 0 else place] += 1
    best = 0
    for place in range(n_grams):
        if counts[place] > counts[best]:
            best = place
    return best, counts[best]


@kernel
def _width(begin: int, end: int, lengths: np.ndarray, kinds: np.ndarray) -> int:
    """Characters of words joined by spaces, where spaces part them."""
    n_characters = lengths[begin]
    for word in range(begin + 1, end):
        n_characters += lengths[word]
        if not (kinds[word - 1] | kinds[word]) & IS_UNSPACED:
            n_characters += 1
    return n_characters


@kernel
def _repeated(
    grams: np.ndarray, ends: np.ndarray, n_grams: int, lengths: np.ndarray, slots: np.ndarray
) -> int:
    n_characters = 0
    place = 0
    while place < n_grams:
        if find_or_enter(grams, place, slots) < 0:
            place += 1
            continue
        for word in range(place, ends[place]):
            n_characters += lengths[word]
        place = ends[place]
    return n_characters
