"""What the rules ask of lines and paragraphs, compiled: how they begin and end, which come again.

A line is what stands between two newlines; `repair` has made all other line ends newlines. Called
by `scores.py` and `boilerplate.py`.

Legend
    text   (n_characters,) uint32, code points
    bits   (0x110000,) uint8, what each character is (`characters.py`)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundup.data.cleaning.characters import (
    CLOSES_SPEECH,
    FIRST_IDEOGRAPH,
    SPACE,
    STOP,
    UNSPACED,
    character_bits,
)
from groundup.data.cleaning.words import (
    IDEOGRAPHS_OF_WORD,
    LETTERS_OF_WORD,
    count_sentences,
    hash_run,
)
from groundup.tokenizer.compiled.jit import kernel

BLANK, ENDS_SENTENCE, BULLET, ELLIPSIS, BRACE = 1, 2, 4, 8, 16  # bits of a line's kind

_NEWLINE, _POINT, _HASH, _BRACE = map(ord, "\n.#{")
_ONE_ELLIPSIS, _BULLET, _HYPHEN = map(ord, "…•-")
_QUESTION, _SHOUT, _QUOTE, _SINGLE_QUOTE = map(ord, "?!\"'")
_CLOSES_SPEECH, _CLOSES_SPEECH_WITHIN = map(ord, CLOSES_SPEECH)
_LAST_ASCII = 0x7F
# A character of Chinese or Japanese says what about three letters do: the Declaration of Human
# Rights has 10,700 characters in English, 3,000 in Chinese and 4,200 in Japanese.
IDEOGRAPH_WIDTH = 3


@dataclass(frozen=True)
class Lines:
    """A text's lines, blank ones included; each (n_lines,).

    hashes, kinds; lengths: characters; widths: the same where one of Chinese or Japanese counts as
        three (`IDEOGRAPH_WIDTH`)
    """

    hashes: np.ndarray
    lengths: np.ndarray
    widths: np.ndarray
    kinds: np.ndarray


def find_lines(text: np.ndarray) -> Lines:
    """The lines of a text given as code points; a newline at its end begins no further line.

    >>> from groundup.data.cleaning.characters import code_points
    >>> found = find_lines(code_points("- a.\\n\\nand so on ...\\n"))
    >>> found.lengths.tolist(), found.kinds.tolist()
    ([4, 0, 13], [6, 1, 10])
    """
    n = int((text == _NEWLINE).sum()) + 1
    hashes, kinds = np.empty(n, np.uint64), np.empty(n, np.uint8)
    lengths, widths = np.empty((2, n), np.int64)
    n = cut_lines(text, character_bits(), hashes, lengths, widths, kinds)
    return Lines(hashes[:n], lengths[:n], widths[:n], kinds[:n])


def find_paragraphs(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash and characters of each paragraph: what two or more newlines part, the ends stripped.

    >>> from groundup.data.cleaning.characters import code_points
    >>> find_paragraphs(code_points(" \\n\\none\\nmore\\n\\n\\ntwo \\n"))[1].tolist()
    [8, 3]
    """
    n = int((text == _NEWLINE).sum()) // 2 + 1
    hashes, lengths = np.empty(n, np.uint64), np.empty(n, np.int64)
    n = cut_paragraphs(text, character_bits(), hashes, lengths)
    return hashes[:n], lengths[:n]


def count_marks(text: np.ndarray) -> tuple[int, int, int]:
    """How many newlines, number signs and ellipses (one character or three points) a text has.

    >>> from groundup.data.cleaning.characters import code_points
    >>> count_marks(code_points("# a......b…\\n"))
    (1, 1, 3)
    """
    n_newlines, n_hashes, n_ellipses = tally_marks(text)
    return int(n_newlines), int(n_hashes), int(n_ellipses)


# --- compiled -------------------------------------------------------------------------------------


@kernel
def strip(text: np.ndarray, begin: int, end: int, bits: np.ndarray) -> tuple[int, int]:
    """(begin, end) without the spaces at both ends."""
    while begin < end and bits[text[begin]] & SPACE:
        begin += 1
    while end > begin and bits[text[end - 1]] & SPACE:
        end -= 1
    return begin, end


@kernel
def ends_in_ellipsis(text: np.ndarray, begin: int, end: int) -> bool:
    """Whether the stretch ends in three points."""
    return (
        end - begin >= 3
        and text[end - 1] == _POINT
        and text[end - 2] == _POINT
        and text[end - 3] == _POINT
    )


