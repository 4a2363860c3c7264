"""Which characters are letters, marks and numbers: Unicode 16.0, whatever the libraries know.

A pre-tokenizer's pattern says `\\p{L}`, and what that means grows with each version of Unicode. The
regex module, tokenizers, tiktoken and Python's own tables each bring their own; a tokenizer must
cut alike with all of them, and next year too. So the categories stand here, as tokenizers 0.23 and
tiktoken 0.14 have them. Called by the cutters, plain and compiled.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from pathlib import Path

import regex

# White_Space=yes (unicode.org/Public/16.0.0/ucd/PropList.txt): what \s means in all these libraries
WHITE_SPACE = (
    *range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
    0x2028, 0x2029, 0x202F, 0x205F, 0x3000,
)  # fmt: skip

_PROPERTY = re.compile(r"\\p\{(L[ultmo]?|M[nce]?|N[dlo]?)\}")


@cache
def category_runs() -> tuple[tuple[int, int, str], ...]:
    """(first, last, category) of each run of letters, marks or numbers, by code point.

    >>> category_runs()[2]
    (97, 122, 'Ll')
    """
    text = Path(__file__).with_name("unicode-16.0.txt").read_text(encoding="ascii")
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return tuple((int(first, 16), int(last, 16), category) for first, last, category in lines)


def at_this_unicode(expression: str) -> str:
    r"""A regular expression with `\p{L}`, `\p{Lu}`, `\p{N}` ... spelled out as ranges.

    >>> at_this_unicode(r"\p{Lt}+[^\p{Lt}]")[:24]
    '[\\U000001c5\\U000001c8\\U0'
    """
    spelled: list[str] = []
    in_class = False
    position = 0
    while position < len(expression):
        if found := _PROPERTY.match(expression, position):
            ranges = _ranges(found[1])
            spelled.append(ranges if in_class else f"[{ranges}]")
            position = found.end()
            continue
        step = 2 if expression[position] == "\\" else 1
        if step == 1 and expression[position] in "[]":
            in_class = expression[position] == "["
        spelled.append(expression[position : position + step])
        position += step
    return "".join(spelled)


def is_known_alike(text: str) -> bool:
    r"""Whether the regex module has every character of `text` in the category it has here.

    If so, an expression may be used as it stands, which is some ten times as fast.

    >>> is_known_alike("Ünïcode 例")
    True
    """
    return text.isascii() or all(map(_is_known_alike, set(text)))


def category(character: str) -> str | None:
    """The category of a letter, mark or number; None for all else.

    >>> category("é"), category("½"), category("!")
    ('Ll', 'No', None)
    """
    runs = category_runs()
    place = bisect_right(runs, ord(character), key=lambda run: run[0]) - 1
    return runs[place][2] if place >= 0 and ord(character) <= runs[place][1] else None


@cache
def _is_known_alike(character: str) -> bool:
    name = category(character)
    if name is None:
        return regex.match(r"[\p{L}\p{M}\p{N}]", character) is None
    return regex.match(rf"\p{{{name}}}", character) is not None


@cache
def _ranges(category: str) -> str:
    """The code points of a category as the inside of a character class."""
    merged: list[list[int]] = []
    for first, last, name in category_runs():
        if not name.startswith(category):
            continue
        if merged and merged[-1][1] == first - 1:
            merged[-1][1] = last
        else:
            merged.append([first, last])
    return "".join(
        rf"\U{first:08x}" if first == last else rf"\U{first:08x}-\U{last:08x}"
        for first, last in merged
    )
