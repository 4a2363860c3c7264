"""What went of prepared data, from its folder removed/ a few rows at a time.

Counts are of everything; examples are drawn by the hashes of ids, so that the same folder gives the
same page. Called by `data_facts.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import xxhash

from groundup.data.stage_files import REMOVED, Prepared, rows_named
from groundup.data.table import EXCERPT_CHARACTERS, rows_of
from groundup.report.data_stages import dropped_of, lost_kinds, unread

EXAMPLES = 3  # of each reason, and of each evaluation set
PAIRS = 4  # of near duplicates
_MANY_PAIRS = 24  # of which those are chosen
_MOST_PLACES = 10_000  # folders, and lines, that are counted for a reason
_SIZE = re.compile(r"in a cluster of (\d+)|, (\d+) times in all")
_HIT = re.compile(r"shares words with ([^:]*)")
_NOT_A_CLUSTER = 2  # documents at least
_SAID = {'{"messages":': "chats", '{"chosen":': "preferences"}  # how the JSON of these begins


@dataclass
class Reason:
    """Why rows went, or were cut (`is_cut`): how many, of which sources, and a few of them.

    n: documents, chats and pairs; n_talk: how many of them were chats or pairs, by kind
    sources: of the documents alone
    places: of all, by the folder that they are in, `source/folder`, or the source alone
    lines: of repeated lines those that were cut from most documents, by how many those are
    """

    reason: str
    stage: str
    n: int = 0
    n_talk: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    is_cut: bool = False

    @property
    def kinds(self) -> dict[str, int]:
        """How many of each kind."""
        return {"documents": self.n - self.n_talk.total(), **self.n_talk}


@dataclass
class Clusters:
    """Sets of documents that are the same, or nearly so.

    sizes: {documents in a cluster: clusters}
    kept: the id of what was kept of the largest
    n_across: documents that went because of one of another source
    """

    sizes: dict[int, int]
    kept: str = ""
    n_across: int = 0

    @property
    def n(self) -> int:
        """Clusters."""
        return sum(self.sizes.values())

    @property
    def n_removed(self) -> int:
        """Documents that went."""
        return sum((size - 1) * n for size, n in self.sizes.items())

    @property
    def largest(self) -> int:
        """Documents in the largest."""
        return max(self.sizes, default=0)


@dataclass(frozen=True)
class Pair:
    """A near duplicate that went, and the document that was kept of its cluster.

    removed: its row in removed/; removed_text, kept_text: of what was compared, empty where the
    stages' files were deleted
    """

    removed: dict[str, Any]
    removed_text: str = ""
    kept_text: str = ""


@dataclass(frozen=True)
class Removed:
    """All that went: reasons, the most frequent first; copies; hits of each evaluation set."""

    reasons: list[Reason]
    exact: Clusters
    near: Clusters
    pairs: list[Pair]
    hits: dict[str, list[dict[str, Any]]]


def read_removed(prepared: Prepared) -> Removed:
    """Read removed/ once, and the texts of a few pairs."""
    stages = {stage["name"]: stage for stage in prepared.manifest["stages"]}
    sizes = {file["path"]: file["bytes"] for file in unread(prepared.manifest)[2]}
    kind_of = _Kinds(prepared)
    found: dict[tuple[str, str], Reason] = {}
    drawn: dict[tuple[str, str], _Drawn] = {}
    hits = {name: _Drawn(EXAMPLES) for name in prepared.manifest["contamination"] or {}}
    copies = {reason: _Copies() for reason in ("exact_duplicate", "near_duplicate")}
    near = _Drawn(_MANY_PAIRS)
    for file in prepared.files(REMOVED):
        for row in rows_of(file):
            key = (row["stage"], row["reason"])
            if key not in found:
                found[key] = Reason(row["reason"], row["stage"])
                stage = stages.get(row["stage"])
                found[key].is_cut = stage is None or row["reason"] not in dropped_of(stage)
                drawn[key] = _Drawn(EXAMPLES, sizes) if key[0] == "read" else _Drawn(EXAMPLES)
            _count(found[key], row, kind_of(row))
            drawn[key].add(row)
            for name in (
                sets_of(row["detail"] or "", hits) if row["stage"] == _DECONTAMINATE else ()
            ):
                hits[name].add(row)
            if row["reason"] in copies:
                copies[row["reason"]].add(row)
            if row["reason"] == "near_duplicate":
                near.add(row)
    for key, reason in found.items():
        reason.examples = drawn[key].rows
    return Removed(
        sorted(found.values(), key=lambda one: (one.is_cut, -one.n, one.reason)),
        copies["exact_duplicate"].clusters(),
        copies["near_duplicate"].clusters(),
        _pairs(prepared, near.rows),
        {name: one.rows for name, one in hits.items()},
    )


_DECONTAMINATE = "decontaminate"


def sets_of(detail: str, names: Mapping[str, Any]) -> list[str]:
    """The evaluation sets of which a document is told to give items away.

    >>> sets_of("shares words with gsm8k 77, piqa 3 and 2 more: A boxer", {"gsm8k": 0, "piqa": 0})
    ['gsm8k', 'piqa']
    """
    match = _HIT.match(detail)
    items = f", {match[1]}" if match else ""
    return [name for name in names if f", {name} " in items]


def _count(reason: Reason, row: Mapping[str, Any], kind: str) -> None:
    reason.n += 1
    if kind == "documents":
        reason.sources[row["source"]] += 1
    else:
        reason.n_talk[kind] += 1
    place = place_of(row["id"])
    is_told = place in reason.places or len(reason.places) < _MOST_PLACES
    reason.places[place if is_told else row["source"]] += 1
    if row["reason"] == "repeated_lines":
        _count_lines(reason.lines, row["text"])


class _Kinds:
    """Of which kind a removed row was, by its stage or by the JSON that its text begins with."""

    def __init__(self, prepared: Prepared) -> None:
        self._stages = {stage["name"]: stage for stage in prepared.manifest["stages"]}
        self._known: dict[tuple[str, str], list[str]] = {}

    def __call__(self, row: Mapping[str, Any]) -> str:
        key = (row["stage"], row["reason"])
        if key not in self._known:
            stage = self._stages.get(row["stage"])
            self._known[key] = lost_kinds(stage, row["reason"]) if stage else []
        kinds = self._known[key] or ["documents"]
        if len(kinds) == 1:
            return kinds[0]
        text = row["text"] or ""
        told = next((kind for head, kind in _SAID.items() if text.startswith(head)), "documents")
        return told if told in kinds else "documents"


def file_of(id: str) -> str:
    """The file that a row is from.

    >>> file_of("web/a#b.html#0.3"), file_of("web/a.pdf")
    ('web/a#b.html', 'web/a.pdf')
    """
    return id.rpartition("#")[0] or id


class _Drawn:
    """The rows whose ids have the smallest hashes, at most `n`.

    With `sizes` of files no two are of one file, and those of the largest files come first.
    """

    def __init__(self, n: int, sizes: Mapping[str, int] | None = None) -> None:
        self.n = n
        self._sizes = sizes
        self._rows: dict[str, tuple[tuple[int, int, str], dict[str, Any]]] = {}

    def add(self, row: dict[str, Any]) -> None:
        id, name = row["id"], row["id"]
        n_bytes = 0
        if self._sizes is not None:
            name = file_of(id)
            n_bytes = self._sizes.get(name, 0)
        key = (-n_bytes, xxhash.xxh3_64_intdigest(id.encode()), id)
        if name in self._rows and self._rows[name][0] <= key:
            return
        self._rows[name] = (key, row)
        if len(self._rows) > self.n:
            del self._rows[max(self._rows, key=lambda one: self._rows[one][0])]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for _, row in sorted(self._rows.values(), key=itemgetter(0))]


class _Copies:
    """Removals of one kind of duplicate, by size of cluster."""

    def __init__(self) -> None:
        self._sizes: Counter[int] = Counter()
        self._largest: tuple[int, str] = (0, "")
        self._n_across = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of removed/."""
        size = cluster_size(row["detail"] or "")
        if size is None:
            return
        kept = row["kept_id"] or ""
        self._sizes[size] += 1
        self._largest = max(self._largest, (size, kept))
        self._n_across += kept.partition("/")[0] != row["source"]

    def clusters(self) -> Clusters:
        """What was added."""
        return Clusters(_clusters(self._sizes), self._largest[1], self._n_across)


