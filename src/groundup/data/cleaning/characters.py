"""What each character is to the rules: a table of bits by code point, for patterns and kernels.

Letters, marks and numbers are those of Unicode 16.0 (`tokenizer/unicode_classes.py`), so a rule's
verdict does not change with the libraries. Called by `words.py` and `lines.py`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from groundup.tokenizer.unicode_classes import WHITE_SPACE, category_runs

SPACE = 1  # what str.isspace says: the end of a word
WORD = 2  # letters, marks, numbers and the underscore of scripts that part words
LETTER = 4  # general category L*: what str.isalpha says
MARK = 8
DIGIT = 16  # general category Nd
UNSPACED = 32  # letters of scripts that do not part words: each counts as one
STOP = 64  # ends a sentence
WIDE_STOP = 128  # ends a sentence, with no space behind it

APOSTROPHES = "'’"
# Closing quotes and brackets that may stand between a sentence's end and the space behind it.
CLOSERS = "\"'”’)]»"
_SPACES = (*WHITE_SPACE, *range(0x1C, 0x20))

# Of the unspaced scripts those below are alphabets, whose letters spell a word as Latin ones do; at
# and above it stand kana and ideographs, of which one or two are a word (CJK begins here).
FIRST_IDEOGRAPH = 0x2E80

# Scripts written without spaces between words, as blocks (unicode.org/Public/16.0.0/ucd/Blocks.txt)
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # iteration marks and the ideographic zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # halfwidth Katakana
    (0x20000, 0x3FFFF),
)

_TSHEGS = (0x0F0B, 0x0F0C)  # stand behind each syllable of Tibetan, and belong to it

# Sentence_Terminal=Yes (unicode.org/Public/16.0.0/ucd/PropList.txt): first and last of each run
_SENTENCE_TERMINAL = (
    (0x21, 0x21), (0x2E, 0x2E), (0x3F, 0x3F), (0x589, 0x589), (0x61D, 0x61F), (0x6D4, 0x6D4),
    (0x700, 0x702), (0x7F9, 0x7F9), (0x837, 0x837), (0x839, 0x839), (0x83D, 0x83E),
    (0x964, 0x965), (0x104A, 0x104B), (0x1362, 0x1362), (0x1367, 0x1368), (0x166E, 0x166E),
    (0x1735, 0x1736), (0x17D4, 0x17D5), (0x1803, 0x1803), (0x1809, 0x1809), (0x1944, 0x1945),
    (0x1AA8, 0x1AAB), (0x1B4E, 0x1B4F), (0x1B5A, 0x1B5B), (0x1B5E, 0x1B5F), (0x1B7D, 0x1B7F),
    (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x2024, 0x2024), (0x203C, 0x203D), (0x2047, 0x2049),
    (0x2CF9, 0x2CFB), (0x2E2E, 0x2E2E), (0x2E3C, 0x2E3C), (0x2E53, 0x2E54), (0x3002, 0x3002),
    (0xA4FF, 0xA4FF), (0xA60E, 0xA60F), (0xA6F3, 0xA6F3), (0xA6F7, 0xA6F7), (0xA876, 0xA877),
    (0xA8CE, 0xA8CF), (0xA92F, 0xA92F), (0xA9C8, 0xA9C9), (0xAA5D, 0xAA5F), (0xAAF0, 0xAAF1),
    (0xABEB, 0xABEB), (0xFE12, 0xFE12), (0xFE15, 0xFE16), (0xFE52, 0xFE52), (0xFE56, 0xFE57),
    (0xFF01, 0xFF01), (0xFF0E, 0xFF0E), (0xFF1F, 0xFF1F), (0xFF61, 0xFF61),
    (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89), (0x11047, 0x11048),
    (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD),
    (0x111DE, 0x111DF), (0x11238, 0x11239), (0x1123B, 0x1123C), (0x112A9, 0x112A9),
    (0x113D4, 0x113D5), (0x1144B, 0x1144C), (0x115C2, 0x115C3), (0x115C9, 0x115D7),
    (0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944), (0x11946, 0x11946),
    (0x11A42, 0x11A43), (0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8),
    (0x11F43, 0x11F44), (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5), (0x16B37, 0x16B38),
    (0x16B44, 0x16B44), (0x16D6E, 0x16D6F), (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F),
    (0x1DA88, 0x1DA88),
)  # fmt: skip
WIDE_STOPS = "。！？｡．"
# Brackets that close speech in Chinese and Japanese, before which the stop is left out.
CLOSES_SPEECH = "」』"


@cache
def character_bits() -> np.ndarray:
    """The bits of each code point, uint8: (0x110000,).

    >>> bits = character_bits()
    >>> [int(bits[ord(c)]) for c in "a_7 .中。"]
    [6, 2, 18, 1, 64, 36, 192]
    """
    bits = np.zeros(0x110000, dtype=np.uint8)
    for first, last, category in category_runs():
        bits[first : last + 1] |= WORD
        if category[0] == "L":
            bits[first : last + 1] |= LETTER
        elif category[0] == "M":
            bits[first : last + 1] |= MARK
        elif category == "Nd":
            bits[first : last + 1] |= DIGIT
    for first, last in _UNSPACED:
        part = bits[first : last + 1]
        is_letter = (part & LETTER) > 0
        part[is_letter] = (part[is_letter] | UNSPACED) & ~np.uint8(WORD)
    bits[list(_TSHEGS)] |= MARK
    bits[ord("_")] |= WORD
    bits[list(_SPACES)] |= SPACE
    for first, last in _SENTENCE_TERMINAL:
        bits[first : last + 1] |= STOP
    bits[[ord(character) for character in WIDE_STOPS]] |= STOP | WIDE_STOP
    bits.setflags(write=False)
    return bits


@cache
def class_of(bit: int) -> str:
    """The characters that have a bit, as the inside of a pattern's character class."""
    has = np.concatenate([[0], (character_bits() & bit) > 0, [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(has)).tolist()
    return "".join(
        rf"\U{a:08x}-\U{b - 1:08x}" for a, b in zip(edges[::2], edges[1::2], strict=True)
    )


def code_points(text: str) -> np.ndarray:
    """A text's characters as numbers, uint32: (n_characters,).

    >>> code_points("aé").tolist()
    [97, 233]
    """
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
