"""Drawings of the page of prepared data: the stream through a stage, lengths, and shares.

Like `charts.py`: SVG whose horizontal places are shares of the width, coloured by class.
"""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup, escape

from groundup.report.charts import coordinate, svg
from groundup.report.data_words import share as share_of

_BED = 80  # the width of a full stream, of 100; the rest is for what branches off
STREAM_LEFT = 1.2  # what is drawn of a stream that is nearly dry
_BRANCH_TOP = 22  # where the branch of what is dropped leaves to the right, of 100
_BRANCH_MOST = 62  # and how thick it may be there
_BRANCH_LEAST = 0.7
_GAP = 1.5  # between bars, of 100


def stream(before: float, after: float, *, title: str) -> Markup:
    """A stage: a stream of width `before` at its top, `after` at its bottom, both from 0 to 1.

    What is lost leaves to the right. The drawing stretches to whatever box it stands in.
    """
    w_in, w_out = (max(_BED * share, STREAM_LEFT) for share in (before, after))
    trunk = f'<path class="trunk" d="M0,0 H{coordinate(w_out)} V100 H0 Z"/>'
    branch = ""
    if before > after:
        low = _BRANCH_TOP + max(_BRANCH_MOST * (before - after), _BRANCH_LEAST)
        inner, outer = coordinate(w_out), coordinate(max(w_in, w_out + 0.4))
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


def meter(share: float) -> Markup:
    """A bar on a track as wide as its box, with its share as words for those who cannot see it.

    >>> meter(0)
    Markup('<span class="track" title="0%"></span>')
    """
    width = coordinate(100 * min(max(share, 0), 1))
    bar = f'<span class="meter" style="width: {width}%"></span>' if share else ""
    return Markup(f'<span class="track" title="{share_of(share)}">{bar}</span>')


def metered(share: float) -> Markup:
    """A share for a table's cell: its number, and the bar beside it."""
    return Markup(f'<span class="metered">{share_of(share)}{meter(share)}</span>')
