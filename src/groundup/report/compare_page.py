"""A comparison of runs as a page of its own, in the look of the report, and as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from groundup.report.charts import FORMS
from groundup.report.compare import (
    NO_VALUE,
    Comparison,
    RunFacts,
    Score,
    Scored,
    Verdict,
    in_order,
)
from groundup.report.format import format_duration, format_number, format_percent
from groundup.report.metrics import stage_name, words
from groundup.report.overlay import (
    Curve,
    Line,
    Row,
    describe_curve,
    interval_rows,
    overlay_chart,
    run_look,
    swatch,
)
from groundup.runtime import GroundupError, write_text


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the comparison as one page that needs nothing beside it.

    Raises GroundupError if `path` is a folder.
    """
    if path.is_dir():
        raise GroundupError(f"{path} is a folder; give a file, such as {path / 'compare.html'}")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(_read_page("compare.html"))
    write_text(path, template.render(_view(comparison), style=_report_style()))


def _read_page(name: str) -> str:
    return resources.files("groundup.report").joinpath(name).read_text(encoding="utf-8")


def _report_style() -> Markup:
    """The style of the report's page, so that the two always look alike."""
    return Markup(_read_page("page.html").split("<style>")[1].split("</style>")[0])


def _view(comparison: Comparison) -> dict[str, Any]:
    names = [run.name for run in comparison.runs]
    bits = [score for score in comparison.scores if score.name == "bits_per_byte"]
    stages = list(dict.fromkeys(curve.stage for curve in comparison.curves))
    checked = _checked_stages(comparison)
    return {
        "title": " and ".join(names) if len(names) == 2 else f"{len(names)} runs",
        "verdict": verdict(comparison),
        "names": names,
        "runs": [
            {"swatch": Markup(swatch(run_look(i))), "path": run.path, "cells": _facts(run)}
            for i, run in enumerate(comparison.runs)
        ],
        "columns": FACTS,
        "notes": comparison.notes,
        "differences": comparison.differences,
        "bits": [_bits_view(score, names) for score in bits],
        "curves": [
            {
                "stage": stage_name(stage),
                "charts": [_chart(c, names) for c in comparison.curves if c.stage == stage],
            }
            for stage in stages
        ],
        "checks": [
            {
                "stage": stage_name(stage),
                "summary": _checks_sentence(comparison, stage),
                "rows": [_check_view(s) for s in _checks(comparison, stage)],
            }
            for stage in reversed(checked)
        ],
    }


def _bits_view(score: Score, names: Sequence[str]) -> dict[str, Any]:
    rows = [
        Row(name, _score_text(score, scored), run_look(i), scored.value, scored.lo, scored.hi)
        for i, (name, scored) in enumerate(zip(names, score.runs, strict=True))
        if scored is not None
    ]
    title = f"Bits per byte on held-out text after {stage_name(score.stage).lower()}"
    described = "; ".join(f"{row.name} {row.label}" for row in rows)
    return {
        "stage": stage_name(score.stage),
        "verdict": _verdict_text(score),
        "svg": Markup(interval_rows(rows, title=title, description=described)),
    }


def _check_view(score: Score) -> dict[str, Any]:
    return {
        "skill": words(score.name),
        "split": score.split,
        "chance": NO_VALUE if score.chance is None else format_percent(score.chance),
        "cells": [
            {
                "value": NO_VALUE if scored is None else format_percent(scored.value),
                "interval": _interval_text(scored, format_percent) if scored else "",
            }
            for scored in score.runs
        ],
        "verdict": _verdict_text(score),
        "is_apart": score.overlap == "apart",
    }


def _chart(curve: Curve, names: Sequence[str]) -> dict[str, Any]:
    name, axis, kind = describe_curve(curve)
    lines = [
        Line(run_name, points, run_look(i))
        for i, (run_name, points) in enumerate(zip(names, curve.runs, strict=True))
        if points
    ]
    legend = [
        {
            "swatch": Markup(swatch(line.look)),
            "name": line.name,
            "last": FORMS.get(kind, format_number)(line.points[-1][1]),
        }
        for line in lines
    ]
    described = "; ".join(f"{item['name']} ends at {item['last']}" for item in legend)
    title = f"{name}, {stage_name(curve.stage).lower()}, by {axis}"
    svg = overlay_chart(
        lines,
        title=title,
        description=described,
        height=220 if curve.is_main else 140,
        kind=kind,
    )
    return {
        "name": name,
        "axis": "" if curve.axis == "tokens" else f"by {axis}",
        "is_smoothed": curve.is_smoothed,
        "large": curve.is_main,
        "legend": legend,
        "svg": Markup(svg),
    }


# --- words ----------------------------------------------------------------------------------------

FACTS = ("run", "state", "recipe", "parameters", "tokens", "training time")


