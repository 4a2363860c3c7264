"""What a word and a sentence are to the rules: plainly by patterns, and compiled.

Gopher's paper does not say how it cuts words; datatrove, which FineWeb was made with, asks spaCy.
Here a word is, reading from left to right, the first of these that fits:

- one letter of a script that does not part words (Chinese, Japanese, Thai ...), with its marks;
- a run of letters, marks, numbers and underscores, in which an apostrophe may stand between two of
  them, and a point or comma between two digits: `don't`, `snake_case`, `3.14`, `1,000`;
- a run of one and the same other character: `...`, `####`, `-`, `(`.

Where a rule counts words or looks for n-grams of them, a letter alone is too little: limits made
for English would find Chinese, Japanese or Thai prose repetitive. FineWeb-2 (Penedo et al. 2025)
asks a segmenter of each language. Here a word is two characters of Chinese or Japanese or three
letters of an unspaced alphabet (`join_words`), which needs no dictionary: with these lengths the
Declaration of Human Rights has as many repeated n-grams in these languages as in 372 spaced ones.

Called by `scores.py`, `word_list.py` and `classifier.py`. `split_words` is what the kernel is held
against, and what datatrove is given where the two are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from groundup.data.cleaning.characters import (
    APOSTROPHES,
    CLOSERS,
    DIGIT,
    FIRST_IDEOGRAPH,
    LETTER,
    MARK,
    SPACE,
    STOP,
    UNSPACED,
    WIDE_STOP,
    WORD,
    character_bits,
    class_of,
    code_points,
)
from groundup.tokenizer.compiled.jit import kernel

HAS_LETTER, IS_SYMBOL, IS_UNSPACED, IS_ALPHABET = 1, 2, 4, 8  # bits of a word's kind
IDEOGRAPHS_OF_WORD, LETTERS_OF_WORD = 2, 3  # what counts as a word of an unspaced script

_ASCII_APOSTROPHE, _APOSTROPHE = map(ord, APOSTROPHES)
_POINT, _COMMA, _UNDERSCORE = map(ord, ".,_")
_CLOSERS = np.array([ord(character) for character in CLOSERS], dtype=np.uint32)
# FNV-1a's offset and prime of 64 bits (Fowler, Noll, Vo), over code points instead of bytes
_HASH_START, _HASH_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@dataclass(frozen=True)
class Words:
    """The words of a text: where each begins, its characters, hash and kind; each (n_words,).

    A letter of an unspaced script is one of them; its kind has IS_UNSPACED, and IS_ALPHABET too for
    Thai, Lao, Tibetan, Burmese and Khmer.
    """

    starts: np.ndarray
    lengths: np.ndarray
    hashes: np.ndarray
    kinds: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


def find_words(text: np.ndarray) -> Words:
    """The words of a text given as code points.

    >>> found = find_words(code_points("Don't pay 1,000!!!"))
    >>> found.starts.tolist(), found.lengths.tolist(), found.kinds.tolist()
    ([0, 6, 10, 15], [5, 3, 5, 3], [1, 1, 0, 2])
    """
    starts, lengths = np.empty(len(text), np.int64), np.empty(len(text), np.int64)
    hashes, kinds = np.empty(len(text), np.uint64), np.empty(len(text), np.uint8)
    n = cut_words(text, character_bits(), starts, lengths, hashes, kinds)
    return Words(starts[:n], lengths[:n], hashes[:n], kinds[:n])


def count_words(words: Words) -> float:
    """How many words there are where two ideographs or three letters of an alphabet make one.

    >>> count_words(find_words(code_points("Tea, 中国茶 ไทย")))
    4.5
    """
    n_unspaced = int(np.count_nonzero(words.kinds & IS_UNSPACED))
    n_letters = int(np.count_nonzero(words.kinds & IS_ALPHABET))
    n_ideographs = n_unspaced - n_letters
    n_others = len(words) - n_unspaced
    return n_others + n_ideographs / IDEOGRAPHS_OF_WORD + n_letters / LETTERS_OF_WORD


def hash_words(words: tuple[str, ...]) -> np.ndarray:
    """The hash of each string as if it were one word, uint64: (n_words,).

    >>> bool(hash_words(("the",))[0] == find_words(code_points("to the")).hashes[1])
    True
    """
    return np.array([hash_run(code_points(w), 0, len(w)) for w in words], dtype=np.uint64)


def split_words(text: str) -> list[str]:
    """The words of a text.

    >>> split_words("Don't pay 1,000 -- or 中国...")
    ["Don't", 'pay', '1,000', '--', 'or', '中', '国', '...']
    """
    return [match[0] for match in _word_pattern().finditer(text)]


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, cut after full stops and their kin that a space follows.

    Closing quotes and brackets belong to the sentence. A line's end is a sentence's end. In Chinese
    and Japanese no space need follow. Abbreviations are not known, so `Mr. Fox` is cut.

    >>> split_sentences('He said "No." Then 3.14 left')
    ['He said "No."', 'Then 3.14 left']
    """
    found = (match[0].strip() for match in _sentence_pattern().finditer(text))
    return [sentence for sentence in found if sentence]


