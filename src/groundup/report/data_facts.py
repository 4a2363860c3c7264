"""What the page of prepared data tells, read from its folder.

What went is read by `data_removed.py`, what was measured by `data_measured.py`, what tokens there
are by `data_tokens.py`; here it is put together. Called by `data_page.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundup.data.stage_files import Prepared
from groundup.report.data_lengths import Lengths, LengthTally
from groundup.report.data_measured import (
    Language,
    Large,
    RuleFacts,
    read_published,
    read_scores,
)
from groundup.report.data_removed import Clusters, Pair, Reason, read_removed
from groundup.report.data_tokens import Packed, packings, token_shards
from groundup.runtime import read_json


@dataclass
class DataFacts:
    """All that the page tells.

    reasons: why something went; hits: for each evaluation set a few rows that gave it away
    lengths_read: of documents as they were read, n_cut of which are longer than one row may be;
        lengths: of the pieces that are left; n_left: documents that are left of each source
    """

    prepared: Prepared
    manifest: dict[str, Any]
    counts: dict[str, Any]
    reasons: list[Reason]
    exact: Clusters
    near: Clusters
    pairs: list[Pair]
    hits: dict[str, list[dict[str, Any]]]
    languages: list[Language] | None
    rules: list[RuleFacts] | None
    lengths_read: Lengths | None
    n_cut: int
    lengths: Lengths
    n_left: Counter[str]
    largest: list[Large]
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
    removed = read_removed(prepared)
    published = read_published(prepared)
    scored = read_scores(prepared, published.largest)
    shards = token_shards(prepared.folder)
    packed, note = packings(shards)
    counts = prepared.folder / "counts.json"
    token_lengths = LengthTally()
    for one in shards.values():
        token_lengths.add(np.asarray(one.document_lengths))
    return DataFacts(
        prepared=prepared,
        manifest=prepared.manifest,
        counts=read_json(counts) if counts.is_file() else {},
        reasons=removed.reasons,
        exact=removed.exact,
        near=removed.near,
        pairs=removed.pairs,
        hits=removed.hits,
        languages=scored.languages,
        rules=scored.rules,
        lengths_read=scored.lengths,
        n_cut=scored.n_cut,
        lengths=published.lengths,
        n_left=published.n_left,
        largest=published.largest,
        tokens={name: one.n_tokens for name, one in shards.items()},
        token_bytes={name: one.n_bytes for name, one in shards.items()},
        token_lengths=token_lengths.lengths() if shards else None,
        packed=packed,
        packing_note=note,
        masked=_masked(prepared),
        repaired=_summed(prepared, "score", "changes")["repaired"],
    )


def _masked(prepared: Prepared) -> Counter[str]:
    """What was masked of each kind, as the manifest says."""
    return Counter(next((s["masked"] for s in prepared.manifest["stages"] if s.get("masked")), {}))


def _summed(prepared: Prepared, stage: str, name: str) -> Counter[str]:
    """A count of the headers of a stage, over all its jobs."""
    found: Counter[str] = Counter()
    for folder in prepared.artefacts(stage):
        found.update(read_json(folder / "header.json")["counts"].get(name) or {})
    return found
