"""Words and runs of words as 64-bit numbers, straight from UTF-8 bytes.

A word is a run of letters, marks and numbers, without regard to case; a character of a script that
writes no spaces (Han, kana, Thai, Khmer, ...) is a word by itself. All else only separates. So two
texts that differ in case, white space and punctuation have the same words. Near-duplicate search
(`signatures.py`, `shingles.py`) and decontamination compare texts by these numbers.

Legend
    data        UTF-8 bytes of many texts, one after the other: (n_bytes,) uint8
    offsets     where each text begins, and where the last ends: (n_texts + 1,) int64
    characters  what `character_table` gives: (0x110000,) uint32
"""

from __future__ import annotations

from functools import cache

import numpy as np

from groundup.tokenizer.compiled.jit import kernel
from groundup.tokenizer.unicode_classes import category_runs

SEPARATOR, IN_WORD, ALONE = 0, 1, 2  # what a character does
_KIND_SHIFT = 24  # above the 21 bits of a code point

# Scripts that put no space between words (unicode.org/Public/16.0.0/ucd/Blocks.txt).
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007),
    (0x3040, 0x312F), (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip

# SplitMix64 (Steele, Lea, Flood 2014): the step of its counter, and the multipliers of its hash.
STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_BASE = np.uint64(0xD1342543DE82EF95)  # of the polynomials over words; odd (Steele, Vigna 2021)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@kernel
def mix(value: np.uint64) -> np.uint64:
    """SplitMix64's hash of a number: every bit of the input reaches every bit of the output."""
    value = (value ^ (value >> _SHIFT_30)) * _MIX_1
    value = (value ^ (value >> _SHIFT_27)) * _MIX_2
    return value ^ (value >> _SHIFT_31)


def mix_all(values: np.ndarray) -> np.ndarray:
    """`mix` of each number of an array of uint64, without compiling.

    >>> mix_all(np.array([0, 1, 2], dtype=np.uint64))[0]
    np.uint64(0)
    """
    values = (values ^ (values >> _SHIFT_30)) * _MIX_1
    values = (values ^ (values >> _SHIFT_27)) * _MIX_2
    return values ^ (values >> _SHIFT_31)


@cache
def character_table() -> np.ndarray:
    """For each code point its folded form, and above it what it does: (0x110000,) uint32.

    Folding is Unicode's for characters that fold to a single one: A to a, Σ and ς to σ.
    """
    table = np.zeros(0x110000, dtype=np.uint32)
    for first, last, category in category_runs():
        codes = np.arange(first, last + 1, dtype=np.uint32)
        if category in ("Lu", "Lt", "Ll"):
            codes = np.array([_folded(int(code)) for code in codes], dtype=np.uint32)
        table[first : last + 1] = codes | np.uint32(IN_WORD << _KIND_SHIFT)
    for first, last in _UNSPACED:
        here = table[first : last + 1]
        here[here > 0] += np.uint32((ALONE - IN_WORD) << _KIND_SHIFT)
    return table


def _folded(code: int) -> int:
    folded = chr(code).casefold()
    return ord(folded) if len(folded) == 1 else code


def fold(text: str) -> list[str]:
    """The words of a text: the plain form that the kernels are held against.

    >>> fold("It's the GOOD  news: 天地!")
    ['it', 's', 'the', 'good', 'news', '天', '地']
    """
    table, words, word = character_table(), list[str](), ""
    for character in f"{text} ":
        entry = int(table[ord(character)])
        kind = entry >> _KIND_SHIFT
        folded = chr(entry & ((1 << _KIND_SHIFT) - 1))
        if kind == IN_WORD:
            word += folded
            continue
        if word:
            words.append(word)
            word = ""
        if kind == ALONE:
            words.append(folded)
    return words


@kernel
def hash_words(
    data: np.ndarray,
    start: int,
    stop: int,
    characters: np.ndarray,
    hashes: np.ndarray,
    places: np.ndarray,
) -> int:
    """Hash the words of data[start:stop]; returns how many there are.

    hashes: (at least (stop - start) // 2 + 1,) uint64, written;
    places: (the same, 2) int64, where each word begins and ends, or (0, 2) if nobody asks
    """
    n, at, begin = 0, start, -1
    word = _ZERO
    while at < stop:
        here = at
        lead = np.int64(data[at])
        if lead < 0x80:
            code = lead
            at += 1
        elif lead < 0xE0:
            code = ((lead & 0x1F) << 6) | (data[at + 1] & 0x3F)
            at += 2
        elif lead < 0xF0:
            code = ((lead & 0x0F) << 12) | (np.int64(data[at + 1] & 0x3F) << 6)
            code |= data[at + 2] & 0x3F
            at += 3
        else:
            code = ((lead & 0x07) << 18) | (np.int64(data[at + 1] & 0x3F) << 12)
            code |= (np.int64(data[at + 2] & 0x3F) << 6) | (data[at + 3] & 0x3F)
            at += 4
        entry = np.uint64(characters[code])
        if entry >> np.uint64(24) == _ONE:
            if begin < 0:
                begin, word = here, STEP
            word = (word ^ entry) * _BASE
            continue
        if begin >= 0:
            hashes[n] = mix(word)
            if len(places):
                places[n, 0], places[n, 1] = begin, here
            n, begin = n + 1, -1
        if entry:
            hashes[n] = mix((STEP ^ (entry - (_ONE << np.uint64(24)))) * _BASE)
            if len(places):
                places[n, 0], places[n, 1] = here, at
            n += 1
    if begin >= 0:
        hashes[n] = mix(word)
        if len(places):
            places[n, 0], places[n, 1] = begin, stop
        n += 1
    return n


@kernel
def hash_runs(words: np.ndarray, n_words: int, length: int, runs: np.ndarray) -> int:
    """Hash every run of `length` words that follow one another; returns how many there are.

    words: (n_words or more,) uint64; runs: (n_words - length + 1 or more,) uint64, written. It may
    be `words` itself. Run i begins with word i. A run's hash is that of a polynomial over its words
    modulo 2^64, kept up from run to run.
    """
    if n_words < length or length < 1:
        return 0
    power = _ONE
    for _ in range(length - 1):
        power *= _BASE
    value = _ZERO
    for i in range(length - 1):
        value = value * _BASE + words[i]
    for i in range(n_words - length + 1):
        value = value * _BASE + words[i + length - 1]
        first = words[i]
        runs[i] = mix(value)
        value -= first * power
    return n_words - length + 1


@kernel
def hash_shingles(words: np.ndarray, n_words: int, length: int, shingles: np.ndarray) -> int:
    """As `hash_runs`, but a text of fewer words is one shingle of them all; returns how many."""
    return hash_runs(words, n_words, min(n_words, length), shingles)


def words_of(text: str | bytes) -> tuple[np.ndarray, np.ndarray]:
    """The hash of each word of a text and its place in the UTF-8: (n_words,), (n_words, 2).

    >>> words_of("To be, or")[1].tolist()
    [[0, 2], [3, 5], [7, 9]]
    """
    data = np.frombuffer(text.encode() if isinstance(text, str) else text, dtype=np.uint8)
    hashes = np.empty(room_for(len(data)), dtype=np.uint64)
    places = np.empty((len(hashes), 2), dtype=np.int64)
    n = hash_words(data, 0, len(data), character_table(), hashes, places)
    return hashes[:n], places[:n]


def shingles_of(text: str, length: int) -> np.ndarray:
    """The distinct shingles of a text, sorted: (n_shingles,) uint64.

    >>> len(shingles_of("a rose is a rose is a rose", 3))
    3
    """
    words, _ = words_of(text)
    shingles = np.empty_like(words)
    n = hash_shingles(words, len(words), length, shingles)
    return np.unique(shingles[:n])


def room_for(n_bytes: int) -> int:
    """The most words a text of so many bytes can have.

    >>> room_for(5)  # "a b c"
    3
    """
    return n_bytes // 2 + 1