@cache
def _word_pattern() -> re.Pattern[str]:
    word, unspaced, mark = class_of(WORD), class_of(UNSPACED), class_of(MARK)
    digit, space = class_of(DIGIT), class_of(SPACE)
    inner = f"(?<=[{word}])[{APOSTROPHES}](?=[{word}])|(?<=[{digit}])[.,](?=[{digit}])"
    return re.compile(rf"[{unspaced}][{mark}]*|[{word}]+(?:(?:{inner})[{word}]+)*|([^{space}])\1*")


@cache
def _sentence_pattern() -> re.Pattern[str]:
    stop, wide = class_of(STOP), class_of(WIDE_STOP)
    closers, space = re.escape(CLOSERS), class_of(SPACE)
    end = rf"[{stop}]*[{wide}][{stop}]*[{closers}]*|[{stop}]++[{closers}]*+(?=[{space}]|\Z)"
    return re.compile(rf"(?:[^{stop}\n]++|(?!{end})[{stop}]++)*+(?:{end})?")


# --- compiled -------------------------------------------------------------------------------------


@kernel
def hash_run(text: np.ndarray, begin: int, end: int) -> np.uint64:
    """The hash of the characters from `begin` to before `end`."""
    value = _HASH_START
    for i in range(begin, end):
        value = (value ^ np.uint64(text[i])) * _HASH_PRIME
    value = (value ^ (value >> _HALF)) * _MIX
    return value ^ (value >> _HALF)


@kernel
def cut_words(
    text: np.ndarray,
    bits: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    hashes: np.ndarray,
    kinds: np.ndarray,
) -> int:
    """Write each word's start, length, hash and kind; how many there are."""
    n, i, stop = 0, 0, len(text)
    while i < stop:
        bit = bits[text[i]]
        if bit & SPACE:
            i += 1
            continue
        begin = i
        kind = 0
        i += 1
        if bit & UNSPACED:
            kind = HAS_LETTER | IS_UNSPACED
            if text[begin] < FIRST_IDEOGRAPH:
                kind |= IS_ALPHABET
            while i < stop and bits[text[i]] & MARK:
                i += 1
        elif bit & WORD:
            kind = IS_SYMBOL
            i = begin
            while i < stop:
                bit = bits[text[i]]
                if bit & WORD:
                    if bit & LETTER:
                        kind = HAS_LETTER
                    elif kind == IS_SYMBOL and text[i] != _UNDERSCORE:
                        kind = 0
                elif not _joins(text, i, stop, bits):
                    break
                i += 1
        else:
            kind = IS_SYMBOL
            while i < stop and text[i] == text[begin]:
                i += 1
        starts[n] = begin
        lengths[n] = i - begin
        hashes[n] = hash_run(text, begin, i)
        kinds[n] = kind
        n += 1
    return n


@kernel
def join_words(hashes: np.ndarray, kinds: np.ndarray, joined: np.ndarray, ends: np.ndarray) -> None:
    """From each place on, the hash of a word made of a few letters and where the next one begins.

    Of words that spaces part, it is the word itself and the next place. A run of letters may begin
    a word at any of them, so what is said again is found wherever it stands in a run.
    """
    for place in range(len(hashes)):
        value, end = hashes[place], place + 1
        if kinds[place] & IS_UNSPACED:
            n = LETTERS_OF_WORD if kinds[place] & IS_ALPHABET else IDEOGRAPHS_OF_WORD
            while end < len(hashes) and end < place + n and kinds[end] == kinds[place]:
                value = (value ^ hashes[end]) * _HASH_PRIME
                value ^= value >> _HALF
                end += 1
        joined[place] = value
        ends[place] = end


@kernel
def count_known(hashes: np.ndarray, listed: np.ndarray) -> int:
    """How many of a few listed hashes are among the words'."""
    n = 0
    for one in listed:
        for word in hashes:
            if word == one:
                n += 1
                break
    return n


@kernel
def _joins(text: np.ndarray, i: int, stop: int, bits: np.ndarray) -> bool:
    """Whether the character at `i`, which follows one of a word, stands within that word."""
    if i + 1 >= stop:
        return False
    if text[i] == _ASCII_APOSTROPHE or text[i] == _APOSTROPHE:
        return (bits[text[i - 1]] & WORD) > 0 and (bits[text[i + 1]] & WORD) > 0
    if text[i] == _POINT or text[i] == _COMMA:
        return (bits[text[i - 1]] & DIGIT) > 0 and (bits[text[i + 1]] & DIGIT) > 0
    return False


@kernel
def count_sentences(text: np.ndarray, begin: int, end: int, bits: np.ndarray) -> int:
    """How many sentences `split_sentences` finds in a line without spaces at its ends."""
    n, i, sentence = 0, begin, begin
    while i < end:
        if not bits[text[i]] & STOP:
            i += 1
            continue
        is_wide = False
        while i < end and bits[text[i]] & STOP:
            is_wide |= (bits[text[i]] & WIDE_STOP) > 0
            i += 1
        while i < end and is_closer(text[i]):
            i += 1
        if is_wide or i == end or bits[text[i]] & SPACE:
            n += 1
            while i < end and bits[text[i]] & SPACE:
                i += 1
            sentence = i
    return n + 1 if sentence < end else n


@kernel
def is_closer(character: int) -> bool:
    """Whether a character is a closing quote or bracket."""
    found = False
    for closer in _CLOSERS:
        found |= character == closer
    return found
