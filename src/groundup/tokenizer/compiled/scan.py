r"""Where words end, found byte by byte: the published patterns without a regular expression.

Each pattern is a choice among a few kinds of runs, and which it is follows from the class of one
or two characters. `pretokenize.PatternCutter` is what this is held against.

Legend
    text     UTF-8 bytes, valid, and at least three bytes more behind `stop`
    classes  (0x110000,) the class of each code point: OTHER, LETTER, NUMBER, SPACE or NEWLINE,
             and for o200k's letters and marks which of its two sets they are in
    ends     what a scan writes: the place behind each word
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from groundup.tokenizer.compiled.jit import kernel
from groundup.tokenizer.pretokenize import well_formed
from groundup.tokenizer.unicode_classes import WHITE_SPACE, category_runs

OTHER, LETTER, NUMBER, SPACE, NEWLINE = 0, 1, 2, 3, 4
KIND = 7  # the bits that hold one of these five
UPPER, LOWER = 8, 16  # o200k: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}]

GPT2, LLAMA3, QWEN2, CL100K, O200K = range(5)
SCANNED = {"gpt2": GPT2, "llama3": LLAMA3, "qwen2": QWEN2, "cl100k": CL100K, "o200k": O200K}


_PADDING = 16  # bytes behind a text that kernels may read, though they use none of them


def scan_texts(texts: Sequence[str], pattern: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the words of texts that are put one after the other.

    Returns all texts' bytes with padding, the place behind each word, and for each text how many
    words there are up to its end: (n_bytes + padding,) uint8, (n_words,) int64, (n_texts,) int64.

    >>> text, ends, n_words = scan_texts(["to be", "or"], "qwen2")
    >>> ends.tolist(), n_words.tolist()
    ([2, 5, 7], [2, 3])
    """
    encoded = [_utf8(text) for text in texts]
    text = as_array(b"".join(encoded))
    classes, kind, scan = character_classes(), SCANNED[pattern], _kernel_of(pattern)
    n_words = np.zeros(len(encoded), dtype=np.int64)
    ends = np.empty(len(text) // 4 + 64, dtype=np.int64)
    begin, n = 0, 0
    for index, one in enumerate(encoded):
        stop = begin + len(one)
        while begin < stop:
            if n == len(ends):
                ends = np.concatenate([ends, np.empty_like(ends)])
            n += scan(text, begin, stop, classes, kind, ends[n:])
            begin = int(ends[n - 1])
        n_words[index] = n
    return text, ends[:n], n_words


def _kernel_of(pattern: str) -> Callable[..., int]:
    return {"gpt2": scan_gpt2, "o200k": scan_o200k}.get(pattern, scan_llama3)


def as_array(text: bytes) -> np.ndarray:
    """Bytes with the padding that kernels need: (n_bytes + padding,) uint8."""
    return np.frombuffer(text + bytes(_PADDING), dtype=np.uint8)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return well_formed(text).encode()


@cache
def character_classes() -> np.ndarray:
    """The class of each code point, uint8: (0x110000,)."""
    classes = np.zeros(0x110000, dtype=np.uint8)
    for first, last, category in category_runs():
        kind = {"L": LETTER, "N": NUMBER}.get(category[0], OTHER)
        upper = UPPER if category in ("Lu", "Lt", "Lm", "Lo") or category[0] == "M" else 0
        lower = LOWER if category in ("Ll", "Lm", "Lo") or category[0] == "M" else 0
        classes[first : last + 1] = kind | upper | lower
    classes[list(WHITE_SPACE)] = SPACE
    classes[[ord("\n"), ord("\r")]] = NEWLINE
    return classes


@kernel
def _width(lead):
    """Bytes of the UTF-8 character that begins with this byte."""
    if lead < 0x80:
        return 1
    if lead < 0xE0:
        return 2
    if lead < 0xF0:
        return 3
    return 4


@kernel
def _class_at(text, at, stop, classes):
    """Class of the character at a place; 255 at the end of the text."""
    if at >= stop:
        return np.uint8(255)
    a = text[at]
    if a < 0x80:
        return classes[a]
    if a < 0xE0:
        return classes[((a & 0x1F) << 6) | (text[at + 1] & 0x3F)]
    if a < 0xF0:
        return classes[((a & 0x0F) << 12) | ((text[at + 1] & 0x3F) << 6) | (text[at + 2] & 0x3F)]
    return classes[
        ((a & 0x07) << 18)
        | ((text[at + 1] & 0x3F) << 12)
        | ((text[at + 2] & 0x3F) << 6)
        | (text[at + 3] & 0x3F)
    ]


@kernel
def _run_end(text, at, stop, classes, kind):
    """The place behind the run of characters of one kind that begins at `at`."""
    while at < stop and (_class_at(text, at, stop, classes) & KIND) == kind:
        at += _width(text[at])
    return at


@kernel
def _set_end(text, at, stop, classes, bit):
    """The place behind the run of characters with a bit set."""
    while at < stop and _class_at(text, at, stop, classes) & bit:
        at += _width(text[at])
    return at


@kernel
def _contraction_end(text, at, stop, any_case):
    r"""The place behind 's 't 're 've 'm 'll 'd at an apostrophe; `at` if there is none.

    In any case of letters, ſ (U+017F, bytes C5 BF) is an s too.
    """
    if at + 1 >= stop:
        return at
    a = text[at + 1]
    if any_case and a == 0xC5 and at + 2 < stop and text[at + 2] == 0xBF:
        return at + 3
    if any_case and 65 <= a <= 90:
        a += 32
    if a == 115 or a == 116 or a == 109 or a == 100:  # s t m d
        return at + 2
    if at + 2 >= stop:
        return at
    b = text[at + 2]
    if any_case and 65 <= b <= 90:
        b += 32
    if (a == 114 and b == 101) or (a == 118 and b == 101) or (a == 108 and b == 108):
        return at + 3
    return at


@kernel
def _space_end(text, at, stop, classes, pattern):
    r"""The place behind a word of white space.

    `\s*[\r\n]+` ends behind the last newline of the run; without one `\s+(?!\S)` leaves the last
    character to the word that follows; `\s+` takes what is left.
    """
    end, last, newline_end = at, at, at
    while end < stop:
        kind = _class_at(text, end, stop, classes) & KIND
        if kind != SPACE and kind != NEWLINE:
            break
        last = end
        end += _width(text[end])
        if kind == NEWLINE:
            newline_end = end
    if end == stop and (pattern == GPT2 or pattern == CL100K):
        return end
    if newline_end > at and pattern != GPT2:
        return newline_end
    if end == stop or last == at:
        return end
    return last


@kernel
def _word_end_gpt2(text, at, stop, classes):
    lead = text[at]
    if lead == 39:  # an apostrophe
        end = _contraction_end(text, at, stop, False)
        if end > at:
            return end
    begin = at
    kind = _class_at(text, at, stop, classes) & KIND
    if lead == 32 and at + 1 < stop:
        following = _class_at(text, at + 1, stop, classes) & KIND
        if following != SPACE and following != NEWLINE:
            begin, kind = at + 1, following
    if kind == SPACE or kind == NEWLINE:
        return _space_end(text, at, stop, classes, GPT2)
    return _run_end(text, begin, stop, classes, kind)


@kernel
def _letters_end(text, at, stop, classes):
    r"""`[^\r\n\p{L}\p{N}]?\p{L}+`, or `at`."""
    kind = _class_at(text, at, stop, classes) & KIND
    if kind == LETTER:
        return _run_end(text, at, stop, classes, LETTER)
    if kind == OTHER or kind == SPACE:
        begin = at + _width(text[at])
        if begin < stop and (_class_at(text, begin, stop, classes) & KIND) == LETTER:
            return _run_end(text, begin, stop, classes, LETTER)
    return at


@kernel
def _cased_end(text, at, stop, classes):
    r"""`[UPPER]*[LOWER]+` where it matches, or `at`.

    The first set gives characters back until the second has one: the last that is in both.
    """
    end, both_end = at, at
    while end < stop:
        found = _class_at(text, end, stop, classes)
        if not found & UPPER:
            break
        end += _width(text[end])
        if found & LOWER:
            both_end = end
    lower_end = _set_end(text, end, stop, classes, LOWER)
    return lower_end if lower_end > end else both_end


@kernel
def _cased_word_end(text, at, stop, classes):
    """o200k's two alternatives for words, each with the character before it or without."""
    found = _class_at(text, at, stop, classes)
    kind = found & KIND
    after = at + _width(text[at])
    may_lead = kind == OTHER or kind == SPACE
    for upper_only in range(2):
        for skip in range(2):
            if skip == 0 and not may_lead:
                continue
            begin = after if skip == 0 else at
            if upper_only == 0:
                end = _cased_end(text, begin, stop, classes)
            else:
                end = _set_end(text, begin, stop, classes, UPPER)
                if end > begin:
                    end = _set_end(text, end, stop, classes, LOWER)
            if end > begin:
                if end < stop and text[end] == 39:
                    return _contraction_end(text, end, stop, True)
                return end
    return at


@kernel
def _word_end_o200k(text, at, stop, classes):
    end = _cased_word_end(text, at, stop, classes)
    return end if end > at else _other_end(text, at, stop, classes, O200K)


@kernel
def _word_end_llama3(text, at, stop, classes, pattern):
    if text[at] == 39:
        end = _contraction_end(text, at, stop, True)
        if end > at:
            return end
    end = _letters_end(text, at, stop, classes)
    return end if end > at else _other_end(text, at, stop, classes, pattern)


@kernel
def _other_end(text, at, stop, classes, pattern):
    """The place behind a word that is not of letters: a number, signs, or white space."""
    kind = _class_at(text, at, stop, classes) & KIND
    if kind == NUMBER:
        end = at + _width(text[at])
        more = 0 if pattern == QWEN2 else 2
        while more and (_class_at(text, end, stop, classes) & KIND) == NUMBER and end < stop:
            end += _width(text[end])
            more -= 1
        return end
    begin = at
    if text[at] == 32 and at + 1 < stop:
        begin = at + 1
    if begin < stop and (_class_at(text, begin, stop, classes) & KIND) == OTHER:
        end = _run_end(text, begin, stop, classes, OTHER)
        while end < stop and (
            text[end] == 10 or text[end] == 13 or (pattern == O200K and text[end] == 47)
        ):
            end += 1
        return end
    return _space_end(text, at, stop, classes, pattern)


# A kernel for each family of patterns, so that only one of them is compiled. Each writes the place
# behind each word of text[begin:stop] to `ends`, as many as that has room for, and returns how many
# words. text: (n_bytes,) uint8; classes: (0x110000,) uint8; ends: (capacity,) int64


@kernel
def scan_gpt2(text, begin, stop, classes, pattern, ends):
    n_words, at = 0, begin
    while at < stop and n_words < len(ends):
        at = _word_end_gpt2(text, at, stop, classes)
        ends[n_words] = at
        n_words += 1
    return n_words


@kernel
def scan_llama3(text, begin, stop, classes, pattern, ends):
    n_words, at = 0, begin
    while at < stop and n_words < len(ends):
        at = _word_end_llama3(text, at, stop, classes, pattern)
        ends[n_words] = at
        n_words += 1
    return n_words


@kernel
def scan_o200k(text, begin, stop, classes, pattern, ends):
    n_words, at = 0, begin
    while at < stop and n_words < len(ends):
        at = _word_end_o200k(text, at, stop, classes)
        ends[n_words] = at
        n_words += 1
    return n_words
