"""The training curves of one run, stage by stage, as charts of the page.

Figures of single layers stand together in one chart for each kind, those of speed in one row, and
what stood still at zero is said in a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from groundup.report.charts import (
    CURVE_POINTS,
    Point,
    Series,
    Style,
    Vertical,
    downsample,
    line_chart,
    smooth,
)
from groundup.report.format import format_bytes, format_number, format_share
from groundup.report.metrics import (
    Figures,
    curve_name,
    is_of_a_layer,
    place,
    points_of,
    read_figures,
    stage_name,
    words,
)
from groundup.report.overlay import (
    KINDS,
    NOISY_POINTS,
    SMOOTHED_SHARE,
    Line,
    Look,
    overlay_chart,
    swatch,
)

FEW_POINTS = 60  # drawn one by one
HELDOUT = "heldout_"
COUNTS = ("skipped", "spikes")  # so far
# Drawn in the row of speed, or told by what stands there.
OF_SPEED = ("tokens_per_s", "flops_per_s", "of_peak", "data_wait_s", "memory_bytes")
MANY = 24  # lines in a chart of layers, from which on they are thin
ALL_LAYERS_POINTS = 8000  # of all lines of a chart of layers together, to keep the page small


def stage_curves(run: Path, stage: str) -> dict[str, Any] | None:
    """What the page shows of a stage's metrics; None if they hold no two points of anything."""
    figures = read_figures(run / stage / "metrics.jsonl")
    points = {key: p for key in figures if len(p := points_of(figures, key)) > 1}
    points |= {key: counted for key in COUNTS if (counted := _counted(figures, key))}
    if not points:
        return None
    single = sorted((k for k in points if not is_of_a_layer(k) and k not in OF_SPEED), key=place)
    # Beside its held-out figure, and the loss, this one says nothing new.
    hidden = {"bits_per_byte"} & points.keys() if "loss" in points else set()
    families = _families({k: p for k, p in points.items() if is_of_a_layer(k)})
    still = [k for k in single if not any(y for _, y in points[k])]
    return {
        "stage": stage_name(stage),
        "charts": [_curve(stage, k, points) for k in single if k not in {*still, *hidden}],
        "layers": [_layers(stage, f, lines) for f, lines in families.items() if _moves(lines)],
        "speed": list(_speed(stage, figures)),
        "notes": [*_skipped(figures), *_zeros(still, families)],
    }


# --- one figure -----------------------------------------------------------------------------------


