"""Small SVG charts for the report: lines, intervals and bars.

Each function returns one `<svg>` element as text, to stand inside a page. Horizontal places are
percentages and vertical ones pixels, so a chart takes any width while its letters keep their size.
Colours come from the page by class (`ink`, `accent`, `other`, `grid`), so light and dark need no
second drawing; shapes and labels say everything that colours say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from groundup.report.format import format_bytes, format_number, format_share

Point = tuple[float, float]
Scale = Callable[[float], float]
# How values stand on a vertical axis: those of FORMS from zero, and written as what they are.
Vertical = Literal["linear", "log", "count", "share", "bytes"]
FORMS: Mapping[str, Callable[[float], str]] = {
    "count": format_number,
    "share": format_share,
    "bytes": format_bytes,
}
Style = Literal["line", "faint", "dots"]
CURVE_POINTS = 400  # as many as a screen can show of a curve this size
LOW = 100  # charts of less than these pixels have few ticks


@dataclass(frozen=True)
class Series:
    """One line of a chart, or one row of dots."""

    name: str
    points: Sequence[Point]
    style: Style = "line"


@dataclass(frozen=True)
class Part:
    """A stretch of a stacked bar; kind: the class of its colour."""

    name: str
    value: float
    kind: str


@dataclass(frozen=True)
class Bar:
    """One bar: its value, how to write it, the interval where there is one, whether it is ours."""

    name: str
    value: float
    label: str
    note: str = ""
    lo: float | None = None
    hi: float | None = None
    ours: bool = True


# --- scales ---------------------------------------------------------------------------------------


def nice_ticks(lo: float, hi: float, n_wanted: int = 5) -> list[float]:
    """Round numbers that span lo to hi, about `n_wanted` of them, in steps of 1, 2 or 5.

    >>> nice_ticks(0.3, 2.2)
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    >>> nice_ticks(0, 31, 3)
    [0, 10, 20, 30, 40]
    """
    if not hi > lo:
        margin = abs(lo) * 0.5 or 1.0
        lo, hi = lo - margin, lo + margin
    rough = (hi - lo) / max(1, n_wanted)
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.75)
    first, last = math.floor(lo / step + 1e-9), math.ceil(hi / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, last + 1)]


def log_ticks(lo: float, hi: float) -> list[float]:
    """Round numbers that span lo to hi on a logarithmic axis: 1, 2 and 5, or powers of ten alone.

    >>> log_ticks(0.0017, 0.03)
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05]
    >>> log_ticks(2e-7, 3)
    [1e-07, 1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0]
    """
    assert 0 < lo <= hi, "a logarithm needs positive values"
    first, last = math.floor(math.log10(lo)) - 1, math.ceil(math.log10(hi)) + 1
    ticks = [float(f"{m}e{power}") for power in range(first, last + 1) for m in (1, 2, 5)]
    ticks = _spanning(ticks, lo, hi)
    return (
        ticks if len(ticks) <= 8 else _spanning([10.0**p for p in range(first, last + 1)], lo, hi)
    )


def _spanning(ticks: Sequence[float], lo: float, hi: float) -> list[float]:
    below = max(tick for tick in ticks if tick <= lo)
    above = min(tick for tick in ticks if tick >= hi and tick > below)
    return [tick for tick in ticks if below <= tick <= above]


# --- curves --------------------------------------------------------------------------------------


def downsample(points: Sequence[Point], limit: int = CURVE_POINTS) -> list[Point]:
    """At most `limit` of the points, keeping both ends and every stretch's extremes.

    >>> downsample([(0, 1), (1, 9), (2, 2), (3, 0), (4, 5), (5, 5)], limit=4)
    [(0, 1), (1, 9), (3, 0), (5, 5)]
    """
    if len(points) <= limit:
        return list(points)
    inner = points[1:-1]
    n_buckets = max(1, (limit - 2) // 2)
    kept = [points[0]]
    for bucket in range(n_buckets):
        start, end = (len(inner) * b // n_buckets for b in (bucket, bucket + 1))
        stretch = inner[start:end]
        extremes = {min(stretch, key=_height), max(stretch, key=_height)}
        kept.extend(sorted(extremes))
    return [*kept, points[-1]]


def smooth(points: Sequence[Point], window: int) -> list[Point]:
    """Each point's mean with the points within `window` / 2 of it, fewer at the ends.

    >>> smooth([(0, 1.0), (1, 4.0), (2, 1.0)], window=3)
    [(0, 2.5), (1, 2.0), (2, 2.5)]
    """
    half = window // 2
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    smoothed = []
    for i, (x, _) in enumerate(points):
        start, end = max(0, i - half), min(len(points), i + half + 1)
        smoothed.append((x, (sums[end] - sums[start]) / (end - start)))
    return smoothed


def _height(point: Point) -> float:
    return point[1]


def linear_scale(lo: float, hi: float, to_lo: float, to_hi: float) -> Scale:
    """Takes lo to to_lo, hi to to_hi, and what is between in proportion."""
    factor = (to_hi - to_lo) / (hi - lo)
    return lambda value: to_lo + (value - lo) * factor


def coordinate(value: float) -> str:
    """Coordinates to a hundredth, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def horizontal(xs: Sequence[float], height: int) -> tuple[Scale, str]:
    """Where a value stands from left to right, in percents from 0, and the axis below the chart."""
    lo, hi = min(0.0, *xs), max(xs)
    hi = hi if hi > lo else lo + 1
    x_of = linear_scale(lo, hi, 0, 100)
    return x_of, x_axis(nice_ticks(lo, hi, 4 if height >= LOW else 2), x_of, height)


