"""What was measured in the texts of prepared data: languages, lengths, rules, the largest files.

From the published documents, and from the scores that cleaning kept, a few rows at a time. What
only the scores know is None where they were deleted. Called by `data_facts.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from groundup.data.cleaning.config import CleaningConfig
from groundup.data.cleaning.rules import OTHER_LANGUAGE, RULES, judge
from groundup.data.cleaning.scores import SCORE_SCHEMA
from groundup.data.stage_files import LAST, Prepared, without_piece
from groundup.data.table import tables_of
from groundup.report.data_lengths import Joined, Lengths, LengthTally, document_of

LARGEST = 5  # documents that are named
_MOST_NAMES = 10_000  # documents whose bytes are added up at a time


@dataclass
class Language:
    """Documents of one language: how many, how long, and how many the rules dropped.

    n_dropped: for any reason; n_unwanted: of them, because other languages were asked for
    """

    code: str | None
    n: int = 0
    n_characters: int = 0
    n_dropped: int = 0
    n_unwanted: int = 0

    @property
    def rate(self) -> float:
        """The share that rules drop, of the documents that are not in a language nobody wants."""
        return (self.n_dropped - self.n_unwanted) / max(self.n - self.n_unwanted, 1)


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
class Large:
    """A document that holds much of the text that is left.

    language: of most of it; None where that is not known
    """

    name: str
    n_bytes: int
    language: str | None = None


@dataclass(frozen=True)
class Published:
    """The text that is left.

    lengths: of its pieces, in bytes; n_left: documents of each source; largest: with most bytes
    """

    lengths: Lengths
    n_left: Counter[str]
    largest: list[Large]


@dataclass(frozen=True)
class Scored:
    """What cleaning measured in what was read.

    lengths: of documents in characters, those that were cut for their length as one
    n_cut: how many of these there are
    """

    languages: list[Language] | None = None
    rules: list[RuleFacts] | None = None
    lengths: Lengths | None = None
    n_cut: int = 0


def cleaning_of(manifest: Mapping[str, Any]) -> CleaningConfig:
    """The limits that a corpus was made with."""
    return CleaningConfig(**manifest["parameters"]["cleaning"])


def read_published(prepared: Prepared) -> Published:
    """Read documents/ once."""
    tally, n_left, n_bytes = LengthTally(), Counter[str](), Counter[str]()
    joined = Joined()
    for file in prepared.files(LAST):
        for table in tables_of(file, ["id", "source", "text"]):
            lengths = pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy()
            tally.add(lengths)
            ids, sources = table["id"].to_pylist(), table["source"].to_pylist()
            n_left.update(s for id, s in zip(ids, sources, strict=True) if _begins(id))
            _add_up(n_bytes, joined.add(ids, lengths.tolist()))
        joined.end_file()
    _add_up(n_bytes, joined.end())
    largest = [Large(name, size) for name, size in n_bytes.most_common(LARGEST)]
    return Published(tally.lengths(), n_left, largest)


def _add_up(n_bytes: Counter[str], found: Iterable[tuple[str, int]]) -> None:
    """Add bytes of documents; of many those that have least are forgotten."""
    for name, size in found:
        n_bytes[name] += size
        if len(n_bytes) > _MOST_NAMES:
            for small, _ in n_bytes.most_common()[_MOST_NAMES // 2 :]:
                del n_bytes[small]


def _begins(id: str) -> bool:
    """Whether a piece is a whole document, or the first of one. The stages count a row above
    `piece_bytes` as several documents, this as one.

    >>> _begins("a/b.txt#0"), _begins("a/b.txt#12.0"), _begins("a/b.txt#0.3")
    (True, True, False)
    """
    return without_piece(id) in (id, id.removesuffix(".0"))


def read_scores(prepared: Prepared, large: Iterable[Large] = ()) -> Scored:
    """Read the scores once, and note the languages of some large documents."""
    files = [file for file in prepared.scores() if _has_all_scores(file)]
    if not files:
        return Scored()
    sums = _Sums(cleaning_of(prepared.manifest), {one.name: Counter() for one in large})
    for file in files:
        for table in tables_of(file):
            sums.add(table)
        sums.joined.end_file()
    for one in large:
        if told := sums.large[one.name]:
            one.language = told.most_common(1)[0][0]
    return sums.scored()


def _has_all_scores(file: Path) -> bool:
    """Whether a version wrote it that measured all that is measured now."""
    return set(SCORE_SCHEMA.names) <= set(pq.read_schema(file).names)


@dataclass
class _Sums:
    config: CleaningConfig
    large: dict[str, Counter[str | None]]
    beyond: Counter[str] = field(default_factory=Counter)
    languages: dict[str | None, Language] = field(default_factory=dict)
    joined: Joined = field(default_factory=Joined)
    tally: LengthTally = field(default_factory=LengthTally)

    def add(self, table: pa.Table) -> None:
        reasons, _ = judge(table, self.config)
        for rule in self._active():
            self.beyond[rule.reason] += int(rule.breaks(table, self.config).sum())
        lengths = table["n_characters"].to_numpy().astype(np.int64).tolist()
        ids, codes = table["id"].to_pylist(), table["language"].to_pylist()
        self.tally.add(np.array([n for _, n in self.joined.add(ids, lengths)]))
        for id, code, n, reason in zip(ids, codes, lengths, reasons, strict=True):
            one = self.languages.setdefault(code, Language(code))
            one.n += 1
            one.n_characters += n
            one.n_dropped += reason is not None
            one.n_unwanted += reason == OTHER_LANGUAGE
            if (name := document_of(id)) in self.large:
                self.large[name][code] += n

    def _active(self) -> list[Any]:
        return [rule for rule in RULES if rule.limit(self.config) is not None]

    def scored(self) -> Scored:
        self.tally.add(np.array([n for _, n in self.joined.end()]))
        rules = [
            RuleFacts(
                r.reason, r.score, r.drops, r.limit(self.config) or 0.0, r.source,
                self.beyond[r.reason],
            )
            for r in self._active()
        ]  # fmt: skip
        found = self.languages.values()
        ordered = sorted(found, key=lambda one: (-one.n_characters, one.code or ""))
        known = ordered if any(one.code for one in ordered) else None
        return Scored(known, rules, self.tally.lengths(), self.joined.n_cut)
