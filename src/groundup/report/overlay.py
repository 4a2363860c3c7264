"""Several lines in one chart, told apart by colour and by dash: runs, or layers of a model.

The colours are classes that the page defines for light and dark (`run0`, `run1`, … for runs,
`depth` for layers); the dashes are drawn here, so that nothing is said by colour alone. curves.py
draws one run's figures one by one, and takes its layers from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from groundup.report.charts import (
    Point,
    Scale,
    Vertical,
    coordinate,
    downsample,
    horizontal,
    linear_scale,
    nice_ticks,
    smooth,
    svg,
    vertical,
    whisker,
    x_axis,
)
from groundup.report.format import format_number
from groundup.report.metrics import AXES, Axis, Figures, curve_name, is_of_a_layer, place

MAIN_FIGURES = ("loss", "heldout_bits_per_byte")
# What has no place beside other runs: a rate that tokens per second tell as well, and seconds of
# an interval that each recipe sets for itself.
NOT_COMPARED = ("flops_per_s", "data_wait_s")
# Figures whose axis is of another kind than `linear`.
KINDS: Mapping[str, Vertical] = {
    "tokens_per_s": "count",
    "of_peak": "share",
    "memory_bytes": "bytes",
    "skipped": "count",
    "spikes": "count",
}
NOISY_POINTS = 200  # from here on a curve is smoothed
SMOOTHED_SHARE = 50  # a noisy curve is a running mean of this part of its points
N_COLOURS = 6  # as many as the page defines
DASHES = ("", "7 4", "2 3", "10 3 2 3")
FEW_POINTS = 30  # up to here each is marked


# --- figures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """One figure of one stage along one axis, a list of points for each run.

    is_smoothed: each noisy line is a running mean over a fiftieth of its run.
    """

    stage: str
    figure: str
    axis: Axis
    runs: tuple[tuple[Point, ...], ...]
    is_smoothed: bool

    @property
    def is_main(self) -> bool:
        """Whether it is one to look at first."""
        return self.figure in MAIN_FIGURES and self.axis in ("tokens", "step")


def overlay_curves(stage: str, runs: Sequence[Figures]) -> list[Curve]:
    """Every figure that some run has two points of, the main curves first.

    Left out are those of single layers, and what stands still at zero in all runs.
    """
    curves: list[Curve] = []
    for key in sorted({key for figures in runs for key in figures}, key=place):
        if is_of_a_layer(key) or key in NOT_COMPARED:
            continue
        axes: Sequence[Axis] = AXES[:2] if key == "loss" else AXES[:1]
        drawn = [c for axis in axes if (c := _curve(stage, key, axis, runs))]
        curves += drawn or filter(None, [_curve(stage, key, "step", runs)])
    return sorted(curves, key=lambda curve: not curve.is_main)


def _curve(stage: str, key: str, axis: Axis, runs: Sequence[Figures]) -> Curve | None:
    lines = [
        [(record[axis], record[key]) for record in figures.get(key, []) if axis in record]
        for figures in runs
    ]
    if not any(len(line) > 1 for line in lines) or not any(y for line in lines for _, y in line):
        return None
    noisy = [len(line) >= NOISY_POINTS and key != "lr" for line in lines]
    smoothed = [
        smooth(line, len(line) // SMOOTHED_SHARE) if is_noisy else line
        for line, is_noisy in zip(lines, noisy, strict=True)
    ]
    return Curve(stage, key, axis, tuple(tuple(downsample(line)) for line in smoothed), any(noisy))


def describe_curve(curve: Curve) -> tuple[str, str, Vertical]:
    """(what is drawn, along what, on which kind of axis)."""
    axis = "seconds of training" if curve.axis == "seconds" else curve.axis
    return curve_name(curve.figure), axis, KINDS.get(curve.figure, "linear")


# --- charts ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What tells a line from the others.

    colour: a class of the page. depth: from 0 to 1, which the class `depth` makes a colour of.
    """

    colour: str
    dash: str = ""
    depth: float | None = None

    def attributes(self, kind: str) -> str:
        """For an element of the class `kind`."""
        depth = "" if self.depth is None else f' style="--depth: {coordinate(100 * self.depth)}%"'
        return f'class="{kind} {self.colour}"{depth}'

    @property
    def stroke(self) -> str:
        """The dash as an attribute."""
        return f' stroke-dasharray="{self.dash}"' if self.dash else ""


