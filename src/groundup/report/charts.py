"""Small SVG charts for the report: lines, intervals and bars.

Each function returns one `<svg>` element as text, to stand inside a page. Horizontal places are
percentages and vertical ones pixels, so a chart takes any width while its letters keep their size.
Colours come from the page by class (`ink`, `accent`, `other`, `grid`), so light and dark need no
second drawing; shapes and labels say everything that colours say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

Point = tuple[float, float]
CURVE_POINTS = 400  # as many as a screen can show of a curve this size


@dataclass(frozen=True)
class Series:
    """One line of a chart, or one row of dots."""

    name: str
    points: Sequence[Point]
    style: Literal["line", "faint", "dots"] = "line"


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


def format_number(value: float) -> str:
    """A tick or a figure, three digits at most.

    >>> [format_number(v) for v in (0, 0.5, 2.25, 1500, 2_000_000, 0.0003, 999_999)]
    ['0', '0.5', '2.25', '1.5k', '2M', '3e-4', '1M']
    """
    value = float(f"{value:.3g}")
    if value == 0:
        return "0"
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    if abs(value) < 0.001:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}"


def format_percent(share: float | None) -> str:
    """A share in whole percents, a dash where there is none.

    >>> format_percent(0.256), format_percent(None)
    ('26%', '–')
    """
    return "–" if share is None else f"{100 * share:.0f}%"


def format_bytes(n: float | None) -> str:
    """Decimal units, as disks count.

    >>> format_bytes(2_400_000), format_bytes(900), format_bytes(31_000_000_000)
    ('2.4 MB', '900 B', '31 GB')
    """
    if n is None:
        return ""
    n = float(f"{n:.3g}")
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= limit:
            return f"{n / limit:.3g} {unit}"
    return f"{n:.0f} B"


def format_duration(seconds: float) -> str:
    """Two units at most.

    >>> format_duration(8.4), format_duration(540), format_duration(552), format_duration(7260)
    ('8.4 s', '9 min', '9 min 12 s', '2 h 1 min')
    """
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    large, small, names = (60, 1, ("min", "s")) if seconds < 3599.5 else (3600, 60, ("h", "min"))
    units = round(seconds / small)
    whole, rest = divmod(units, large // small)
    return f"{whole} {names[0]}" + (f" {rest} {names[1]}" if rest else "")


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


def _scale(lo: float, hi: float, to_lo: float, to_hi: float) -> Callable[[float], float]:
    factor = (to_hi - to_lo) / (hi - lo)
    return lambda value: to_lo + (value - lo) * factor


def _number(value: float) -> str:
    """Coordinates to a hundredth, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


