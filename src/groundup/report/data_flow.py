"""The stream from files to tokens: what went into each stage, what was lost and what came out.

Its width is text in bytes, so that many small losses and one large one look like what they are.
Called by `data_page.py`.
"""

from __future__ import annotations

from typing import Any

from groundup.report.data_charts import stream
from groundup.report.data_facts import DataFacts
from groundup.report.data_figures import ends_of_kinds
from groundup.report.data_stages import (
    LATER,
    Stage,
    came_out,
    counted,
    dropped_of,
    lost,
    n_bytes_out,
)
from groundup.report.data_words import STAGES, plain, plural
from groundup.report.format import format_bytes

_SHOWN = 5  # reasons of a stage
_MINUS = "\u2212"
_FEW_BYTES = 1000


def flow(facts: DataFacts) -> list[dict[str, Any]]:
    """Each stage with its drawing and its figures."""
    stages = facts.manifest["stages"]
    in_bytes = n_bytes_out(stages[0]) > 0
    full = max(_amount(stages[0], in_bytes), stages[0]["bytes_in"] if in_bytes else 0, 1)
    left = max(stages[0]["bytes_in"] / full, 0) if in_bytes else 1.0
    rows = []
    for stage in stages:
        name = stage["name"]
        after = left if name in LATER else _amount(stage, in_bytes) / full
        before = max(left, after)
        dropped = dropped_of(stage)
        told = STAGES.get(name, name)
        rows.append(
            {
                "name": told,
                "figures": _figures(stage, facts),
                "svg": stream(before, after, title=f"{told}: {_figures(stage, facts)}"),
                "lost": _lost(stage),
                "changed": _changed(stage, facts),
                "dropped": [f"{plain(reason)} {n:,}" for reason, n in dropped.most_common(_SHOWN)],
                "more": max(len(dropped) - _SHOWN, 0),
            }
        )
        left = after
    return rows


def _amount(stage: Stage, in_bytes: bool) -> int:
    """What a stage passed on: bytes of text, or rows where those bytes were not counted."""
    return n_bytes_out(stage) if in_bytes else sum(came_out(stage).values())


def _lost(stage: Stage) -> str:
    """What went, of each kind; in bytes where nothing went whole."""
    if stage["name"] == "read":
        n = dropped_of(stage).total()
        return f"{_MINUS}{plural(n, 'file or row', 'files and rows')}" if n else ""
    if gone := counted(lost(stage)):
        return ", ".join(f"{_MINUS}{one}" for one in gone.split(", "))
    less = stage["bytes_in"] - stage["bytes_out"]
    is_cut = stage["name"] not in ("clean", *LATER)
    return f"{_MINUS}{_bytes(less)}" if is_cut and less > 0 else ""


def _changed(stage: Stage, facts: DataFacts) -> str:
    """What cleaning changed, where that is all it did."""
    if stage["name"] != "clean" or _lost(stage):
        return ""
    less = stage["bytes_in"] - stage["bytes_out"]
    by = "repaired or masked" if facts.masked else "repaired"
    return f"{_bytes(abs(less))} {'less' if less > 0 else 'more'}, {by}" if less else ""


def _bytes(n: int) -> str:
    return plural(n, "byte") if n < _FEW_BYTES else format_bytes(n)


def _figures(stage: Stage, facts: DataFacts) -> str:
    """What comes out of a stage, in words."""
    if stage["tokens_out"] is not None:
        return f"{stage['tokens_out']:,} tokens, training and held out"
    out = came_out(stage)
    if stage["name"] == "divide":
        splits = facts.counts.get("documents", {})
        n, held = out["documents"], splits["heldout"]["n"] if splits else 0
        talk = counted({**out, "documents": 0})
        pieces = f"{plural(n, 'piece')}, {n - held:,} to train on and {held:,} held out"
        return ", ".join(one for one in (pieces if n else "", talk) if one)
    text = f"{counted(out) or 'nothing'}: {format_bytes(n_bytes_out(stage))} of text"
    n_files = sum(source["files"] for source in facts.manifest["sources"])
    if stage["name"] != "read" or not n_files:
        return text
    return f"{plural(n_files, 'file')} of {format_bytes(stage['bytes_in'])} gave {text}"


def lost_of_all(facts: DataFacts) -> str:
    """What went of what was read, of each kind, as `101 of 1,277 documents, 3 of 303 chats`."""
    read, left = ends_of_kinds(facts)
    told: list[str] = []
    for kind in read:
        if read[kind] and (not told or left[kind] < read[kind]):
            name = counted({kind: read[kind]}).partition(" ")[2]
            told.append(f"{read[kind] - left[kind]:,} of {read[kind]:,} {name}")
    return ", ".join(told)
