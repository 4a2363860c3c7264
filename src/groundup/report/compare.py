"""Runs side by side: what differs in their recipes, how they learned, how good they became.

`groundup compare` calls `compare_runs`, which reads the run folders into plain values;
compare_page.py sets them as a page and as lines for the terminal. A run that is not finished is
compared by what it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from groundup.report.metrics import AXES, STAGE_NAMES, Figures, read_figures, stage_name
from groundup.report.overlay import Curve, overlay_curves
from groundup.runtime import GroundupError, read_json

Verdict = Literal["apart", "in part", "overlap", "unknown", "alone"]
NO_VALUE = "–"  # of a key that a recipe does not have, or of a figure that a run does not


@dataclass(frozen=True)
class RunFacts:
    """One run: its name among the others, where it stands, and what it counted.

    state: `finished`, or how far it came.
    """

    name: str
    path: str
    recipe: str
    state: str
    is_finished: bool
    parameters: int | None
    tokens: int | None
    train_seconds: float | None


@dataclass(frozen=True)
class Difference:
    """A key of the recipe that is not the same in every run, with each run's value as text."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """A score with the bounds of its 95% interval, None where there are none."""

    value: float
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class Score:
    """One thing measured after one stage in each run; None for a run that did not measure it.

    name: `bits_per_byte`, where less is better, or a skill, where more is. split: of a skill.
    overlap: `apart` when the best run's interval shares no point with any other's, `overlap` when
        it shares points with all of them, `in part` between these, `unknown` without bounds,
        `alone` when fewer than two runs measured it. best: the run that is `apart`.
    """

    stage: str
    name: str
    split: str
    chance: float | None
    runs: tuple[Scored | None, ...]
    overlap: Verdict
    best: str | None


@dataclass(frozen=True)
class Comparison:
    """All that is said of the runs; every tuple named `runs` or `values` is in this order."""

    runs: tuple[RunFacts, ...]
    differences: tuple[Difference, ...]
    scores: tuple[Score, ...]
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]


def compare_runs(runs: Sequence[Path]) -> Comparison:
    """Read two or more run folders and set them side by side.

    Raises GroundupError for fewer than two, for one given twice, and for a folder that is no run.
    """
    folders = _check(runs)
    read = [_read(f, name) for f, name in zip(folders, distinct_names(folders), strict=True)]
    return Comparison(
        runs=tuple(run.facts for run in read),
        differences=tuple(_differences([run.recipe for run in read])),
        scores=tuple(_scores(read)),
        curves=tuple(_curves(read)),
        notes=tuple(_notes(read)),
    )


