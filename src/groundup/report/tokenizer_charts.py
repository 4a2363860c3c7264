"""The charts of the tokenizer's page: a figure along vocabulary sizes, and text cut into tokens.

Sizes stand on a logarithmic axis, since vocabularies are doubled. Lines and colours are those of
`overlay.py`, so that an algorithm is told by its dash as well as by its colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from groundup.report.charts import Scale, coordinate, linear_scale, nice_ticks, svg, y_axis
from groundup.report.overlay import Look
from groundup.tokenizer.laboratory.measure import mark_spaces

_MARGIN = 4.0  # percents left free on both sides, for dots and labels
_LABEL_STEP = 16  # pixels between two labels
_RIGHT = 62.0  # from here on a label stands to the left of its dot


@dataclass(frozen=True)
class Dot:
    """A vocabulary in a chart; hollow: the text is too small for it."""

    vocab_size: int
    value: float
    title: str
    hollow: bool = False


@dataclass(frozen=True)
class SizeLine:
    """The vocabularies of one algorithm, by size."""

    name: str
    dots: Sequence[Dot]
    look: Look


def size_chart(
    lines: Sequence[SizeLine],
    references: Sequence[tuple[str, Dot]],
    *,
    chosen: Dot,
    form: Callable[[float], str],
    title: str,
    description: str,
    bounds: tuple[float, float] | None = None,
    too_small_from: float | None = None,
    height: int = 260,
) -> str:
    """A figure along vocabulary sizes: lines with dots, references with their names, one marked.

    With `bounds` the axis shows these values alone, and what lies beyond is cut off. From the size
    `too_small_from` on, the chart is shaded: the text is too small for such vocabularies.
    """
    dots = [dot for line in lines for dot in line.dots] + [dot for _, dot in references]
    x_of = size_scale([dot.vocab_size for dot in dots])
    lo, hi = bounds or (min(dot.value for dot in dots), max(dot.value for dot in dots))
    ticks = nice_ticks(lo, hi, n_wanted=5)
    y_of = linear_scale(ticks[0], ticks[-1], height, 0)
    top = ticks[-1]
    parts = []
    if too_small_from is not None:
        parts.append(_shade(x_of(too_small_from), height))
    parts += [y_axis(ticks, y_of, form), size_axis(lines, x_of, height)]
    x = coordinate(x_of(chosen.vocab_size))
    parts.append(f'<line class="chosen" x1="{x}%" x2="{x}%" y1="0" y2="{height}"/>')
    parts += [_line(line, x_of, y_of, height) for line in lines]
    parts += [_dots(line, x_of, y_of, top) for line in lines]
    parts.append(_references(references, x_of, y_of, top))
    parts.append(
        f'<circle class="ring" cx="{x}%" cy="{coordinate(y_of(chosen.value))}" r="9"/>'
        f'<text class="figure" x="{x}%" y="-8" text-anchor="{_anchor(x_of(chosen.vocab_size))}">'
        f"{chosen.vocab_size:,}</text>"
    )
    return svg("".join(parts), title=title, description=description, height=height + 26)


def _shade(x: float, height: int) -> str:
    return (
        f'<rect class="shade" x="{coordinate(x)}%" y="0" width="{coordinate(100 - x)}%"'
        f' height="{height}"/>'
    )


def size_scale(sizes: Sequence[float]) -> Scale:
    """Where a vocabulary size stands from left to right, in percents, on a logarithmic axis.

    >>> [round(size_scale([1024, 4096])(size)) for size in (1024, 2048, 4096)]
    [4, 50, 96]
    """
    lo, hi = math.log2(min(sizes)), math.log2(max(sizes))
    hi = hi if hi > lo else lo + 1
    on_logs = linear_scale(lo, hi, _MARGIN, 100 - _MARGIN)
    return lambda size: on_logs(math.log2(size))


def size_axis(lines: Sequence[SizeLine], x_of: Scale, height: int) -> str:
    """Marks below the chart at the sizes that were tried, as far as their labels have room."""
    sizes = sorted({dot.vocab_size for line in lines for dot in line.dots})
    parts, last = [], -100.0
    for size in sizes:
        x = x_of(size)
        parts.append(
            f'<line class="grid" x1="{coordinate(x)}%" x2="{coordinate(x)}%" y1="{height}"'
            f' y2="{height + 5}"/>'
        )
        if x - last < 7:
            continue
        last = x
        parts.append(
            f'<text class="tick" x="{coordinate(x)}%" y="{height + 20}" text-anchor="middle">'
            f"{short_size(size)}</text>"
        )
    return "".join(parts)


def short_size(size: int) -> str:
    """A vocabulary size in a few letters.

    >>> short_size(8192), short_size(50257), short_size(500)
    ('8k', '50,257', '500')
    """
    return f"{size // 1024}k" if size % 1024 == 0 else f"{size:,}"


def _line(line: SizeLine, x_of: Scale, y_of: Scale, height: int) -> str:
    """The line in a box of its own, which cuts off what lies beyond the axis."""
    path = " ".join(
        f"{coordinate(10 * x_of(dot.vocab_size))},{coordinate(y_of(dot.value))}"
        for dot in line.dots
    )
    return (
        f'<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 1000 {height}"'
        f' preserveAspectRatio="none"><polyline {line.look.attributes("run")}{line.look.stroke}'
        f' points="{path}" vector-effect="non-scaling-stroke"><title>{escape(line.name)}</title>'
        "</polyline></svg>"
    )


def _dots(line: SizeLine, x_of: Scale, y_of: Scale, top: float) -> str:
    parts = []
    for dot in line.dots:
        if dot.value <= top:
            kind = f"mark {'hollow ' if dot.hollow else ''}{line.look.colour}"
            parts.append(
                f'<circle class="{kind}" cx="{coordinate(x_of(dot.vocab_size))}%"'
                f' cy="{coordinate(y_of(dot.value))}" r="4"><title>{escape(dot.title)}</title>'
                "</circle>"
            )
    return "".join(parts)


def _references(references: Sequence[tuple[str, Dot]], x_of: Scale, y_of: Scale, top: float) -> str:
    """Diamonds with names, which are moved down where they would lie on each other."""
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for name, dot in sorted(references, key=lambda item: -item[1].value):
        if dot.value > top:
            continue
        x, y = x_of(dot.vocab_size), y_of(dot.value)
        label = y
        while any(abs(x - other) < 30 and abs(label - at) < _LABEL_STEP for other, at in taken):
            label += 1
        taken.append((x, label))
        is_right = x > _RIGHT
        parts.append(
            f'<text class="reference" x="{coordinate(x)}%" y="{coordinate(y)}" dy="0.35em"'
            f' text-anchor="middle">◆<title>{escape(dot.title)}</title></text>'
            f'<text class="tick" x="{coordinate(x)}%" dx="{-9 if is_right else 9}"'
            f' y="{coordinate(label)}" dy="0.34em" text-anchor="{"end" if is_right else "start"}">'
            f"{escape(name)}</text>"
        )
    return "".join(parts)


def _anchor(x: float) -> str:
    return "start" if x < 6 else "end" if x > 94 else "middle"


# --- text cut into tokens -------------------------------------------------------------------------

N_TINTS = 5  # colours that the page has for tokens that follow each other


def token_spans(tokens: Sequence[str]) -> str:
    """Tokens as coloured spans, white space made visible; neighbours never share a colour."""
    parts = []
    for i, token in enumerate(tokens):
        parts.append(
            f'<span class="token tint{i % N_TINTS}" title={quoteattr(token)}>'
            f"{escape(mark_spaces(token))}</span><wbr>"
        )
    return "".join(parts)
