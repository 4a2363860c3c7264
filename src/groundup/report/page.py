"""The report: one HTML page that says what a build made and how good it is.

The pipeline calls `write_report` with what the stages counted and scored. Everything on the page is
computed here from those numbers; `page.html` only sets it. What a run does not have (a stage that
was not asked for, checks that were not made) is left out, with a sentence where it would stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from groundup.report.charts import Bar, bar_chart, interval_strip, percent_axis
from groundup.report.cost import NO_VALUE, memory, times, what_was_measured
from groundup.report.curves import stage_curves
from groundup.report.format import format_bytes, format_duration, format_number, format_percent
from groundup.report.metrics import (
    STAGE_NAMES,
    curve_name,
    points_of,
    read_figures,
    stage_name,
    words,
)
from groundup.runtime import write_text

Report = Mapping[str, Any]


def write_report(run: Path, report: Report) -> Path:
    """Write RUN/report.html from the report's numbers and the stages' metrics in RUN."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source = resources.files("groundup.report").joinpath("page.html").read_text(encoding="utf-8")
    path = run / "report.html"
    write_text(path, environment.from_string(source).render(_view(run, report)))
    return path


def _view(run: Path, report: Report) -> dict[str, Any]:
    stages = _trained_stages(report)
    rows = times(run, report.get("seconds") or {}, report.get("stages") or {})
    return {
        "recipe": report.get("recipe") or "unnamed recipe",
        "version": report.get("package_version"),
        "seed": report.get("seed"),
        "verdict": verdict(report),
        "tiles": _tiles(report, stages),
        "bits": _bits_chart(report, stages),
        "has_baselines": bool(_baselines(report)),
        "has_intervals": any(_bounds(_bits(report, stage))[0] is not None for stage in stages),
        "skills": _skills(report),
        "axis": Markup(percent_axis()),
        "moved": _moved(run, report),
        "curves": [c for stage in STAGE_NAMES if (c := stage_curves(run, stage))],
        "samples": _samples(report),
        "data": _data(report),
        "times": rows,
        "has_peak": any(row["of_peak"] != NO_VALUE for row in rows),
        "measured": what_was_measured(report.get("stages") or {}),
        "memory": memory(report.get("stages") or {}, stages),
        "peak_memory": format_bytes(report.get("peak_memory_bytes")),
        "machine": [(words(k), v) for k, v in (report.get("machine") or {}).items() if v],
        "recipe_yaml": report.get("recipe_yaml"),
    }


# --- the headline ---------------------------------------------------------------------------------


def verdict(report: Report) -> list[str]:
    """What the numbers say, in one to three sentences.

    >>> verdict({"data": {"bytes": 2_400_000, "synthetic": True}, "seconds": {"pretrain": 540},
    ...     "stages": {"pretrain": {"bits_per_byte": {"value": 0.61, "ci95": [0.59, 0.63]}}},
    ...     "baselines": {"ngram_bits_per_byte": 0.9, "xz_bits_per_byte": 1.3}})
    ... # doctest: +NORMALIZE_WHITESPACE
    ['Learned from 2.4 MB of synthetic text in 9 min: 0.61 bits per byte on held-out text; the
    n-gram baseline reaches 0.90, xz 1.30.', 'Its whole interval lies below every baseline.']
    """
    data = report.get("data") or {}
    kind = "synthetic text" if data.get("synthetic") else "text"
    size = format_bytes(data.get("bytes"))
    opening = f"Learned from {size} of {kind}" if size else f"Learned from {kind}"
    if total := sum((report.get("seconds") or {}).values()):
        opening += f" in {format_duration(total)}"
    stage = next((s for s in _trained_stages(report) if _bits(report, s)), None)
    baselines = _baselines(report)
    if stage is None:
        sentences = [f"{opening}. No held-out text was scored."]
    else:
        value = _bits(report, stage)["value"]
        first = f"{opening}: {value:.2f} bits per byte on held-out text"
        reached = ", ".join(f"{name} {v:.2f}" for name, v in baselines.items())
        reached = reached.replace("n-gram ", "the n-gram baseline reaches ", 1)
        if reached.startswith("xz"):
            reached = reached.replace("xz ", "xz reaches ", 1)
        sentences = [f"{first}; {reached}." if reached else f"{first}."]
        if baselines:
            sentences.append(_against_baselines(_bits(report, stage), baselines))
    return sentences + _checks_sentence(report)


def _against_baselines(bits: Mapping[str, Any], baselines: Mapping[str, float]) -> str:
    name = min(baselines, key=baselines.__getitem__)
    best = baselines[name]
    lo, hi = _bounds(bits)
    if bits["value"] >= best:
        return f"That is no better than {name}: it learned no more than counting finds."
    if hi is None:
        return "That is below every baseline; how surely, one document cannot say."
    if hi < best:
        return "Its whole interval lies below every baseline."
    return f"That is below {name}, but its interval ({lo:.2f} to {hi:.2f}) reaches over it."


