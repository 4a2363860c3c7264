"""Texts in little room for the page of prepared data: excerpts, and two texts with what differs."""

from __future__ import annotations

import difflib
import re

from markupsafe import Markup, escape

EXCERPT = 360  # characters of an example
LINES = 8  # and lines
_DIFFERENCE = 420  # characters of each side
_LOOKED_AT = 4  # times as much is compared as is shown, so that what ends a side is no difference
_LONG_WORD = 30  # characters; no beginning of a word is looked for further on
_WORTH = 0.5  # of the room for an excerpt: more than this is not left empty
_ALIKE = 0.4  # lines less alike than this are marked whole


def tidy(text: str) -> str:
    """A text without blank lines and spaces at the ends of lines, to be read in little room.

    >>> tidy("a \\n\\n\\n b\\n")
    'a\\n b'
    """
    return re.sub(r"[ \t]*\n\s*\n|[ \t]+\n", "\n", text).strip("\n")


def excerpt(text: str, most: int = EXCERPT, n_lines: int = LINES) -> str:
    """The beginning of a text in whole lines, with … behind where there is more.

    A line that is too long is cut where nearly nothing would be shown without it.

    >>> excerpt("One.\\nTwo.\\nThree.", 12), excerpt("One.", 12), excerpt("seven words on one", 12)
    ('One.\\nTwo.\\n…', 'One.', 'seven words …')
    """
    text = tidy(text)
    lines = text.split("\n")
    shown: list[str] = []
    for line in lines[:n_lines]:
        if sum(map(len, shown)) + len(shown) + len(line) > most:
            break
        shown.append(line)
    if len(shown) == len(lines):
        return text
    room = most - sum(map(len, shown)) - len(shown)
    if len(shown) < n_lines and room > most * _WORTH:
        return "\n".join([*shown, cut(lines[len(shown)], room)])
    return "\n".join([*shown, "…"])


def cut(text: str, most: int) -> str:
    """A line of at most `most` characters, whole words if it has some.

    >>> cut("seven words on one", 12), cut("abcdefghij", 4), cut("abc", 4)
    ('seven words …', 'abcd …', 'abc')
    """
    if len(text) <= most:
        return text
    whole = text[: most + 1].rsplit(None, 1)[0] if text[most] != " " else text[:most]
    return f"{(whole if len(whole) > most - _LONG_WORD else text[:most])[:most].rstrip()} …"


def difference(kept: str, removed: str, most: int = _DIFFERENCE) -> tuple[Markup, Markup]:
    """Two texts, cut to what surrounds their first difference, with what differs marked.

    Lines are compared first, and words only in those that are not the same.

    >>> difference("the red fox", "the old fox")
    (Markup('the <mark>red</mark> fox'), Markup('the <mark>old</mark> fox'))
    >>> difference("one\\ntwo\\nthree", "one\\nthree")
    (Markup('one\\n<mark>two</mark>\\nthree'), Markup('one\\nthree'))
    """
    begin = _window_begin(kept, _first_difference(kept, removed), most // 4)
    end = begin + _LOOKED_AT * most
    goes_on = [len(text) > end for text in (kept, removed)]
    windows = [text[begin:end] for text in (kept, removed)]
    if any(goes_on):  # what stands behind decides of the last line, so it is not compared
        windows = [window.rsplit("\n", 1)[0] + "\n" if "\n" in window else window
                   for window in windows]  # fmt: skip
    lines = [window.splitlines(keepends=True) for window in windows]
    sides = _compared(lines[0], lines[1], any(goes_on))
    left, right = (_side(parts, most, more) for parts, more in zip(sides, goes_on, strict=True))
    before = "… " if begin else ""
    return Markup(before + left), Markup(before + right)


_Part = tuple[str, bool]  # a stretch, and whether it differs


def _compared(a: list[str], b: list[str], is_cut: bool) -> tuple[list[_Part], list[_Part]]:
    sides: tuple[list[_Part], list[_Part]] = ([], [])
    keys = [[line.strip() for line in side] for side in (a, b)]
    steps = difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes()
    for number, (kind, i, i_end, j, j_end) in enumerate(steps):
        texts = "".join(a[i:i_end]), "".join(b[j:j_end])
        is_last = is_cut and number == len(steps) - 1
        if kind == "equal" or (is_last and not all(texts)):
            for side, text in zip(sides, texts, strict=True):
                side.append((text, False))
        else:
            for side, parts in zip(sides, _words(*texts, is_last), strict=True):
                side += parts
    return sides


def _words(a: str, b: str, is_last: bool) -> tuple[list[_Part], list[_Part]]:
    """Two stretches of lines by their words; spaces and marks alone part no stretches."""
    sides = [re.findall(r"\s+|\w+|[^\w\s]", text) for text in (a, b)]
    matcher = difflib.SequenceMatcher(None, sides[0], sides[1], autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [(a, True)], [(b, True)]
    found: list[tuple[bool, tuple[int, int], tuple[int, int]]] = []
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        is_same = kind == "equal"
        if is_same and found and not any(map(str.isalnum, "".join(sides[0][i:i_end]))):
            is_same = j_end == len(sides[1]) and i_end == len(sides[0])
        if found and found[-1][0] == is_same:
            _, (i, _), (j, _) = found.pop()
        found.append((is_same, (i, i_end), (j, j_end)))
    told: tuple[list[_Part], list[_Part]] = ([], [])
    for number, (is_same, *spans) in enumerate(found):
        is_behind = is_last and number == len(found) - 1
        for side, words, (start, end) in zip(told, sides, spans, strict=True):
            side.append(("".join(words[start:end]), not is_same and not is_behind))
    return told


def _side(parts: list[_Part], most: int, goes_on: bool) -> str:
    """One side as markup: whole lines of at most `most` characters together, or its first words."""
    text = "".join(part for part, _ in parts)
    shown = len(text)
    if shown > most:
        shown = text.rfind("\n", 0, most) + 1 or len(cut(text, most)) - 2
    told, at = "", 0
    for part, differs in parts:
        piece = part[: max(shown - at, 0)]
        at += len(part)
        inner = piece.strip()
        head, tail = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
        if differs and inner:
            told += f"{escape(head)}<mark>{escape(inner)}</mark>{escape(tail)}"
        else:
            told += str(escape(piece))
    return told.rstrip("\n") + (" …" if goes_on or shown < len(text) else "")


def same_but_for_space(kept: str, removed: str) -> bool:
    """Whether two texts have the same words and signs in the same order."""
    return kept.split() == removed.split()


def _window_begin(text: str, place: int, before: int) -> int:
    """Where an excerpt begins: a line or two before a place, or else a word."""
    if place <= before:
        return 0
    line = text.find("\n", place - before, place) + 1
    if line:
        return line
    space = re.compile(r"\s").search(text, place - before, place - before + _LONG_WORD)
    return space.end() if space else place - before


def _first_difference(a: str, b: str) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
