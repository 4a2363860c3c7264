"""Training curves from a stage's metrics.jsonl, as charts of the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from markupsafe import Markup

from groundup.report.charts import Series, format_number, line_chart, smooth

STAGE_NAMES = {"pretrain": "Pretraining", "sft": "Chat tuning", "align": "Preferences"}
CURVE_NAMES = {
    "loss": "Training loss",
    "heldout_bits_per_byte": "Held-out bits per byte",
    "preference_accuracy": "Preference accuracy",
    "reward_margin": "Reward margin",
    "lr": "Learning rate",
    "gradient_norm": "Gradient norm",
    "tokens_per_s": "Tokens per second",
}
NO_CURVE = {"step", "tokens", "seconds"}  # the axes
FEW_POINTS = 60  # drawn one by one
NOISY_POINTS = 200  # from here on a curve is drawn raw and smoothed


def read_metrics(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Each numeric key's points (tokens or step, value), in order of steps.

    A resumed run writes some steps again: the last line wins. A line cut short is left out.
    """
    by_step: dict[str, dict[float, tuple[float, float]]] = {}
    if not path.exists():
        return {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(record, dict) or not is_number(record.get("step")):
            continue
        x = record["tokens"] if is_number(record.get("tokens")) else record["step"]
        for key, value in record.items():
            if key not in NO_CURVE and is_number(value):
                by_step.setdefault(key, {})[record["step"]] = (x, value)
    return {key: [points[step] for step in sorted(points)] for key, points in by_step.items()}


def stage_curves(run: Path, stage: str) -> dict[str, Any] | None:
    metrics = {k: p for k, p in read_metrics(run / stage / "metrics.jsonl").items() if len(p) > 1}
    if not metrics:
        return None
    keys = sorted(metrics, key=lambda k: (_place(k), k))
    charts = [_curve(stage, key, metrics[key], large=key == "loss") for key in keys]
    return {"stage": stage_name(stage), "charts": charts}


def _place(key: str) -> int:
    return list(CURVE_NAMES).index(key) if key in CURVE_NAMES else len(CURVE_NAMES) - 3


def _curve(
    stage: str, key: str, points: list[tuple[float, float]], *, large: bool
) -> dict[str, Any]:
    name = CURVE_NAMES.get(key, words(key).capitalize())
    series: list[Series]
    if len(points) <= FEW_POINTS:
        series = [Series(name, points, "dots")]
    elif len(points) < NOISY_POINTS or key == "lr":
        series = [Series(name, points)]
    else:
        window = len(points) // 50
        series = [
            Series("each step", points, "faint"),
            Series(f"mean of {window} steps", smooth(points, window)),
        ]
    first, last = series[-1].points[0][1], series[-1].points[-1][1]
    chart = line_chart(
        series,
        title=f"{name}, {stage_name(stage).lower()}",
        description=f"From {format_number(first)} at the start to {format_number(last)} at the end",
        height=220 if large else 110,
    )
    legend = [{"name": s.name, "style": s.style} for s in series] if len(series) > 1 else []
    return {
        "name": name,
        "last": format_number(last),
        "svg": Markup(chart),
        "large": large,
        "legend": legend if large else [],
    }


def stage_name(stage: str) -> str:
    return STAGE_NAMES.get(stage, words(stage).capitalize())


def words(name: str) -> str:
    return str(name).replace("_", " ")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