def vertical(ys: Sequence[float], height: int, kind: Vertical = "linear") -> tuple[Scale, str]:
    """Where a value stands from top to bottom, in pixels, and the axis at the left edge."""
    if kind == "log":
        ticks = log_ticks(min(ys), max(ys))
        on_logs = linear_scale(math.log10(ticks[0]), math.log10(ticks[-1]), height, 0)
        return (scale := lambda y: on_logs(math.log10(y))), y_axis(ticks, scale)
    lo = min(0.0, *ys) if kind in FORMS else min(ys)
    ticks = nice_ticks(lo, max(ys), n_wanted=max(2, height // 50))
    y_of = linear_scale(ticks[0], ticks[-1], height, 0)
    return y_of, y_axis(ticks, y_of, FORMS.get(kind, format_number))


def y_axis(
    ticks: Sequence[float], y_of: Scale, form: Callable[[float], str] = format_number
) -> str:
    """Lines across the chart, with their labels outside its left edge."""
    parts = []
    for tick in ticks:
        y = coordinate(y_of(tick))
        parts.append(f'<line class="grid" x1="0%" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="-8" y="{y}" dy="0.34em" text-anchor="end">{form(tick)}</text>'
        )
    return "".join(parts)


def x_axis(ticks: Sequence[float], x_of: Scale, height: int) -> str:
    """Marks below the chart, with their labels."""
    parts = []
    for tick in ticks:
        if x_of(tick) > 100.001:
            continue
        x = x_of(tick)
        anchor = "start" if x < 1 else "end" if x > 97 else "middle"
        parts.append(
            f'<line class="grid" x1="{coordinate(x)}%" x2="{coordinate(x)}%" y1="{height}"'
            f' y2="{height + 5}"/>'
            f'<text class="tick" x="{coordinate(x)}%" y="{height + 19}" text-anchor="{anchor}">'
            f"{format_number(tick)}</text>"
        )
    return "".join(parts)


# --- charts ---------------------------------------------------------------------------------------


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    height: int = 220,
    kind: Vertical = "linear",
) -> str:
    """Curves over a common axis; y labels hang outside the left edge, x labels below."""
    drawn = [s for s in series if s.points]
    assert drawn, "a chart needs at least one series with points"
    x_of, below = horizontal([x for s in drawn for x, _ in s.points], height)
    y_of, beside = vertical([y for s in drawn for _, y in s.points], height, kind)
    parts = [beside, below]
    for s in drawn:
        parts.append(_dots(s, x_of, y_of) if s.style == "dots" else _line(s, x_of, y_of, height))
    return svg("".join(parts), title=title, description=description, height=height + 24)


def _line(s: Series, x_of: Scale, y_of: Scale, height: int) -> str:
    """The curve in a box of its own that stretches with the page while the stroke does not."""
    points = " ".join(
        f"{coordinate(10 * x_of(x))},{coordinate(y_of(y))}" for x, y in downsample(s.points)
    )
    return (
        f'<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 1000 {height}"'
        ' preserveAspectRatio="none" overflow="visible">'
        f'<polyline class="{s.style}" points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )


def _dots(s: Series, x_of: Scale, y_of: Scale) -> str:
    points = downsample(s.points, limit=60)
    lines = [
        f'<line class="line" x1="{coordinate(x_of(x1))}%" y1="{coordinate(y_of(y1))}"'
        f' x2="{coordinate(x_of(x2))}%" y2="{coordinate(y_of(y2))}"/>'
        for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False)
    ]
    dots = [
        f'<circle class="dot" cx="{coordinate(x_of(x))}%" cy="{coordinate(y_of(y))}" r="3">'
        f"<title>{format_number(x)}: {format_number(y)}</title></circle>"
        for x, y in points
    ]
    return "".join(lines + dots)


def bar_chart(bars: Sequence[Bar], *, title: str, description: str, unit: str) -> str:
    """Bars from zero, each under its name and figure, with a whisker where there is an interval."""
    row = 52
    x_of = linear_scale(0, max([bar.hi or bar.value for bar in bars] + [1e-9]), 0, 100)
    parts = []
    for i, bar in enumerate(bars):
        top = i * row
        kind = "ours" if bar.ours else "theirs"
        parts.append(
            f'<text class="name {kind}" x="0" y="{top + 14}">{escape(bar.name)}</text>'
            f'<text class="figure {kind}" x="100%" y="{top + 14}" text-anchor="end">'
            f'{escape(bar.label)}<tspan class="tick" dx="6">{escape(bar.note)}</tspan></text>'
            f'<rect class="bar {kind}" x="0" y="{top + 22}" height="14" rx="2"'
            f' width="{coordinate(x_of(max(0.0, bar.value)))}%"/>'
        )
        if bar.lo is not None and bar.hi is not None:
            parts.append(whisker(x_of(bar.lo), x_of(bar.hi), top + 29, cap=7))
    height = len(bars) * row
    parts.append(
        f'<text class="tick" x="0" y="{height + 4}">0 {escape(unit)}, shorter is better</text>'
    )
    return svg("".join(parts), title=title, description=description, height=height + 10)


def stacked_bar(
    parts: Sequence[Part], *, most: float, title: str, description: str, mark: float | None = None
) -> str:
    """Parts end to end on an axis from 0 to `most`, and a mark across them if there is one."""
    x_of = linear_scale(0, most, 0, 100)
    drawn, start = [], 0.0
    for part in parts:
        drawn.append(
            f'<rect class="part {part.kind}" x="{coordinate(x_of(start))}%" y="5" height="16"'
            f' width="{coordinate(x_of(part.value))}%"><title>{escape(part.name)}</title></rect>'
        )
        start += part.value
    if mark is not None:
        x = coordinate(x_of(mark))
        drawn.append(f'<line class="measured" x1="{x}%" x2="{x}%" y1="0" y2="26"/>')
    return svg("".join(drawn), title=title, description=description, height=26)


def interval_strip(
    score: float,
    lo: float | None,
    hi: float | None,
    chance: float | None,
    *,
    title: str,
    hollow: bool = False,
) -> str:
    """One score from 0 to 1 on its own axis: a dot, its interval, and a tick at chance level."""
    middle = 11
    parts = [f'<line class="grid" x1="0%" x2="100%" y1="{middle}" y2="{middle}"/>']
    for quarter in (0, 25, 50, 75, 100):
        parts.append(
            f'<line class="grid" x1="{quarter}%" x2="{quarter}%" y1="{middle - 3}"'
            f' y2="{middle + 3}"/>'
        )
    if chance is not None:
        x = coordinate(100 * chance)
        parts.append(
            f'<line class="chance" x1="{x}%" x2="{x}%" y1="{middle - 9}" y2="{middle + 9}"/>'
        )
    if lo is not None and hi is not None:
        parts.append(whisker(100 * lo, 100 * hi, middle, cap=4))
    kind = "dot hollow" if hollow else "dot"
    parts.append(f'<circle class="{kind}" cx="{coordinate(100 * score)}%" cy="{middle}" r="5"/>')
    return svg("".join(parts), title=title, description="", height=2 * middle)


def percent_axis() -> str:
    """The labels above a column of interval strips."""
    labels = []
    for quarter in (0, 50, 100):
        anchor = {0: "start", 50: "middle", 100: "end"}[quarter]
        labels.append(
            f'<text class="tick" x="{quarter}%" y="12" text-anchor="{anchor}">{quarter}%</text>'
        )
    return svg("".join(labels), title="Axis from 0% to 100%", description="", height=16)


def whisker(x_lo: float, x_hi: float, y: float, cap: float) -> str:
    """An interval from x_lo to x_hi, in percents, with a cap at both ends."""
    lo, hi = coordinate(x_lo), coordinate(x_hi)
    lines = [(lo, hi, y, y), (lo, lo, y - cap, y + cap), (hi, hi, y - cap, y + cap)]
    return "".join(
        f'<line class="whisker" x1="{x1}%" x2="{x2}%" y1="{coordinate(y1)}" y2="{coordinate(y2)}"/>'
        for x1, x2, y1, y2 in lines
    )


def svg(content: str, *, title: str, description: str, height: int) -> str:
    """A whole chart, named for those who cannot see it."""
    desc = f"<desc>{escape(description)}</desc>" if description else ""
    return (
        f'<svg role="img" width="100%" height="{height}" overflow="visible">'
        f"<title>{escape(title)}</title>{desc}{content}</svg>"
    )
