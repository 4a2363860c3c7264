"""Where the rows of each stage of prepared data lie, for commands and pages that look at them.

The stages' own files stand in `stages/` of a prepared folder, or in `data.stages` beside the data
of a run, for as long as nobody deletes them; what is published (documents, removed) stands always.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import xxhash

from groundup.data.engine import HEADER, KEPT
from groundup.data.manifest import find_manifest, read_manifest
from groundup.data.steps.shard import KINDS, ROWS
from groundup.data.table import tables_of
from groundup.runtime import DataError, read_json

SCORES = "scores.parquet"
LAST = "documents"  # what training reads, whatever made it
REMOVED = "removed"
MAKE_THE_LAST = ("divide", "tokenize")  # stages whose documents are those that are published
TALK = KINDS[1:]  # chats and preferences, which are published as rows of JSON


@dataclass(frozen=True)
class Prepared:
    """A prepared folder: `folder` holds documents/ and the rest, `stages` what its stages made."""

    folder: Path
    stages: Path

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Of prepared data or a run. Raises DataError if there is none."""
        read_manifest(folder)  # says what is wrong with it
        manifest = find_manifest(folder)
        assert manifest is not None
        place = manifest.parent
        beside = place.parent / "data.stages"
        own = place / "stages"
        return cls(place, own if own.is_dir() or not beside.is_dir() else beside)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What it says of itself."""
        return read_manifest(self.folder)

    @property
    def names(self) -> list[str]:
        """The stages whose documents can be looked at, in order."""
        told = [stage["name"] for stage in self.manifest["stages"]]
        there = [name for name in told if name in MAKE_THE_LAST or self.artefacts(name)]
        kinds = [kind for kind in TALK if any(path.stat().st_size for path in self.talk(kind))]
        return [*there, LAST, *kinds, REMOVED]

    def artefacts(self, stage: str) -> list[Path]:
        """The folders that a stage made for what is published, by name."""
        found = sorted(header.parent for header in (self.stages / stage).glob(f"*/{HEADER}"))
        return [folder for folder in found if f"{stage}/{folder.name}" in self._kept]

    @cached_property
    def _kept(self) -> set[str]:
        path = self.stages / KEPT
        return set(read_json(path)) if path.is_file() else set()

    def scores(self) -> list[Path]:
        """The tables of scores, one for each shard; none where they were deleted."""
        return [
            folder / SCORES for folder in self.artefacts("score") if (folder / SCORES).is_file()
        ]

    def talk(self, kind: str) -> list[Path]:
        """The published files of chats or of preferences, rows of JSON."""
        return sorted((self.folder / kind).glob("*.jsonl"))

    def files(self, stage: str) -> list[Path]:
        """The Parquet files of a stage's documents (rows of chats and pairs among them).

        Raises DataError if there is no such stage, or its files are gone.
        """
        if stage == LAST or stage in MAKE_THE_LAST:
            return sorted((self.folder / "documents").glob("*.parquet"))
        if stage == REMOVED:
            return sorted((self.folder / "removed").glob("*.parquet"))
        names = self.names
        if stage not in names:
            known = [told["name"] for told in self.manifest["stages"]]
            why = (
                "its files are not here"
                if stage in known
                else f"{self.folder} has no stage of that name"
            )
            raise DataError(f"--stage {stage}: {why}; there are {', '.join(names)}")
        if stage == "read":
            return [
                path
                for folder in self.artefacts(stage)
                for kind in KINDS
                for path in sorted(folder.glob(f"{kind}-*.parquet"))
            ]
        return [folder / ROWS for folder in self.artefacts(stage) if (folder / ROWS).is_file()]

    def kind_of(self, file: Path) -> str | None:
        """What the rows of a stage's file are, of KINDS; None where what tells it was deleted.

        Only what reading wrote is called by its kind: of the others, the file that it was made of
        is asked.
        """
        name, folder = file.name, file.parent
        while (kind := name.rsplit("-", 1)[0]) not in KINDS:
            header = folder / HEADER
            if not header.is_file():
                return None
            told = read_json(header)
            if not told["inputs"]:
                return None
            name = told["params"].get("file", ROWS)
            folder = self.stages / told["inputs"][0]["artefact"]
        return kind

    def reasons(self) -> Counter[str]:
        """Why rows were removed, or parts of them, and how many."""
        found: Counter[str] = Counter()
        for file in self.files(REMOVED):
            for table in tables_of(file, ["reason"]):
                found.update(table["reason"].to_pylist())
        return found


@dataclass(frozen=True)
class Place:
    """A row: its file, its row group, its number within that, and its id."""

    file: Path
    group: int
    row: int
    id: str


def drawn(
    files: Iterable[Path],
    n: int,
    *,
    seed: int = 0,
    equal: dict[str, str] | None = None,
    within: str | None = None,
) -> tuple[list[dict[str, Any]], Counter[Path]]:
    """`n` rows of some files by the hashes of their ids, and of how many rows of each file.

    The same rows whichever file they stand in. equal: only rows with these values in these columns;
    within: only rows whose id contains this
    """
    heap: list[tuple[int, int, Place]] = []  # largest hash first, as negative
    n_rows = 0
    counts: Counter[Path] = Counter()
    columns = ["id", *(equal or {})]
    for file in files:
        for group, table in enumerate(tables_of(file, columns)):
            ids = table["id"].to_pylist()
            chosen: Sequence[bool] = [True] * len(ids)
            for name, value in (equal or {}).items():
                same = pc.equal(table[name], value).to_pylist()
                chosen = [bool(a and b) for a, b in zip(chosen, same, strict=True)]
            for row, id in enumerate(ids):
                if not chosen[row] or (within is not None and within not in id):
                    continue
                n_rows += 1
                counts[file] += 1
                key = -xxhash.xxh3_64_intdigest(id.encode(), seed)
                if len(heap) < n:
                    heapq.heappush(heap, (key, n_rows, Place(file, group, row, id)))
                elif n and key > heap[0][0]:
                    heapq.heapreplace(heap, (key, n_rows, Place(file, group, row, id)))
    places = [place for _, _, place in sorted(heap, key=lambda one: (-one[0], one[1]))]
    return list(_rows_at(places)), counts


def drawn_lines(
    files: Iterable[Path],
    n: int,
    *,
    seed: int = 0,
    equal: Mapping[str, str] | None = None,
    within: str | None = None,
) -> tuple[list[dict[str, Any]], Counter[Path]]:
    """As `drawn`, from files with a JSON object on each line."""
    heap: list[tuple[int, int, dict[str, Any]]] = []
    n_rows = 0
    counts: Counter[Path] = Counter()
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                row = json.loads(line)
                differs = any(row.get(name) != value for name, value in (equal or {}).items())
                if differs or (within is not None and within not in row["id"]):
                    continue
                n_rows += 1
                counts[file] += 1
                entry = (-xxhash.xxh3_64_intdigest(row["id"].encode(), seed), -n_rows, row)
                if len(heap) < n:
                    heapq.heappush(heap, entry)
                else:
                    heapq.heappushpop(heap, entry)
    return [row for _, _, row in sorted(heap, key=lambda one: (-one[0], -one[1]))], counts


def turns_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(who, what) for each turn of a chat or a preference pair; none of a document.

    Its text is that of a stage before the last (the JSON of what is said), or there is none.

    >>> turns_of({"text": '{"messages":[{"content":"Hi","role":"user"}]}'})
    [('user', 'Hi')]
    >>> turns_of({"text": '{"messages":[{"content":"Hi","role":"user"},{"content":"Hel'})
    [('user', 'Hi'), ('…', 'Hel')]
    >>> turns_of({"prompt": [], "chosen": "Yes", "rejected": "No", "id": "a#0", "source": "a"})
    [('chosen', 'Yes'), ('rejected', 'No')]
    >>> turns_of({"text": "{} is an object"})
    []
    """
    said = row
    if "text" in row:
        try:
            said = json.loads(row["text"] or "null")
        except ValueError:
            return _turns_begun(row["text"]) if row["text"].startswith(_BEGINNINGS) else []
        if not isinstance(said, dict) or set(said) not in _SAID:
            return []
    turns = [(turn["role"], turn["content"]) for turn in said.get("messages", said.get("prompt"))]
    return turns + [(side, said[side]) for side in ("chosen", "rejected") if side in said]


