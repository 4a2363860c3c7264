"""What a build cost: time, speed and memory, stage by stage, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from groundup.report.charts import Part, stacked_bar
from groundup.report.format import (
    format_bytes,
    format_duration,
    format_number,
    format_percent,
    format_share,
)
from groundup.report.metrics import Figures, read_figures, stage_name

Stages = Mapping[str, Mapping[str, Any]]
NO_VALUE = "–"  # in a cell of the table
PARTS = ("weights", "gradients", "optimizer", "activations", "loss")  # of a predicted peak


# --- time and speed -------------------------------------------------------------------------------


def times(run: Path, seconds: Mapping[str, float], stages: Stages) -> list[dict[str, Any]]:
    """A row for each stage: how long it took, and of a trained one how fast it went."""
    most = max(seconds.values(), default=0) or 1
    rows = []
    for stage in dict.fromkeys([*seconds, *stages]):
        figures = stages.get(stage) or {}
        spent = seconds.get(stage)
        share = share_of_peak(read_figures(run / stage / "metrics.jsonl"))
        rows.append(
            {
                "stage": stage_name(stage),
                "time": format_duration(spent) if spent is not None else NO_VALUE,
                "share": round(100 * (spent or 0) / most, 1),
                "tokens": _dash_or(figures.get("tokens")),
                "tokens_per_s": _dash_or(figures.get("tokens_per_s")),
                "of_peak": NO_VALUE if share is None else format_share(round(share, 3)),
                "steps": f"{figures['steps']:,}" if figures.get("steps") else NO_VALUE,
                "parameters": _dash_or(figures.get("parameters")),
                "final_loss": _dash_or(figures.get("final_loss")),
            }
        )
    return rows


def share_of_peak(figures: Figures) -> float | None:
    """The mean of `of_peak` over the training time, None where it was not measured.

    >>> records = [{"of_peak": 0.1, "seconds": 1.0}, {"of_peak": 0.4, "seconds": 3.0}]
    >>> round(share_of_peak({"of_peak": records}), 9)
    0.3
    """
    reached = spent = 0.0
    for record in figures.get("of_peak", []):
        if "seconds" in record:
            interval = record["seconds"] - spent
            reached, spent = reached + record["of_peak"] * interval, record["seconds"]
    return reached / spent if spent else None


def _dash_or(value: float | None) -> str:
    return NO_VALUE if value is None else format_number(value)


# --- memory ---------------------------------------------------------------------------------------


def memory(stages: Stages, order: Sequence[str]) -> list[dict[str, Any]]:
    """For each stage that says so: its predicted parts as a bar, and what was measured."""
    found = {s: m for s in order if (m := stages[s].get("memory")) and m.get("predicted")}
    ends = [m["predicted"]["total"] for m in found.values()]
    most = max([*ends, *filter(None, map(_comparable_peak, found.values()))], default=0) or 1
    return [_memory_of(stage, stages[stage], most) for stage in found]


def _memory_of(stage: str, figures: Mapping[str, Any], most: float) -> dict[str, Any]:
    section = figures["memory"]
    predicted, measured = section["predicted"], section.get("measured") or {}
    parts = [
        Part(f"{name}: {format_bytes(predicted[name])}", predicted[name], name) for name in PARTS
    ]
    peak = measured.get("peak_bytes")
    total = format_bytes(predicted["total"])
    described = "; ".join(part.name for part in parts)
    bar = stacked_bar(
        parts,
        most=most,
        title=f"Memory of {stage_name(stage).lower()}: predicted {total}",
        description=f"{described}; measured {format_bytes(peak) or 'nothing'}",
        mark=_comparable_peak(section),
    )
    share = section.get("measured_by_predicted")
    return {
        "stage": stage_name(stage),
        "predicted": total,
        "measured": format_bytes(peak) or "nothing",
        "of_predicted": format_percent(share) if share else "",
        "svg": Markup(bar),
        "parts": [(name, format_bytes(predicted[name])) for name in PARTS],
        "words": " ".join([*_measured_words(section), *_how(figures)]),
    }


def _comparable_peak(section: Mapping[str, Any]) -> float | None:
    """The measured peak where it is of the same things as the prediction."""
    measured = section.get("measured") or {}
    return measured.get("peak_bytes") if measured.get("measure") == "allocated" else None


def _measured_words(section: Mapping[str, Any]) -> Iterator[str]:
    measured = section.get("measured") or {}
    if reserved := measured.get("reserved_bytes"):
        yield f"The allocator held {format_bytes(reserved)} of the device."
    if measured.get("measure") == "resident" and measured.get("peak_bytes"):
        grew = measured.get("grew_bytes")
        yield (
            f"Its peak rose by {format_bytes(grew)} in this stage."
            if grew
            else "It had been as large before this stage."
        )


def _how(figures: Mapping[str, Any]) -> Iterator[str]:
    """What the prediction is of."""
    if rows := figures.get("micro_rows"):
        yield f"Micro-batches of {rows:,} {'row' if rows == 1 else 'rows'}."
    if figures.get("compiled"):
        yield "The blocks were compiled, and so keep less than predicted."


def what_was_measured(stages: Stages) -> list[str]:
    """What the measured peaks are of, said once for all stages."""
    kinds = {
        ((figures.get("memory") or {}).get("measured") or {}).get("measure")
        for figures in stages.values()
    }
    return [sentence for kind, sentence in _MEASURES.items() if kind in kinds]


_MEASURES = {
    "allocated": (
        "Measured is the most that was allocated on the device during the stage; "
        "the mark in the bar stands there."
    ),
    "resident": (
        "Measured is the largest size of the whole process since it began, with Python and its "
        "libraries, so it cannot be set against the prediction."
    ),
}