def _checks_sentence(report: Report) -> list[str]:
    stage, unseen = _final_unseen(report)
    if not unseen:
        return []
    clear = sum(map(_is_above_chance, unseen))
    return [
        f"After {stage_name(stage).lower()}, {clear} of {_plural(len(unseen), 'skill')}"
        f" {'stands' if clear == 1 else 'stand'} clear of chance on combinations it never saw."
    ]


def _final_unseen(report: Report) -> tuple[str, list[Mapping[str, Any]]]:
    """The last stage that was checked, and its checks on what it never saw."""
    checks = report.get("checks") or []
    stages = _in_order({check["stage"] for check in checks})
    if not stages:
        return "", []
    last = stages[-1]
    return last, [c for c in checks if c["stage"] == last and c["split"] == "unseen"]


def _is_above_chance(check: Mapping[str, Any]) -> bool:
    lo, _ = _bounds(check)
    return lo is not None and check.get("chance") is not None and lo > check["chance"]


def _tiles(report: Report, stages: Sequence[str]) -> list[dict[str, str]]:
    """The figures to see first: (value, what it is, a remark)."""
    details = report.get("stages") or {}
    data = report.get("data") or {}
    tiles = []
    first = next((s for s in stages if _bits(report, s)), None)
    if first is not None:
        bits = _bits(report, first)
        tiles.append((f"{bits['value']:.2f}", "bits per byte, held out", _interval_text(bits)))
    _, unseen = _final_unseen(report)
    if unseen:
        clear = sum(map(_is_above_chance, unseen))
        tiles.append((f"{clear} of {len(unseen)}", "unseen skills above chance", ""))
    parameters = next((p for s in stages if (p := details[s].get("parameters"))), None)
    if parameters:
        tiles.append((format_number(parameters), "parameters", ""))
    if tokens := sum(details[s].get("tokens") or 0 for s in stages):
        tiles.append((format_number(tokens), "tokens trained on", ""))
    if size := format_bytes(data.get("bytes")):
        remark = "synthetic" if data.get("synthetic") else ""
        tiles.append((size, "of text", remark))
    if total := sum((report.get("seconds") or {}).values()):
        tiles.append((format_duration(total), "from start to end", ""))
    return [{"value": v, "name": name, "remark": remark} for v, name, remark in tiles]


# --- bits per byte --------------------------------------------------------------------------------


def _bits_chart(report: Report, stages: Sequence[str]) -> Markup | None:
    bars = []
    for stage in stages:
        if bits := _bits(report, stage):
            lo, hi = _bounds(bits)
            note = "" if lo is None or hi is None else f"{lo:.3f} to {hi:.3f}"
            name = f"after {stage_name(stage).lower()}"
            bars.append(Bar(name, bits["value"], f"{bits['value']:.3f}", note, lo, hi))
    if not bars:
        return None
    for name, value in _baselines(report).items():
        bars.append(Bar(f"{name} baseline", value, f"{value:.3f}", ours=False))
    described = "; ".join(f"{bar.name}: {bar.label} {bar.note}".strip() for bar in bars)
    title = "Bits per byte on held-out text, the model against its baselines"
    return Markup(bar_chart(bars, title=title, description=described, unit="bits per byte"))


def _baselines(report: Report) -> dict[str, float]:
    given = report.get("baselines") or {}
    named = {"n-gram": given.get("ngram_bits_per_byte"), "xz": given.get("xz_bits_per_byte")}
    return {name: value for name, value in named.items() if value is not None}


# --- checks ---------------------------------------------------------------------------------------


def _skills(report: Report) -> list[dict[str, Any]]:
    """Each skill with its rows: what it never saw first, and within that the stages in order."""
    order = _in_order({check["stage"] for check in report.get("checks") or []})
    skills: dict[str, list[Mapping[str, Any]]] = {}
    for check in report.get("checks") or []:
        skills.setdefault(check["name"], []).append(check)
    return [
        {
            "name": words(name),
            "rows": [
                _check_row(check)
                for check in sorted(
                    checks, key=lambda c: (c["split"] != "unseen", order.index(c["stage"]))
                )
            ],
        }
        for name, checks in skills.items()
    ]


def _check_row(check: Mapping[str, Any]) -> dict[str, Any]:
    score, chance, n = check["score"], check.get("chance"), check.get("n")
    lo, hi = _bounds(check)
    interval = (
        f"{format_percent(lo)} to {format_percent(hi)}"
        if lo is not None and hi is not None
        else "–"
    )
    title = (
        f"{words(check['name'])}, {check['split']}, after {stage_name(check['stage']).lower()}: "
        f"{format_percent(score)}, interval {interval}, chance {format_percent(chance)}, "
        f"{n} questions"
    )
    hollow = check["split"] == "seen"
    return {
        "stage": stage_name(check["stage"]),
        "split": check["split"],
        "strip": Markup(interval_strip(score, lo, hi, chance, title=title, hollow=hollow)),
        "score": format_percent(score),
        "interval": interval,
        "chance": format_percent(chance),
        "n": f"{n:,}" if n is not None else "–",
    }