def _turns_begun(text: str) -> list[tuple[str, str]]:
    """The turns of a row's JSON that is cut off, as `removed/` keeps its beginning."""
    turns: list[tuple[str, str]] = []
    for name, value in _PARTS.findall(text):
        told = json.loads(f'"{value}"', strict=False)
        if name == "role":
            turns[-1:] = [(told, what) for _, what in turns[-1:]]
        else:
            turns.append(("…" if name == "content" else name, told))
    return sorted(turns, key=lambda turn: turn[0] in ("chosen", "rejected"))  # behind the prompt


_BEGINNINGS = ('{"messages":', '{"chosen":')
_ESCAPE = r"\\(?:u[0-9a-f]{4}|[^u])"
_PARTS = re.compile(rf'"(content|role|chosen|rejected)":"((?:[^"\\]|{_ESCAPE})*)')
_SAID = ({"messages"}, {"prompt", "chosen", "rejected"})


def _rows_at(places: Sequence[Place]) -> Iterator[dict[str, Any]]:
    """The rows at some places, in that order, with one row group in memory."""
    found: dict[Place, dict[str, Any]] = {}
    for file in dict.fromkeys(place.file for place in places):
        wanted = [place for place in places if place.file == file]
        groups = {place.group for place in wanted}
        for group, table in enumerate(tables_of(file)):
            if group in groups:
                for place in wanted:
                    if place.group == group:
                        found[place] = table.slice(place.row, 1).to_pylist()[0]
    for place in places:
        yield found[place]


def rows_named(files: Iterable[Path], ids: set[str]) -> dict[str, dict[str, Any]]:
    """The rows with some ids, or whose ids are one of these with the number of a piece behind."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for table in tables_of(file):
            for row, id in enumerate(table["id"].to_pylist()):
                whole = id if id in ids else without_piece(id)
                if whole in ids and whole not in found:
                    found[whole] = table.slice(row, 1).to_pylist()[0]
        if len(found) == len(ids):
            break
    return found


def without_piece(id: str) -> str:
    """The id of a document, from that of a piece of it.

    >>> [without_piece(f"a/b.jsonl#{n}") for n in ("0.3", "0", "0.1.5")]
    ['a/b.jsonl#0', 'a/b.jsonl#0', 'a/b.jsonl#0.1']
    """
    head, mark, tail = id.rpartition("#")
    return f"{head}{mark}{tail.rpartition('.')[0] or tail}"
