"""Drawings of the page of prepared data: the stream through a stage, lengths, and differences.

Like `charts.py`: SVG whose horizontal places are shares of the width, coloured by class.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from markupsafe import Markup, escape

from groundup.report.charts import coordinate, svg
from groundup.report.data_words import share as share_of

_BED = 80  # the width of a full stream, of 100; the rest is for what branches off
STREAM_LEFT = 1.2  # what is drawn of a stream that is nearly dry
_BRANCH_TOP = 22  # where the branch of what is dropped leaves to the right, of 100
_BRANCH_MOST = 62  # and how thick it may be there
_GAP = 1.5  # between bars, of 100
_LONG_WORD = 30  # characters; no beginning of a word is looked for further on


def stream(before: float, after: float, *, title: str) -> Markup:
    """A stage: a stream of width `before` at its top, `after` at its bottom, both from 0 to 1.

    What is lost leaves to the right. The drawing stretches to whatever box it stands in.
    """
    w_in, w_out = (max(_BED * share, STREAM_LEFT) for share in (before, after))
    trunk = f'<path class="trunk" d="M0,0 H{coordinate(w_out)} V100 H0 Z"/>'
    branch = ""
    if before > after:
        low = _BRANCH_TOP + max(_BRANCH_MOST * (before - after), 2)
        inner, outer = coordinate(w_out), coordinate(max(w_in, w_out + 1))
        branch = (
            f'<path class="branch" d="M{inner},0 H{outer} C{outer},{_BRANCH_TOP} {outer},'
            f"{_BRANCH_TOP} 100,{_BRANCH_TOP} V{coordinate(low)} C{inner},{coordinate(low)} "
            f'{inner},{coordinate(low)} {inner},0 Z"/>'
        )
    return Markup(
        '<svg role="img" viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" '
        f'height="100%"><title>{escape(title)}</title>{trunk}{branch}</svg>'
    )


def histogram(
    bars: Mapping[str, int], *, title: str, unit: str, height: int = 120, most_labels: int = 7
) -> Markup:
    """Upright bars side by side, each with its number as a title, some with a label below.

    >>> 'aria' in histogram({"1 kB": 3}, title="lengths", unit="documents")
    False
    """
    assert bars, "a histogram needs bars"
    most, step = max(max(bars.values()), 1), 100 / len(bars)
    every = -(-len(bars) // most_labels)
    parts = [f'<line class="grid" x1="0%" x2="100%" y1="{height}" y2="{height}"/>']
    for i, (name, n) in enumerate(bars.items()):
        tall = max(height * n / most, 1.5) if n else 0
        left = coordinate(i * step + _GAP / 2)
        parts.append(
            f'<rect class="ours" rx="2" x="{left}%" width="{coordinate(max(step - _GAP, 0.5))}%" '
            f'y="{coordinate(height - tall)}" height="{coordinate(tall)}">'
            f"<title>{escape(name)}: {n:,} {escape(unit)}</title></rect>"
        )
        if n == most:
            parts.append(
                f'<text class="tick" x="{coordinate((i + 0.5) * step)}%" y="-5" '
                f'text-anchor="middle">{n:,}</text>'
            )
        if i % every == 0:
            parts.append(
                f'<text class="tick" x="{coordinate((i + 0.5) * step)}%" y="{height + 18}" '
                f'text-anchor="middle">{escape(name)}</text>'
            )
    told = "; ".join(f"{name}: {n}" for name, n in bars.items())
    return Markup(svg("".join(parts), title=title, description=told, height=height + 24))


def size_bins(bins: Mapping[int, int]) -> dict[str, int]:
    """Bins that double, from the first to the last with those between, named by where they begin.

    >>> size_bins({9: 2, 11: 1})
    {'512': 2, '1k': 0, '2k': 1}
    """
    if not bins:
        return {}
    return {power_of_two(k): bins.get(k, 0) for k in range(min(bins), max(bins) + 1)}


def power_of_two(k: int) -> str:
    """
    >>> [power_of_two(k) for k in (0, 9, 10, 24)]
    ['1', '512', '1k', '16M']
    """
    for shift, suffix in ((30, "G"), (20, "M"), (10, "k")):
        if k >= shift:
            return f"{1 << (k - shift)}{suffix}"
    return str(1 << k)


def tidy(text: str) -> str:
    """A text without blank lines and spaces at the ends of lines, to be read in little room.

    >>> tidy("a \\n\\n\\n b\\n")
    'a\\n b'
    """
    return re.sub(r"[ \t]*\n\s*\n|[ \t]+\n", "\n", text).strip("\n")


def difference(kept: str, removed: str, most: int = 420) -> tuple[Markup, Markup]:
    """Two texts, cut to what surrounds their first difference, with what differs marked.

    >>> difference("the red fox", "the old fox")
    (Markup('the <mark>red</mark> fox'), Markup('the <mark>old</mark> fox'))
    """
    begin = _window_begin(kept, _first_difference(kept, removed) - most // 4)
    ends = [len(text) > begin + most for text in (kept, removed)]
    sides = [re.findall(r"\s+|\w+|[^\w\s]", text[begin : begin + most]) for text in (kept, removed)]
    told: tuple[list[str], list[str]] = ([], [])
    blocks = _blocks(sides[0], sides[1])
    for n, (is_same, *spans) in enumerate(blocks):
        is_cut = n == len(blocks) - 1 and any(ends)  # what is behind decides, and is not shown
        for side, (start, end) in enumerate(spans):
            text = escape("".join(sides[side][start:end]))
            plain = is_same or is_cut or not text
            told[side].append(str(text) if plain else f"<mark>{text}</mark>")
    before = "… " if begin else ""
    after = [" …" if is_cut else "" for is_cut in ends]
    return (
        Markup(before + "".join(told[0]) + after[0]),
        Markup(before + "".join(told[1]) + after[1]),
    )


_Block = tuple[bool, tuple[int, int], tuple[int, int]]


def _blocks(a: list[str], b: list[str]) -> list[_Block]:
    """Stretches that are the same and that are not; spaces and marks alone part no stretches."""
    found: list[_Block] = []
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        is_same = kind == "equal"
        if is_same and found and not any(map(str.isalnum, "".join(a[i:i_end]))):
            is_same = j_end == len(b) and i_end == len(a)
        if found and found[-1][0] == is_same:
            _, (i, _), (j, _) = found.pop()
        found.append((is_same, (i, i_end), (j, j_end)))
    return found


def _window_begin(text: str, place: int) -> int:
    """A place, moved on to the next word; 0 for one before the text."""
    if place <= 0:
        return 0
    space = re.compile(r"\s").search(text, place, place + _LONG_WORD)
    return space.end() if space else place


def _first_difference(a: str, b: str) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def meter(share: float) -> Markup:
    """A bar for a table's cell, with its share as words for those who cannot see it; none of 0."""
    if not share:
        return Markup("")
    width = coordinate(100 * min(max(share, 0), 1))
    return Markup(f'<span class="meter" style="width: {width}%" title="{share_of(share)}">'
                  "</span>")  # fmt: skip
