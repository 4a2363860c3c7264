"""What a stage logged, read back from its metrics.jsonl, and what its figures are called."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Axis = Literal["tokens", "seconds", "step"]
AXES: tuple[Axis, ...] = ("tokens", "seconds", "step")
# Figure -> the records that hold it, in order of steps.
Figures = Mapping[str, list[Mapping[str, float]]]

STAGE_NAMES = {"pretrain": "Pretraining", "sft": "Chat tuning", "align": "Preferences"}
CURVE_NAMES = {
    "loss": "Training loss",
    "heldout_bits_per_byte": "Held-out bits per byte",
    "bits_per_byte": "Training bits per byte",
    "heldout_loss": "Held-out loss",
    "preference_accuracy": "Preference accuracy",
    "reward_margin": "Reward margin",
    "lr": "Learning rate",
    "gradient_norm": "Gradient norm",
    "skipped": "Steps skipped so far",
    "spikes": "Spikes so far",
    "tokens_per_s": "Tokens per second",
    "of_peak": "Share of peak",
    "memory_bytes": "Memory in use",
}
OTHERS_BEFORE = "lr"  # where figures that have no name here stand among those that have


def read_figures(path: Path) -> Figures:
    """Each figure's records in a metrics.jsonl, in order of steps; of a step the last wins.

    A line cut short is left out, and so are values that are no numbers. Empty without a file.
    """
    if not path.is_file():
        return {}
    by_step: dict[str, dict[float, Mapping[str, float]]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(record, dict) or not is_number(record.get("step")):
            continue
        numbers = {key: value for key, value in record.items() if is_number(value)}
        for key in numbers:
            if key not in AXES:
                by_step.setdefault(key, {})[record["step"]] = numbers
    return {key: [steps[s] for s in sorted(steps)] for key, steps in by_step.items()}


def points_of(figures: Figures, key: str) -> list[tuple[float, float]]:
    """A figure's points: (tokens, or steps where these are not known; value)."""
    return [(record.get("tokens", record["step"]), record[key]) for record in figures.get(key, [])]


def is_of_a_layer(key: str) -> bool:
    """Whether a figure is one of the many that a layer has, such as `dead_units/block0`."""
    return "/" in key


def place(key: str) -> tuple[int, str]:
    """Sorts figures as they stand on a page."""
    known = list(CURVE_NAMES)
    return known.index(key if key in CURVE_NAMES else OTHERS_BEFORE), key


def curve_name(key: str) -> str:
    """What a figure is called.

    >>> curve_name("lr"), curve_name("expert_load")
    ('Learning rate', 'Expert load')
    """
    return CURVE_NAMES.get(key, words(key).capitalize())


def stage_name(stage: str) -> str:
    """What a stage is called."""
    return STAGE_NAMES.get(stage, words(stage).capitalize())


def words(name: str) -> str:
    """A name of the code as words."""
    return str(name).replace("_", " ")


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