def _count_lines(lines: Counter[str], text: str) -> None:
    """Add the distinct lines of an excerpt; of many those that came least are forgotten."""
    whole = text.splitlines()[: -1 if len(text) >= EXCERPT_CHARACTERS else None]
    lines.update({line.strip() for line in whole if line.strip()})
    if len(lines) > _MOST_PLACES:
        for line, _ in lines.most_common()[_MOST_PLACES // 2 :]:
            del lines[line]


def place_of(id: str) -> str:
    """The source and the folder in it that a document is from, or the source alone.

    >>> place_of("web/news/may/a.html#0"), place_of("web/a.html#0"), place_of("web/b/c.zip")
    ('web/news', 'web', 'web/b')
    """
    parts = file_of(id).split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def cluster_size(detail: str) -> int | None:
    """How many documents were in the cluster that a removed row is told to be from.

    >>> cluster_size("similarity 0.912 to its nearest in a cluster of 5, of which a#0 is kept")
    5
    >>> cluster_size("the same text as a#0, 3 times in all"), cluster_size("too_short with 3")
    (3, None)
    """
    match = _SIZE.search(detail)
    return int(match[1] or match[2]) if match else None


def _clusters(removals: Mapping[int, int]) -> dict[int, int]:
    """From removals to clusters: one of `size` documents loses size - 1.

    >>> _clusters({3: 4, 2: 1})
    {2: 1, 3: 2}
    """
    return {size: n // (size - 1) for size, n in sorted(removals.items()) if size >= _NOT_A_CLUSTER}


def _pairs(prepared: Prepared, rows: list[dict[str, Any]]) -> list[Pair]:
    """A few pairs, of as many clusters as there are, with the texts that were compared."""
    by_cluster: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_cluster.setdefault(row["kept_id"], row)
    first = {id(row) for row in by_cluster.values()}
    chosen = sorted(rows, key=lambda row: id(row) not in first)[:PAIRS]
    compared = [name for name in ("dedup_exact", "clean", "read") if name in prepared.names]
    ids = {row[name] for row in chosen for name in ("id", "kept_id") if row[name]}
    texts = rows_named(prepared.files(compared[0]), ids) if compared and ids else {}
    told = {key: row["text"] or "" for key, row in texts.items()}
    return [Pair(row, told.get(row["id"], ""), told.get(row["kept_id"], "")) for row in chosen]