def _check(runs: Sequence[Path]) -> list[Path]:
    if len(runs) < 2:
        raise GroundupError(f"{len(runs)} run cannot be compared; give two or more run folders")
    folders = [run.resolve() for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise GroundupError(f"{run} is given twice; give each run once")
        if not (folder / "recipe.yaml").is_file():
            raise GroundupError(
                f"{run} is no run of groundup: it has no recipe.yaml; "
                "give folders that groundup build made"
            )
    return folders


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parts before it as tell it from the others.

    >>> distinct_names([Path("/a/x/base"), Path("/a/y/base"), Path("/a/wide")])
    ['x/base', 'y/base', 'wide']
    """
    names = []
    for folder in folders:
        others = [other.parts for other in folders if other != folder]
        parts = folder.parts
        n = next(n for n in range(1, len(parts) + 1) if parts[-n:] not in [o[-n:] for o in others])
        names.append(Path(*parts[-n:]).as_posix())
    return names


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """What a run folder holds; made_of: the fingerprints of its data and its tokenizer."""

    facts: RunFacts
    recipe: Mapping[str, Any]
    report: Mapping[str, Any]
    metrics: Mapping[str, Figures]
    made_of: Mapping[str, str]


def _read(folder: Path, name: str) -> _Run:
    recipe = _read_recipe(folder / "recipe.yaml")
    report = _read_json(folder / "report.json")
    # A build that goes on under a changed recipe leaves the old report until it has a new one.
    if report and yaml.safe_load(report.get("recipe_yaml") or "") not in (None, recipe):
        report = {}
    stages = _stages(folder, recipe)
    metrics = {stage: read_figures(folder / stage / "metrics.jsonl") for stage in stages}
    counts = report.get("stages") or {
        stage: _read_json(folder / stage / "manifest.json").get("counts") or {} for stage in stages
    }
    newest = {s: _newest(figures) for s, figures in metrics.items() if figures}
    facts = RunFacts(
        name=name,
        path=str(folder),
        recipe=str(recipe.get("name") or "unnamed"),
        state="finished" if report else _state(newest),
        is_finished=bool(report),
        parameters=next((p for c in counts.values() if (p := c.get("parameters"))), None),
        tokens=_total("tokens", counts, newest),
        train_seconds=_total("train_seconds", counts, newest),
    )
    manifests = {part: _read_json(folder / part / "manifest.json") for part in _MADE_OF}
    made_of = {part: m["fingerprint"] for part, m in manifests.items() if "fingerprint" in m}
    return _Run(facts, recipe, report, metrics, made_of)


_MADE_OF = ("data", "tokenizer")


def _read_recipe(path: Path) -> Mapping[str, Any]:
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GroundupError(f"{path} cannot be read as YAML; build the run again") from error
    if not isinstance(recipe, Mapping):
        raise GroundupError(f"{path} is no recipe: it must be a mapping; build the run again")
    return recipe


def _read_json(path: Path) -> Mapping[str, Any]:
    """A file's mapping, empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise GroundupError(f"{path} cannot be read as JSON; build the run again") from error
    return value if isinstance(value, Mapping) else {}


def _stages(folder: Path, recipe: Mapping[str, Any]) -> list[str]:
    """The run's stages with metrics, in order, without what an earlier recipe left behind."""
    found = {path.parent.name for path in folder.glob("*/metrics.jsonl")}
    ordered = [s for s in STAGE_NAMES if s in found] + sorted(found - set(STAGE_NAMES))
    kept: list[str] = []
    for stage in ordered:
        is_off = stage in recipe and recipe[stage] is None
        if is_off or not _is_current(folder, stage):
            continue
        kept.append(stage)
        if _is_at_work(folder, stage):  # what comes after it is from before
            break
    return kept


def _is_current(folder: Path, stage: str) -> bool:
    """Whether all that a finished stage was made from is still what it was."""
    inputs = _read_json(folder / stage / "manifest.json").get("inputs") or {}
    return all(
        _read_json(folder / name / "manifest.json").get("fingerprint") == fingerprint
        for name, fingerprint in inputs.items()
    )


def _is_at_work(folder: Path, stage: str) -> bool:
    begun, done = folder / stage / "working.json", folder / stage / "manifest.json"
    return begun.is_file() and not done.is_file()


def _newest(figures: Figures) -> Mapping[str, float]:
    """The largest value of each axis."""
    ends = [records[-1] for records in figures.values()]
    return {axis: max(e[axis] for e in ends if axis in e) for axis in AXES if _any_has(ends, axis)}


def _any_has(records: Sequence[Mapping[str, float]], key: str) -> bool:
    return any(key in record for record in records)


def _state(newest: Mapping[str, Mapping[str, float]]) -> str:
    if not newest:
        return "unfinished, nothing trained yet"
    stage = list(newest)[-1]
    return f"unfinished, {stage_name(stage).lower()} at step {newest[stage]['step']:,.0f}"


def _total(key: str, counts: Mapping[str, Any], newest: Mapping[str, Any]) -> Any:
    """A count over all stages; from the metrics for a stage that is not finished."""
    logged = "seconds" if key == "train_seconds" else key
    stages = dict.fromkeys([*counts, *newest])
    found = [(counts.get(s) or {}).get(key, (newest.get(s) or {}).get(logged)) for s in stages]
    numbers = [n for n in found if n is not None]
    return sum(numbers) if numbers else None


# --- recipes --------------------------------------------------------------------------------------

_MISSING = object()


def _differences(recipes: Sequence[Any], key: str = "") -> Iterator[Difference]:
    """Keys whose values differ, in the order of the first recipe that has them."""
    if all(isinstance(recipe, Mapping) for recipe in recipes):
        for name in dict.fromkeys(name for recipe in recipes for name in recipe):
            inner = f"{key}.{name}" if key else str(name)
            yield from _differences([recipe.get(name, _MISSING) for recipe in recipes], inner)
    elif any(value != recipes[0] for value in recipes):
        yield Difference(key, tuple(map(_value_text, recipes)))


def _value_text(value: Any) -> str:
    if value is _MISSING:
        return NO_VALUE
    if value is None:
        return "off"
    if isinstance(value, Mapping):
        return "on"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _notes(runs: Sequence[_Run]) -> Iterator[str]:
    """What makes figures of these runs hard to compare."""
    if _differ(runs, "data"):
        yield (
            "The runs were made from different data. Where their held-out text or their checks "
            "differ, their scores are not of the same thing."
        )
    if _differ(runs, "tokenizer"):
        yield (
            "The runs have different tokenizers: a token is not the same amount of text in each, "
            "so compare bits per byte, and not the loss."
        )


def _differ(runs: Sequence[_Run], part: str) -> bool:
    return len({run.made_of[part] for run in runs if part in run.made_of}) > 1


# --- scores ---------------------------------------------------------------------------------------


def _scores(runs: Sequence[_Run]) -> Iterator[Score]:
    """Bits per byte of every stage, then every check, stage by stage."""
    names = [run.facts.name for run in runs]
    stages = [run.report.get("stages") or {} for run in runs]
    for stage in in_order([s for found in stages for s in found]):
        found = [(one.get(stage) or {}).get("bits_per_byte") for one in stages]
        scored = [_scored(f, f.get("value")) if f else None for f in found]
        if any(scored):
            yield _score(stage, "bits_per_byte", "", scored, names, None)
    tables = [
        {(c["stage"], c["name"], c["split"]): c for c in run.report.get("checks") or []}
        for run in runs
    ]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    order = in_order([stage for stage, _, _ in keys])
    for key in sorted(keys, key=lambda key: (order.index(key[0]), key[2] != "unseen")):
        rows = [table.get(key) for table in tables]
        scored = [_scored(row, row["score"]) if row else None for row in rows]
        chances = {row.get("chance") for row in rows if row}
        yield _score(*key, scored, names, chances.pop() if len(chances) == 1 else None)


def in_order(stages: Sequence[str]) -> list[str]:
    found = set(stages)
    return [s for s in STAGE_NAMES if s in found] + sorted(found - set(STAGE_NAMES))


def _scored(found: Mapping[str, Any], value: float | None) -> Scored | None:
    lo, hi = found.get("ci95") or (None, None)
    return None if value is None else Scored(value, lo, hi)


def _score(
    stage: str,
    name: str,
    split: str,
    scored: Sequence[Scored | None],
    names: Sequence[str],
    chance: float | None,
) -> Score:
    verdict, best = judge(scored, less_is_better=name == "bits_per_byte")
    best_name = names[best] if best is not None else None
    return Score(stage, name, split, chance, tuple(scored), verdict, best_name)


def judge(scored: Sequence[Scored | None], *, less_is_better: bool) -> tuple[Verdict, int | None]:
    """How the best score's interval lies to the others', and which run is best if it is apart.

    >>> low, middle, high = Scored(1, 0.5, 1.5), Scored(2, 1.4, 2.6), Scored(3, 2.5, 3.5)
    >>> judge([low, high], less_is_better=True), judge([low, middle], less_is_better=True)
    (('apart', 0), ('overlap', None))
    >>> judge([low, middle, high], less_is_better=False)
    ('in part', None)
    """
    there = [(place, s) for place, s in enumerate(scored) if s is not None]
    if len(there) < 2:
        return "alone", None
    bounds = [(s.lo, s.hi) for _, s in there if s.lo is not None and s.hi is not None]
    if len(bounds) < len(there):
        return "unknown", None
    sign = 1 if less_is_better else -1
    best = min(range(len(there)), key=lambda i: sign * there[i][1].value)
    lo, hi = bounds[best]
    touching = [lo <= b and a <= hi for i, (a, b) in enumerate(bounds) if i != best]
    if not any(touching):
        return "apart", there[best][0]
    return ("overlap" if all(touching) else "in part"), None


def _curves(runs: Sequence[_Run]) -> Iterator[Curve]:
    for stage in in_order([stage for run in runs for stage in run.metrics]):
        yield from overlay_curves(stage, [run.metrics.get(stage, {}) for run in runs])
