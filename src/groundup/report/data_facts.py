"""What the page of prepared data tells, read from its folder a few rows at a time.

Counts are of everything; examples are drawn by the hashes of ids, so that the same folder gives the
same page. What only the stages' own files know (languages, what a rule would drop) is None where
these were deleted. Called by `data_page.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from groundup.data.cleaning.config import CleaningConfig
from groundup.data.cleaning.rules import RULES, judge
from groundup.data.cleaning.scores import SCORE_SCHEMA
from groundup.data.stage_files import LAST, REMOVED, Prepared, rows_named, without_piece
from groundup.data.table import EXCERPT_CHARACTERS, rows_of, tables_of
from groundup.report.data_tokens import Packed, packings, token_shards
from groundup.runtime import read_json

EXAMPLES = 3  # of each reason
PAIRS = 4  # of near duplicates
_MANY_PAIRS = 24  # of which those are chosen
_MOST_PLACES = 10_000  # folders, and lines, that are counted for a reason
_SIZE = re.compile(r"in a cluster of (\d+)|, (\d+) times in all")
_NOT_A_CLUSTER = 2  # documents at least


@dataclass
class Reason:
    """Why rows went, or were cut (`is_cut`): how many, of which sources, and a few of them.

    places: by the folder that they are in, `source/folder`, or the source alone
    lines: of repeated lines those that were cut from most documents, by how many those are
    """

    reason: str
    stage: str
    n: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    is_cut: bool = False


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


@dataclass
class Language:
    """Documents of one language: how many, how long, and how many the rules dropped."""

    code: str | None
    n: int = 0
    n_characters: int = 0
    n_dropped: int = 0


@dataclass(frozen=True)
class RuleFacts:
    """A rule that is on: its limit, and how many documents lie beyond it, whoever came first."""

    reason: str
    score: str
    drops: str
    limit: float
    source: str
    n_beyond: int


@dataclass
class Lengths:
    """Documents by their length, in bins that double: {k: documents of 2^k to 2^(k+1) - 1}."""

    bins: dict[int, int]
    n: int
    total: int
    longest: int
    median: int


@dataclass
class DataFacts:
    """All that the page tells."""

    prepared: Prepared
    manifest: dict[str, Any]
    counts: dict[str, Any]
    reasons: list[Reason]
    exact: Clusters
    near: Clusters
    pairs: list[Pair]
    languages: list[Language] | None
    rules: list[RuleFacts] | None
    lengths_read: Lengths | None
    lengths: Lengths
    n_left: Counter[str]
    tokens: dict[str, int]
    token_bytes: dict[str, int]
    token_lengths: Lengths | None
    packed: list[Packed]
    packing_note: str
    masked: Counter[str]
    repaired: int


def facts_of(folder: Path) -> DataFacts:
    """Read a prepared folder or a run. Raises DataError if it holds no prepared data."""
    prepared = Prepared.open(folder)
    manifest = prepared.manifest
    reasons, copies, near = _removed(prepared)
    judged = _scored(prepared)
    shards = token_shards(prepared.folder)
    packed, note = packings(shards)
    counts = prepared.folder / "counts.json"
    token_lengths = _Tally()
    for one in shards.values():
        token_lengths.add(np.asarray(one.document_lengths))
    return DataFacts(
        prepared,
        manifest,
        read_json(counts) if counts.is_file() else {},
        reasons,
        copies["exact_duplicate"].clusters(),
        copies["near_duplicate"].clusters(),
        _pairs(prepared, near),
        *judged,
        *_published(prepared),
        {name: one.n_tokens for name, one in shards.items()},
        {name: one.n_bytes for name, one in shards.items()},
        token_lengths.lengths() if shards else None,
        packed,
        note,
        _summed(prepared, "clean", "masked"),
        _summed(prepared, "score", "changes")["repaired"],
    )


# --- what went ------------------------------------------------------------------------------------


class _Drawn:
    """The rows whose ids have the smallest hashes, at most `n`."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._rows: list[tuple[int, str, dict[str, Any]]] = []

    def add(self, row: dict[str, Any]) -> None:
        key = xxhash.xxh3_64_intdigest(row["id"].encode())
        if len(self._rows) < self.n or key < self._rows[-1][0]:
            self._rows.append((key, row["id"], row))
            self._rows.sort(key=lambda one: one[:2])
            del self._rows[self.n :]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for _, _, row in self._rows]


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


