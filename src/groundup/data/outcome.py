"""What became of some rows in prepared data: at which stage they went, or where they were kept.

Looked up by their ids in what is published (removed, documents, chats, preferences). Called by
`explain.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from groundup.data.stage_files import LAST, REMOVED, TALK, Prepared, without_piece
from groundup.data.steps.shard import KINDS
from groundup.data.table import tables_of

_SPLITS = {"train": "to train on", "heldout": "held out"}


@dataclass(frozen=True)
class Step:
    """What a stage of prepared data did with a row, or would do with one that is new."""

    stage: str
    what: str


@dataclass
class Outcome:
    """What the stages did with a row, in their order, and what that comes to."""

    steps: list[Step] = field(default_factory=list)
    verdict: str = ""


def outcomes(ids: Collection[str], prepared: Prepared) -> dict[str, Outcome]:
    """The outcome of each row that prepared data holds or dropped; the others have none."""
    found: dict[str, Outcome] = {}
    cut: dict[str, list[tuple[Step, str]]] = {id: [] for id in ids}
    for row in _removed(ids, prepared):
        id, stage, reason = row["id"], row["stage"], row["reason"]
        detail = (row["detail"] or "").replace(f"{reason} with ", "scored ")
        if reason in _dropped(prepared, stage):
            step = Step(stage, f"dropped for {reason}: {detail}")
            found[id] = Outcome([step], f"dropped at {stage} for {reason}")
        else:
            cut[id].append((Step(stage, f"cut for {reason}: {detail}"), reason))
    order = [stage["name"] for stage in prepared.manifest["stages"]]
    for parts in cut.values():
        parts.sort(key=lambda part: order.index(part[0].stage))
    for id, step in _kept(prepared, set(ids) - found.keys()).items():
        told = [f"{one.stage} cut a part of it for {reason}" for one, reason in cut[id]]
        found[id] = Outcome([step], "; ".join([f"kept, {step.what}", *told]))
    for id, one in found.items():
        one.steps = [step for step, _ in cut[id]] + one.steps
    return found


def _removed(ids: Collection[str], prepared: Prepared) -> Iterator[Mapping[str, str]]:
    for file in prepared.files(REMOVED):
        for table in tables_of(file, ["id", "stage", "reason", "detail"]):
            for row, id in enumerate(table["id"].to_pylist()):
                if id in ids:
                    yield table.slice(row, 1).to_pylist()[0]


def _dropped(prepared: Prepared, stage: str) -> set[str]:
    """The reasons for which a stage dropped rows of any kind; for others it cut parts of them."""
    for told in prepared.manifest["stages"]:
        if told["name"] == stage:
            keys = ("dropped", *(f"{kind}_dropped" for kind in KINDS))
            return {reason for key in keys for reason in told.get(key, ())}
    return set()


def _kept(prepared: Prepared, ids: set[str]) -> dict[str, Step]:
    """For each of some rows that are left, in how many pieces it is, and of which split."""
    left: dict[str, Counter[str]] = {}
    for file in prepared.files(LAST):
        split = file.name.split("-")[0]
        for table in tables_of(file, ["id"]):
            for id in table["id"].to_pylist():
                whole = id if id in ids else without_piece(id)
                if whole in ids:
                    left.setdefault(whole, Counter())[split] += 1
    told = {id: Step(LAST, splits_told(splits)) for id, splits in left.items()}
    files = [file for kind in TALK for file in prepared.talk(kind)]
    for file in files if len(told) < len(ids) else ():
        with file.open("rb") as lines:
            for line in lines:
                if (id := json.loads(line)["id"]) in ids:
                    told[id] = Step(file.parent.name, _SPLITS[file.stem])
    return told


def splits_told(splits: Mapping[str, int]) -> str:
    """
    >>> splits_told({"train": 2}), splits_told({"train": 2, "heldout": 1})
    ('in 2 pieces to train on', 'in 3 pieces, 2 to train on and 1 held out')
    """
    n = sum(splits.values())
    pieces = "whole" if n == 1 else f"in {n:,} pieces"
    told = [(split, splits[split]) for split in _SPLITS if splits.get(split)]
    if len(told) == 1:
        return f"{pieces}{',' if n == 1 else ''} {_SPLITS[told[0][0]]}"
    return f"{pieces}, {' and '.join(f'{k:,} {_SPLITS[split]}' for split, k in told)}"