def run_look(run: int) -> Look:
    """The look of a run by its place; runs that share a colour have another dash.

    >>> run_look(1), run_look(7)
    (Look(colour='run1', dash='7 4', depth=None), Look(colour='run1', dash='', depth=None))
    """
    return Look(f"run{run % N_COLOURS}", DASHES[(run + run // N_COLOURS) % len(DASHES)])


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    look: Look


@dataclass(frozen=True)
class Row:
    """One run's score with its interval, None where there is none."""

    name: str
    label: str
    look: Look
    value: float | None
    lo: float | None = None
    hi: float | None = None


def overlay_chart(
    lines: Sequence[Line],
    *,
    title: str,
    description: str,
    height: int = 220,
    kind: Vertical = "linear",
    marks: bool = True,
) -> str:
    """Several curves over common axes; with `marks`, those of few points have each marked.

    The later ones lie on top: their dashes let a line below them be seen where they coincide.
    """
    drawn = [line for line in lines if line.points]
    assert drawn, "a chart needs at least one line with points"
    x_of, below = horizontal([x for line in drawn for x, _ in line.points], height)
    y_of, beside = vertical([y for line in drawn for _, y in line.points], height, kind)
    parts = [beside, below, *(_line(line, x_of, y_of, height) for line in drawn)]
    if marks:
        parts += [_marks(line, x_of, y_of) for line in drawn if len(line.points) <= FEW_POINTS]
    return svg("".join(parts), title=title, description=description, height=height + 24)


def _line(line: Line, x_of: Scale, y_of: Scale, height: int) -> str:
    path = " ".join(
        f"{coordinate(10 * x_of(x))},{coordinate(y_of(y))}" for x, y in downsample(line.points)
    )
    return (
        f'<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 1000 {height}"'
        ' preserveAspectRatio="none" overflow="visible">'
        f'<polyline {line.look.attributes("run")}{line.look.stroke} points="{path}"'
        f' vector-effect="non-scaling-stroke"><title>{escape(line.name)}</title></polyline></svg>'
    )


def _marks(line: Line, x_of: Scale, y_of: Scale) -> str:
    return "".join(
        f'<circle {line.look.attributes("mark")} cx="{coordinate(x_of(x))}%"'
        f' cy="{coordinate(y_of(y))}" r="3"><title>{format_number(x)}: {format_number(y)}</title>'
        "</circle>"
        for x, y in line.points
    )


def swatch(look: Look) -> str:
    """A line in a legend."""
    return (
        '<svg width="26" height="10" aria-hidden="true">'
        f'<line {look.attributes("run")}{look.stroke} x1="0" x2="26" y1="5" y2="5"/></svg>'
    )


def interval_rows(rows: Sequence[Row], *, title: str, description: str) -> str:
    """Scores under each other on one axis, each under its name and figure, with its interval."""
    ends = [v for row in rows for v in (row.value, row.lo, row.hi) if v is not None]
    assert ends, "rows need at least one score"
    ticks = nice_ticks(min(ends), max(ends), 4)
    x_of = linear_scale(ticks[0], ticks[-1], 0, 100)
    height = 44 * len(rows)
    parts = [x_axis(ticks, x_of, height)]
    parts += [
        f'<line class="grid" x1="{coordinate(x_of(t))}%" x2="{coordinate(x_of(t))}%" y1="0"'
        f' y2="{height}"/>'
        for t in ticks
    ]
    parts += [_row(row, 44 * i, x_of) for i, row in enumerate(rows)]
    return svg("".join(parts), title=title, description=description, height=height + 24)


def _row(row: Row, top: int, x_of: Scale) -> str:
    parts = [
        f'<text class="name" x="0" y="{top + 16}">{escape(row.name)}</text>'
        f'<text class="figure" x="100%" y="{top + 16}" text-anchor="end">{escape(row.label)}</text>'
    ]
    if row.lo is not None and row.hi is not None:
        drawn = whisker(x_of(row.lo), x_of(row.hi), top + 30, cap=4)
        parts.append(f'<g class="{row.look.colour}">{drawn}</g>')
    if row.value is not None:
        parts.append(
            f'<circle {row.look.attributes("mark")} cx="{coordinate(x_of(row.value))}%"'
            f' cy="{top + 30}" r="5"/>'
        )
    return "".join(parts)