def verdict(comparison: Comparison) -> list[str]:
    """What the numbers say, in a few sentences."""
    names = [run.name for run in comparison.runs]
    sentences = []
    bits = [score for score in comparison.scores if score.name == "bits_per_byte"]
    if bits:
        reached = ", ".join(
            f"{name} {scored.value:.3f}"
            for name, scored in zip(names, bits[0].runs, strict=True)
            if scored is not None
        )
        after = stage_name(bits[0].stage).lower()
        sentences.append(f"Bits per byte on held-out text after {after}: {reached}.")
        sentences.append(_SENTENCES[bits[0].overlap].format(best=bits[0].best))
    else:
        sentences.append("No held-out text was scored in any of these runs.")
    if stages := _checked_stages(comparison):
        sentences.append(_checks_sentence(comparison, stages[-1]))
    sentences += [f"{run.name} is {run.state}." for run in comparison.runs if not run.is_finished]
    return list(filter(None, sentences))


_SENTENCES: Mapping[Verdict, str] = {
    "apart": "The interval of {best} lies below every other.",
    "in part": "The best interval lies below some of the others and overlaps with the rest.",
    "overlap": "The intervals overlap: this does not show which is better.",
    "unknown": "How surely they differ, the intervals cannot say.",
    "alone": "",
}


def _checked_stages(comparison: Comparison) -> list[str]:
    return in_order([s.stage for s in comparison.scores if s.name != "bits_per_byte"])


def _checks(comparison: Comparison, stage: str) -> list[Score]:
    return [s for s in comparison.scores if s.stage == stage and s.name != "bits_per_byte"]


def _checks_sentence(comparison: Comparison, stage: str) -> str:
    both = [score for score in _checks(comparison, stage) if score.overlap != "alone"]
    if not both:
        return ""
    best = [score.best for score in both if score.best]
    wins = ", ".join(f"{name} in {best.count(name)}" for name in dict.fromkeys(best))
    told = f"one run is clearly best in {len(best)} ({wins})" if best else "none tells them apart"
    return f"Of {len(both)} checks after {stage_name(stage).lower()}, {told}."


def _facts(run: RunFacts) -> list[str]:
    """A run's cells under FACTS."""
    counts = [format_number(n) if n is not None else NO_VALUE for n in (run.parameters, run.tokens)]
    seconds = run.train_seconds
    time = format_duration(seconds) if seconds is not None else NO_VALUE
    return [run.name, run.state, run.recipe, *counts, time]


def _score_text(score: Score, scored: Scored | None) -> str:
    """A score with its interval.

    >>> _score_text(Score("sft", "story", "seen", None, (), "alone", None), Scored(0.5, 0.4, 0.6))
    '50% (40% to 60%)'
    """
    if scored is None:
        return NO_VALUE
    form = _bits_text if score.name == "bits_per_byte" else format_percent
    interval = _interval_text(scored, form)
    return f"{form(scored.value)} ({interval})" if interval else form(scored.value)


def _interval_text(scored: Scored, form: Callable[[float], str]) -> str:
    if scored.lo is None or scored.hi is None:
        return ""
    return f"{form(scored.lo)} to {form(scored.hi)}"


def _bits_text(value: float) -> str:
    return f"{value:.3f}"


def _verdict_text(score: Score) -> str:
    match score.overlap:
        case "apart":
            return f"apart, {score.best} is best"
        case "unknown":
            return "no interval"
        case "alone":
            return NO_VALUE
        case _:
            return score.overlap


def comparison_lines(comparison: Comparison) -> list[str]:
    """The comparison for a terminal; of the checks after the last stage, those that are apart."""
    names = [run.name for run in comparison.runs]
    lines = _aligned([FACTS, *map(_facts, comparison.runs)])
    lines += [""]
    if comparison.differences:
        rows = [(d.key, *d.values) for d in comparison.differences]
        lines += _aligned([("what differs", *names), *rows])
    else:
        lines += ["the recipes are the same"]
    stages = _checked_stages(comparison)
    shown = [s for s in comparison.scores if s.name == "bits_per_byte"]
    if stages:
        shown += [s for s in _checks(comparison, stages[-1]) if s.overlap == "apart"]
    if shown:
        rows = [
            (_what(s), *(_score_text(s, scored) for scored in s.runs), _verdict_text(s))
            for s in shown
        ]
        lines += ["", *_aligned([("score (95% interval)", *names, "intervals"), *rows])]
    return [*lines, "", *verdict(comparison), *comparison.notes]


def _what(score: Score) -> str:
    after = stage_name(score.stage).lower()
    name = words(score.name) + (f", {score.split}" if score.split else "")
    return f"{name}, after {after}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a table with their columns under each other.

    >>> _aligned([("run", "tokens"), ("base", "1M")])
    ['run   tokens', 'base  1M']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