# --- charts ---------------------------------------------------------------------------------------


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    height: int = 220,
) -> str:
    """Curves over a common axis; y labels hang outside the left edge, x labels below."""
    drawn = [s for s in series if s.points]
    assert drawn, "a chart needs at least one series with points"
    xs = [x for s in drawn for x, _ in s.points]
    ys = [y for s in drawn for _, y in s.points]
    x_lo, x_hi = min(0.0, *xs), max(xs)
    x_hi = x_hi if x_hi > x_lo else x_lo + 1
    y_ticks = nice_ticks(min(ys), max(ys), n_wanted=max(2, height // 50))
    x_of = _scale(x_lo, x_hi, 0, 100)
    y_of = _scale(y_ticks[0], y_ticks[-1], height, 0)
    parts = [_y_axis(y_ticks, y_of), _x_axis(nice_ticks(x_lo, x_hi, 4), x_of, height)]
    for s in drawn:
        parts.append(_dots(s, x_of, y_of) if s.style == "dots" else _line(s, x_of, y_of, height))
    return _svg("".join(parts), title=title, description=description, height=height + 24)


def _y_axis(ticks: Sequence[float], y_of: Callable[[float], float]) -> str:
    parts = []
    for tick in ticks:
        y = _number(y_of(tick))
        parts.append(f'<line class="grid" x1="0%" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="-8" y="{y}" dy="0.34em" text-anchor="end">'
            f"{format_number(tick)}</text>"
        )
    return "".join(parts)


def _x_axis(ticks: Sequence[float], x_of: Callable[[float], float], height: int) -> str:
    parts = []
    for tick in ticks:
        if x_of(tick) > 100.001:
            continue
        x = x_of(tick)
        anchor = "start" if x < 1 else "end" if x > 97 else "middle"
        parts.append(
            f'<line class="grid" x1="{_number(x)}%" x2="{_number(x)}%" y1="{height}"'
            f' y2="{height + 5}"/>'
            f'<text class="tick" x="{_number(x)}%" y="{height + 19}" text-anchor="{anchor}">'
            f"{format_number(tick)}</text>"
        )
    return "".join(parts)


def _line(
    s: Series, x_of: Callable[[float], float], y_of: Callable[[float], float], height: int
) -> str:
    """The curve in a box of its own that stretches with the page while the stroke does not."""
    points = " ".join(
        f"{_number(10 * x_of(x))},{_number(y_of(y))}" for x, y in downsample(s.points)
    )
    return (
        f'<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 1000 {height}"'
        ' preserveAspectRatio="none" overflow="visible">'
        f'<polyline class="{s.style}" points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )


def _dots(s: Series, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> str:
    points = downsample(s.points, limit=60)
    lines = [
        f'<line class="line" x1="{_number(x_of(x1))}%" y1="{_number(y_of(y1))}"'
        f' x2="{_number(x_of(x2))}%" y2="{_number(y_of(y2))}"/>'
        for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False)
    ]
    dots = [
        f'<circle class="dot" cx="{_number(x_of(x))}%" cy="{_number(y_of(y))}" r="3">'
        f"<title>{format_number(x)}: {format_number(y)}</title></circle>"
        for x, y in points
    ]
    return "".join(lines + dots)


def bar_chart(bars: Sequence[Bar], *, title: str, description: str, unit: str) -> str:
    """Bars from zero, each under its name and figure, with a whisker where there is an interval."""
    row = 52
    x_of = _scale(0, max([bar.hi or bar.value for bar in bars] + [1e-9]), 0, 100)
    parts = []
    for i, bar in enumerate(bars):
        top = i * row
        kind = "ours" if bar.ours else "theirs"
        parts.append(
            f'<text class="name {kind}" x="0" y="{top + 14}">{escape(bar.name)}</text>'
            f'<text class="figure {kind}" x="100%" y="{top + 14}" text-anchor="end">'
            f'{escape(bar.label)}<tspan class="tick" dx="6">{escape(bar.note)}</tspan></text>'
            f'<rect class="bar {kind}" x="0" y="{top + 22}" height="14" rx="2"'
            f' width="{_number(x_of(max(0.0, bar.value)))}%"/>'
        )
        if bar.lo is not None and bar.hi is not None:
            parts.append(_whisker(x_of(bar.lo), x_of(bar.hi), top + 29, cap=7))
    height = len(bars) * row
    parts.append(
        f'<text class="tick" x="0" y="{height + 4}">0 {escape(unit)}, shorter is better</text>'
    )
    return _svg("".join(parts), title=title, description=description, height=height + 10)


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
        x = _number(100 * chance)
        parts.append(
            f'<line class="chance" x1="{x}%" x2="{x}%" y1="{middle - 9}" y2="{middle + 9}"/>'
        )
    if lo is not None and hi is not None:
        parts.append(_whisker(100 * lo, 100 * hi, middle, cap=4))
    kind = "dot hollow" if hollow else "dot"
    parts.append(f'<circle class="{kind}" cx="{_number(100 * score)}%" cy="{middle}" r="5"/>')
    return _svg("".join(parts), title=title, description="", height=2 * middle)


def percent_axis() -> str:
    """The labels above a column of interval strips."""
    labels = []
    for quarter in (0, 50, 100):
        anchor = {0: "start", 50: "middle", 100: "end"}[quarter]
        labels.append(
            f'<text class="tick" x="{quarter}%" y="12" text-anchor="{anchor}">{quarter}%</text>'
        )
    return _svg("".join(labels), title="Axis from 0% to 100%", description="", height=16)


def _whisker(x_lo: float, x_hi: float, y: float, cap: float) -> str:
    lo, hi = _number(x_lo), _number(x_hi)
    lines = [(lo, hi, y, y), (lo, lo, y - cap, y + cap), (hi, hi, y - cap, y + cap)]
    return "".join(
        f'<line class="whisker" x1="{x1}%" x2="{x2}%" y1="{_number(y1)}" y2="{_number(y2)}"/>'
        for x1, x2, y1, y2 in lines
    )


def _svg(content: str, *, title: str, description: str, height: int) -> str:
    desc = f"<desc>{escape(description)}</desc>" if description else ""
    return (
        f'<svg role="img" width="100%" height="{height}" overflow="visible">'
        f"<title>{escape(title)}</title>{desc}{content}</svg>"
    )