def _curve(stage: str, key: str, points: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """A figure's chart; behind one of held-out data stands the same of the training data."""
    name, own = curve_name(key), points[key]
    series = _series(name, own, may_smooth=key not in ("lr", *COUNTS))
    behind = points.get(key.removeprefix(HELDOUT), []) if key.startswith(HELDOUT) else []
    behind = _smoothed([point for point in behind if point[0] >= own[0][0]])
    if len(behind) > 1:
        series = [Series("in training", behind, "faint"), Series("held out", *_drawn(own))]
    first, last = (format_number(series[-1].points[i][1]) for i in (0, -1))
    large = key == "loss"
    chart = line_chart(
        series,
        title=f"{name}, {stage_name(stage).lower()}",
        description=f"From {first} at the start to {last} at the end",
        height=220 if large else 110,
        kind=KINDS.get(key, "linear"),
    )
    has_legend = len(series) > 1 and (large or key.startswith(HELDOUT))
    styles: dict[str, Style] = {s.name: "faint" if s.style == "faint" else "line" for s in series}
    return {
        "name": name,
        "last": last,
        "svg": Markup(chart),
        "large": large,
        "legend": [{"name": n, "style": s} for n, s in styles.items()] if has_legend else [],
    }


def _counted(figures: Figures, key: str) -> list[Point]:
    """A count's points from the beginning: it is logged from when there is something to count."""
    steps = figures.get("gradient_norm", []) if key in figures else []
    counted = [(record.get("tokens", record["step"]), record.get(key, 0)) for record in steps]
    return counted if len(counted) > 1 else []


def _series(name: str, points: Sequence[Point], *, may_smooth: bool) -> list[Series]:
    if len(points) < NOISY_POINTS or not may_smooth:
        return [Series(name, *_drawn(points))]
    window = len(points) // SMOOTHED_SHARE
    return [
        Series("as logged", points, "faint"),
        Series("running mean", smooth(points, window)),
    ]


def _drawn(points: Sequence[Point]) -> tuple[Sequence[Point], Style]:
    return points, "dots" if len(points) <= FEW_POINTS else "line"


def _smoothed(points: Sequence[Point]) -> Sequence[Point]:
    is_noisy = len(points) >= NOISY_POINTS
    return smooth(points, len(points) // SMOOTHED_SHARE) if is_noisy else points


# --- layers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """A figure that every layer has: what it is called, how it is drawn, what zeros mean."""

    name: str
    kind: Vertical
    zeros: str


FAMILIES = {
    "gradient_norm": Family(
        "Gradient norm by layer, after clipping", "log", "No layer had a gradient."
    ),
    "update_ratio": Family(
        "Size of a step by layer, as a share of the weights", "log", "No layer moved."
    ),
    "dead_units": Family(
        "Dead hidden units by layer", "share", "No hidden unit of a feed-forward layer was dead."
    ),
}
HALVES = {"attention": ("attention", ""), "feedforward": ("feed-forward", "5 3")}
EDGE_DASHES = ("1 3", "8 3 1 3", "12 4")  # of what is in no block, such as the embedding

# Layer -> its points.
Layers = dict[str, Sequence[Point]]


def _families(points: Mapping[str, Sequence[Point]]) -> dict[str, Layers]:
    """The figures of layers by what is measured, in the order of FAMILIES, others after."""
    families: dict[str, Layers] = {name: {} for name in FAMILIES}
    for key, line in points.items():
        name, _, layer = key.partition("/")
        families.setdefault(name, {})[layer] = line
    return {name: layers for name, layers in families.items() if layers}


def _moves(layers: Layers) -> bool:
    return any(y for points in layers.values() for _, y in points)


def _layers(stage: str, name: str, layers: Layers) -> dict[str, Any]:
    """One chart with a line for each layer: its colour says how deep, its dash which half."""
    family = FAMILIES.get(name) or Family(f"{curve_name(name)} by layer", "linear", "")
    depths = _depths(layers)
    limit = min(CURVE_POINTS, max(50, ALL_LAYERS_POINTS // len(layers)))
    lines = []
    for layer, points in layers.items():
        # A logarithm has no place for the zero of a step that was left out.
        drawn = [point for point in _smoothed(points) if point[1] > 0 or family.kind != "log"]
        if drawn:
            lines.append(Line(_layer_name(layer), downsample(drawn, limit), _look(layer, layers)))
    least, most = (which(lines, key=_end) for which in (min, max))
    form = format_share if family.kind == "share" else format_number
    ends = f"from {form(_end(least))} ({least.name}) to {form(_end(most))} ({most.name})"
    chart = overlay_chart(
        lines,
        title=f"{family.name}, {stage_name(stage).lower()}",
        description=f"{len(lines)} layers; at the end {ends}",
        height=200,
        kind=family.kind,
        marks=False,
    )
    return {
        "name": family.name,
        "ends": ends,
        "has_many": len(lines) > MANY,
        "is_smoothed": any(len(points) >= NOISY_POINTS for points in layers.values()),
        "legend": [
            {"swatch": Markup(swatch(look)), "name": text} for text, look in _legend(layers, depths)
        ],
        "svg": Markup(chart),
    }


def _end(line: Line) -> float:
    return line.points[-1][1]


def _split(layer: str) -> tuple[int | None, str]:
    """(which block, which half of it).

    >>> _split("block3.attention"), _split("block0"), _split("embedding")
    ((3, 'attention'), (0, ''), (None, 'embedding'))
    """
    found = re.fullmatch(r"block(\d+)(?:\.(.+))?", layer)
    return (int(found[1]), found[2] or "") if found else (None, layer)


def _layer_name(layer: str) -> str:
    block, part = _split(layer)
    name = HALVES[part][0] if part in HALVES else words(part)
    return name if block is None else f"block {block} {name}".strip()


def _depths(layers: Layers) -> list[int]:
    """The blocks that have a line, in order."""
    return sorted({block for layer in layers if (block := _split(layer)[0]) is not None})


def _look(layer: str, layers: Layers) -> Look:
    block, part = _split(layer)
    if block is None:
        edges = [other for other in layers if _split(other)[0] is None]
        return Look("edge", EDGE_DASHES[edges.index(layer) % len(EDGE_DASHES)])
    depths = _depths(layers)
    dash = HALVES[part][1] if part in HALVES else ""
    return Look("depth", dash, depths.index(block) / max(1, len(depths) - 1))


def _legend(layers: Layers, depths: Sequence[int]) -> Iterator[tuple[str, Look]]:
    """The first, the middle and the last block, the halves of blocks, and what is in no block."""
    places = sorted({0, len(depths) // 2, len(depths) - 1}) if depths else []
    for i in places:
        yield f"block {depths[i]}", Look("depth", "", i / max(1, len(depths) - 1))
    halves = dict.fromkeys(part for layer in layers if (part := _split(layer)[1]) in HALVES)
    if len(halves) > 1:
        for half in halves:
            yield HALVES[half][0], Look("ink", HALVES[half][1])
    for layer in layers:
        if _split(layer)[0] is None:
            yield _layer_name(layer), _look(layer, layers)


# --- speed ----------------------------------------------------------------------------------------


def _speed(stage: str, figures: Figures) -> Iterator[dict[str, Any]]:
    """Small charts to stand in a row: how fast, how near to the machine's best, what waits."""
    lines: Sequence[tuple[str, Sequence[Point], Vertical, Callable[[float], str]]] = (
        (curve_name("tokens_per_s"), points_of(figures, "tokens_per_s"), "count", format_number),
        (curve_name("of_peak"), points_of(figures, "of_peak"), "share", "{:.1%}".format),
        ("Waiting for data", waiting(figures), "share", "{:.1%}".format),
        (curve_name("memory_bytes"), points_of(figures, "memory_bytes"), "bytes", format_bytes),
    )
    for name, points, kind, form in lines:
        if len(points) < 2 or not any(y for _, y in points):
            continue
        last = form(points[-1][1])
        chart = line_chart(
            [Series(name, _smoothed(points))],
            title=f"{name}, {stage_name(stage).lower()}",
            description=f"{last} at the end",
            height=56,
            kind=kind,
        )
        yield {"name": name, "last": last, "svg": Markup(chart)}


def waiting(figures: Figures) -> list[Point]:
    """The share of each logging interval's training time that was spent waiting for data."""
    records = [r for r in figures.get("data_wait_s", []) if "seconds" in r]
    shares, before = [], 0.0
    for record in records:
        spent, before = record["seconds"] - before, record["seconds"]
        if spent > 0:
            share = min(1.0, record["data_wait_s"] / spent)
            shares.append((record.get("tokens", record["step"]), share))
    return shares


# --- in words -------------------------------------------------------------------------------------


def _skipped(figures: Figures) -> Iterator[str]:
    """How many updates were left out; a run that logs none had none."""
    if "gradient_norm" not in figures:
        return
    skipped, spikes = (int(figures[key][-1][key]) if key in figures else 0 for key in COUNTS)
    match skipped:
        case 0:
            yield "No step was skipped."
        case 1:
            yield "One step was skipped: its update was left out."
        case _:
            yield f"{skipped:,} steps were skipped: their updates were left out."
    if spikes:
        yield "One loss was a spike." if spikes == 1 else f"{spikes:,} losses were spikes."


def _zeros(still: Sequence[str], families: Mapping[str, Layers]) -> Iterator[str]:
    """What has no chart because it was zero all the time."""
    for key in still:
        if key not in COUNTS:
            yield f"{curve_name(key)} stood at zero."
    for name, layers in families.items():
        if not _moves(layers):
            zeros = FAMILIES[name].zeros if name in FAMILIES else ""
            yield zeros or f"{curve_name(name)} stood at zero in every layer."