def _removed(
    prepared: Prepared,
) -> tuple[list[Reason], dict[str, _Copies], list[dict[str, Any]]]:
    """Reasons, the most frequent first; duplicates by reason; a few near ones."""
    dropped = {stage["name"]: stage["dropped"] for stage in prepared.manifest["stages"]}
    found: dict[tuple[str, str], Reason] = {}
    drawn: dict[tuple[str, str], _Drawn] = {}
    copies = {reason: _Copies() for reason in ("exact_duplicate", "near_duplicate")}
    near = _Drawn(_MANY_PAIRS)
    for file in prepared.files(REMOVED):
        for row in rows_of(file):
            key = (row["stage"], row["reason"])
            if key not in found:
                found[key] = Reason(row["reason"], row["stage"])
                found[key].is_cut = row["reason"] not in dropped.get(row["stage"], {})
                drawn[key] = _Drawn(EXAMPLES)
            one = found[key]
            one.n += 1
            one.sources[row["source"]] += 1
            place = place_of(row["id"])
            is_told = place in one.places or len(one.places) < _MOST_PLACES
            one.places[place if is_told else row["source"]] += 1
            drawn[key].add(row)
            if row["reason"] == "repeated_lines":
                _count_lines(one.lines, row["text"])
            if row["reason"] in copies:
                copies[row["reason"]].add(row)
            if row["reason"] == "near_duplicate":
                near.add(row)
    for key, reason in found.items():
        reason.examples = drawn[key].rows
    ordered = sorted(found.values(), key=lambda one: (one.is_cut, -one.n, one.reason))
    return ordered, copies, near.rows


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
    parts = (id.rpartition("#")[0] or id).split("/")
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


# --- what was measured ----------------------------------------------------------------------------


def cleaning_of(manifest: Mapping[str, Any]) -> CleaningConfig:
    """The limits that a corpus was made with."""
    return CleaningConfig(**manifest["parameters"]["cleaning"])


def _scored(
    prepared: Prepared,
) -> tuple[list[Language] | None, list[RuleFacts] | None, Lengths | None]:
    files = [file for file in prepared.scores() if _has_all_scores(file)]
    if not files:
        return None, None, None
    config = cleaning_of(prepared.manifest)
    active = [rule for rule in RULES if rule.limit(config) is not None]
    beyond: Counter[str] = Counter()
    languages: dict[str | None, Language] = {}
    lengths = _Tally()
    for file in files:
        for table in tables_of(file):
            reasons, _ = judge(table, config)
            for rule in active:
                beyond[rule.reason] += int(rule.breaks(table, config).sum())
            n_characters = table["n_characters"].to_numpy().astype(np.int64)
            lengths.add(n_characters)
            codes = table["language"].to_pylist()
            for code, n, reason in zip(codes, n_characters.tolist(), reasons, strict=True):
                one = languages.setdefault(code, Language(code))
                one.n += 1
                one.n_characters += n
                one.n_dropped += reason is not None
    rules = [
        RuleFacts(r.reason, r.score, r.drops, r.limit(config) or 0.0, r.source, beyond[r.reason])
        for r in active
    ]
    ordered = sorted(languages.values(), key=lambda one: (-one.n_characters, one.code or ""))
    known = ordered if any(one.code for one in ordered) else None
    return known, rules, lengths.lengths()


def _has_all_scores(file: Path) -> bool:
    """Whether a version wrote it that measured all that is measured now."""
    return set(SCORE_SCHEMA.names) <= set(pq.read_schema(file).names)


def _summed(prepared: Prepared, stage: str, name: str) -> Counter[str]:
    """A count of the headers of a stage, over all its jobs."""
    found: Counter[str] = Counter()
    for folder in prepared.artefacts(stage):
        found.update(read_json(folder / "header.json")["counts"].get(name) or {})
    return found


# --- lengths --------------------------------------------------------------------------------------

_PER_DOUBLING = 16  # bins, so that a median is right within 4%


class _Tally:
    """Lengths in bins that double, and in finer ones for the median."""

    def __init__(self) -> None:
        self._fine: Counter[int] = Counter()
        self._n = self._total = self._longest = 0
        self._bins: Counter[int] = Counter()

    def add(self, lengths: np.ndarray) -> None:
        """lengths: (n,), zero or more each"""
        lengths = np.asarray(lengths, dtype=np.int64)
        if not len(lengths):
            return
        logs = np.log2(np.maximum(lengths, 1))
        for counter, per in ((self._bins, 1), (self._fine, _PER_DOUBLING)):
            values, counts = np.unique(np.floor(logs * per).astype(int), return_counts=True)
            counter.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._n += len(lengths)
        self._total += int(lengths.sum())
        self._longest = max(self._longest, int(lengths.max()))

    def lengths(self) -> Lengths:
        """What was added."""
        seen, median = 0, 0
        for place, n in sorted(self._fine.items()):
            seen += n
            if 2 * seen >= self._n:
                median = round(2 ** ((place + 0.5) / _PER_DOUBLING))
                break
        bins = dict(sorted(self._bins.items()))
        return Lengths(bins, self._n, self._total, self._longest, min(median, self._longest))


def _published(prepared: Prepared) -> tuple[Lengths, Counter[str]]:
    """The lengths of the pieces that are left, and how many documents of each source are."""
    tally, n_left = _Tally(), Counter[str]()
    for file in prepared.files(LAST):
        for table in tables_of(file, ["id", "source", "text"]):
            tally.add(pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy())
            ids, sources = table["id"].to_pylist(), table["source"].to_pylist()
            n_left.update(s for id, s in zip(ids, sources, strict=True) if _begins(id))
    return tally.lengths(), n_left


def _begins(id: str) -> bool:
    """Whether a piece is a whole document, or the first of one.

    >>> _begins("a/b.txt#0"), _begins("a/b.txt#12.0"), _begins("a/b.txt#0.3")
    (True, True, False)
    """
    return without_piece(id) in (id, id.removesuffix(".0"))