@kernel
def cut_lines(
    text: np.ndarray,
    bits: np.ndarray,
    hashes: np.ndarray,
    lengths: np.ndarray,
    widths: np.ndarray,
    kinds: np.ndarray,
) -> int:
    """Write each line's hash, length, width and kind; how many there are."""
    n, begin, stop = 0, 0, len(text)
    while begin < stop:
        end = begin
        n_ideographs = 0
        while end < stop and text[end] != _NEWLINE:
            if text[end] >= FIRST_IDEOGRAPH and bits[text[end]] & UNSPACED:
                n_ideographs += 1
            end += 1
        first, last = strip(text, begin, end, bits)
        kind = 0
        if first == last:
            kind = BLANK
        else:
            if bits[text[end - 1]] & STOP or _closes_speech(text[end - 1]):
                kind |= ENDS_SENTENCE
            if text[first] == _BULLET or text[first] == _HYPHEN:
                kind |= BULLET
            if text[last - 1] == _ONE_ELLIPSIS or ends_in_ellipsis(text, first, last):
                kind |= ELLIPSIS
        hashes[n] = hash_run(text, begin, end)
        lengths[n] = end - begin
        widths[n] = end - begin + (IDEOGRAPH_WIDTH - 1) * n_ideographs
        kinds[n] = kind
        n += 1
        begin = end + 1
    return n


@kernel
def cut_paragraphs(
    text: np.ndarray, bits: np.ndarray, hashes: np.ndarray, lengths: np.ndarray
) -> int:
    """Write each paragraph's hash and length; how many there are."""
    begin, stop = strip(text, 0, len(text), bits)
    n = 0
    while begin < stop:
        end = begin
        while end < stop and not (text[end] == _NEWLINE and text[end + 1] == _NEWLINE):
            end += 1
        hashes[n] = hash_run(text, begin, end)
        lengths[n] = end - begin
        n += 1
        begin = end
        while begin < stop and text[begin] == _NEWLINE:
            begin += 1
    return n


@kernel
def tally_marks(text: np.ndarray) -> tuple[int, int, int]:
    """(newlines, number signs, ellipses)."""
    n_newlines, n_hashes, n_ellipses, n_points = 0, 0, 0, 0
    for character in text:
        if character == _POINT:
            n_points += 1
            if n_points == 3:
                n_ellipses += 1
                n_points = 0
            continue
        n_points = 0
        if character == _NEWLINE:
            n_newlines += 1
        elif character == _HASH:
            n_hashes += 1
        elif character == _ONE_ELLIPSIS:
            n_ellipses += 1
    return n_newlines, n_hashes, n_ellipses


@kernel
def measure_lines(
    text: np.ndarray,
    bits: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    n_words: np.ndarray,
    longest: np.ndarray,
    n_sentences: np.ndarray,
    kinds: np.ndarray,
) -> int:
    """For C4's rules, each line stripped: where it stands, words, longest word, sentences, kind.

    Words are what spaces part, or two ideographs, or three letters of another unspaced script,
    whichever are more; of those scripts no run is a long word. A kind has ENDS_SENTENCE where the
    line ends in one of . ? ! " ' and not in three points, or as sentences end in other scripts; and
    BRACE where it holds a curly bracket.
    """
    n, begin, stop = 0, 0, len(text)
    while begin < stop:
        end = begin
        while end < stop and text[end] != _NEWLINE:
            end += 1
        first, last = strip(text, begin, end, bits)
        begins[n], ends[n], kinds[n] = first, last, 0
        n_words[n], longest[n] = 0, 0
        length, n_ideographs, n_letters = 0, 0, 0
        for i in range(first, last):
            bit = bits[text[i]]
            if bit & SPACE:
                length = 0
                continue
            if i == first or bits[text[i - 1]] & SPACE:
                n_words[n] += 1
            if bit & UNSPACED:
                length = 0
                if text[i] >= FIRST_IDEOGRAPH:
                    n_ideographs += 1
                else:
                    n_letters += 1
                continue
            length += 1
            if length > longest[n]:
                longest[n] = length
            if text[i] == _BRACE:
                kinds[n] |= BRACE
        n_unspaced = n_ideographs // IDEOGRAPHS_OF_WORD + n_letters // LETTERS_OF_WORD
        if n_unspaced > n_words[n]:
            n_words[n] = n_unspaced
        if (
            first < last
            and (_is_end_mark(text[last - 1]) or _ends_elsewhere(text[last - 1], bits))
            and not ends_in_ellipsis(text, first, last)
        ):
            kinds[n] |= ENDS_SENTENCE
        n_sentences[n] = count_sentences(text, first, last, bits)
        n += 1
        begin = end + 1
    return n


@kernel
def _closes_speech(character: int) -> bool:
    return character in (_CLOSES_SPEECH, _CLOSES_SPEECH_WITHIN)


@kernel
def _ends_elsewhere(character: int, bits: np.ndarray) -> bool:
    """Whether a character ends sentences in a script that has stops of its own."""
    is_stop = character > _LAST_ASCII and (bits[character] & STOP) > 0
    return is_stop or _closes_speech(character)


@kernel
def _is_end_mark(character: int) -> bool:
    return character in (_POINT, _QUESTION, _SHOUT, _QUOTE, _SINGLE_QUOTE)