def _moved(run: Path, report: Report) -> dict[str, Any] | None:
    """What preference training changed: each score before and after, and its own measures."""
    checks = report.get("checks") or []
    stages = _trained_stages(report)
    if "align" not in stages:
        return None
    before_stage = next((s for s in ("sft", "pretrain") if s in stages), None)
    before = {(c["name"], c["split"]): c for c in checks if c["stage"] == before_stage}
    rows = [
        _moved_row(before[check["name"], check["split"]], check)
        for check in checks
        if check["stage"] == "align" and (check["name"], check["split"]) in before
    ]
    rows.sort(key=lambda row: (row["split"] != "unseen", -abs(row["points"])))
    measures = []
    figures = read_figures(run / "align" / "metrics.jsonl")
    for key in ("preference_accuracy", "reward_margin"):
        if points := points_of(figures, key):
            first, last = points[0][1], points[-1][1]
            measures.append(f"{curve_name(key).lower()} from {first:.3g} to {last:.3g}")
    rose = sum(row["is_clear"] and row["points"] > 0 for row in rows)
    fell = sum(row["is_clear"] and row["points"] < 0 for row in rows)
    summary = f"Of {_plural(len(rows), 'score')}, {rose} rose and {fell} fell clearly."
    return {"rows": rows, "summary": summary if rows else "", "measures": ", ".join(measures)}


def _moved_row(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    (lo, hi), (lo_after, hi_after) = _bounds(before), _bounds(after)
    is_clear = None not in (lo, hi, lo_after, hi_after) and not (lo <= hi_after and lo_after <= hi)
    points = round(100 * after["score"]) - round(100 * before["score"])
    return {
        "skill": words(after["name"]),
        "split": after["split"],
        "before": format_percent(before["score"]),
        "after": format_percent(after["score"]),
        "points": points,
        "change": "0" if points == 0 else f"{points:+d}".replace("-", "\u2212"),
        "is_clear": is_clear,
    }


# --- samples, data -------------------------------------------------------------------------------


def _samples(report: Report) -> list[dict[str, Any]]:
    given = report.get("samples") or {}
    return [
        {"stage": stage_name(stage), "is_chat": stage != "pretrain", "pairs": given[stage]}
        for stage in _in_order(given)
        if given[stage]
    ]


def _data(report: Report) -> dict[str, Any] | None:
    data = report.get("data")
    if not data:
        return None
    counts = [
        (f"{data[key]:,}", name)
        for key, name in (
            ("documents", "documents"),
            ("heldout_documents", "of them held out"),
            ("chats", "chats"),
            ("preferences", "preference pairs"),
        )
        if data.get(key)
    ]
    if size := format_bytes(data.get("bytes")):
        counts.insert(1 if data.get("documents") else 0, (size, "of text"))
    dropped = sorted((data.get("dropped") or {}).items(), key=lambda item: -item[1])
    most = max((n for _, n in dropped), default=0)
    return {
        "synthetic": bool(data.get("synthetic")),
        "counts": counts,
        "dropped": [(words(k), f"{n:,}", round(100 * n / most, 1)) for k, n in dropped if n],
        "sources": [_source_text(source) for source in data.get("sources") or []],
    }


def _source_text(source: Any) -> str:
    if not isinstance(source, Mapping):
        return str(source)
    return ", ".join(f"{words(key)}: {value}" for key, value in source.items() if value)


# --- reading and wording --------------------------------------------------------------------------


def _trained_stages(report: Report) -> list[str]:
    return _in_order(report.get("stages") or {})


def _in_order(stages: Iterable[str]) -> list[str]:
    known = list(STAGE_NAMES)
    return sorted(stages, key=lambda s: (known.index(s) if s in known else len(known), s))


def _bits(report: Report, stage: str) -> Mapping[str, Any]:
    """The stage's bits per byte, empty where none was measured."""
    bits = ((report.get("stages") or {}).get(stage) or {}).get("bits_per_byte")
    return bits if bits and bits.get("value") is not None else {}


def _bounds(scored: Mapping[str, Any]) -> tuple[Any, Any]:
    lo, hi = scored.get("ci95") or (None, None)
    return lo, hi


def _interval_text(scored: Mapping[str, Any]) -> str:
    lo, hi = _bounds(scored)
    return "" if lo is None or hi is None else f"{lo:.2f} to {hi:.2f}"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
