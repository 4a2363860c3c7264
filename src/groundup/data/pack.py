"""Packing: which stretches of which documents make up each training row.

A plan is made once for a set of token shards and a row length. A row is a list of spans; a span is
a stretch (start, length) of one document. Attention stays inside a span and positions restart at
each, so packing changes how much of a row is padding, never what the model sees.

    method      a row begins     a document that fits a row     padding     tokens never seen
    concat      anywhere         is cut where its row ends      last row    none
    best_fit    document, piece  stays whole                    a little    none
    bos_crop    document         stays whole, or is cropped     last row    ends of documents

`concat` cuts the stream of documents every seq_len tokens. `best_fit` is best-fit decreasing bin
packing (Ding et al. 2024, "Fewer Truncations Improve Language Modeling"); longer documents are cut
into pieces of a row. `bos_crop` begins each row with a document and crops one to fill it, as
nanochat does (`crop.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from groundup.data.shards import TokenShards
from groundup.runtime import DataError, read_json, stable_hash, storage_errors, write_json

Packing = Literal["best_fit", "concat", "bos_crop"]
PLAN_VERSION = 1
_ARRAYS = ("row_offsets", "span_start", "span_length", "span_document")


@dataclass(frozen=True)
class RowPlan:
    """Rows of spans: row r holds the spans row_offsets[r] to row_offsets[r + 1].

    row_offsets: (n_rows + 1,) int64; span_start: (n_spans,) uint64, position in the shards;
    span_length: (n_spans,) uint32; span_document: (n_spans,) uint64, index of the document.
    n_cropped: tokens of the shards that are in no row.
    """

    seq_len: int
    packing: Packing
    shards_fingerprint: str
    row_offsets: np.ndarray
    span_start: np.ndarray
    span_length: np.ndarray
    span_document: np.ndarray
    n_cropped: int = 0

    @property
    def n_rows(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def n_spans(self) -> int:
        return len(self.span_start)

    @property
    def n_tokens(self) -> int:
        return int(self.span_length.sum(dtype=np.int64))

    @property
    def padding_share(self) -> float:
        """Part of all row positions that hold no token, from 0 to 1."""
        return 1.0 - self.n_tokens / (self.n_rows * self.seq_len)

    @property
    def cropped_share(self) -> float:
        """Part of all tokens that are in no row, from 0 to 1."""
        return self.n_cropped / (self.n_cropped + self.n_tokens)

    @property
    def fingerprint(self) -> str:
        """A plan follows from its shards, row length and method, so those are what is hashed."""
        return stable_hash([PLAN_VERSION, self.shards_fingerprint, self.seq_len, self.packing])

    def save(self, folder: Path) -> None:
        """Write the arrays as .npy and the rest as plan.json."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            path = folder / f"{name}.npy"
            with storage_errors(path):
                np.save(path, getattr(self, name), allow_pickle=False)
        summary = {
            "version": PLAN_VERSION,
            "seq_len": self.seq_len,
            "packing": self.packing,
            "shards_fingerprint": self.shards_fingerprint,
            "n_rows": self.n_rows,
            "n_spans": self.n_spans,
            "n_tokens": self.n_tokens,
            "padding_share": self.padding_share,
            "n_cropped": self.n_cropped,
            "cropped_share": self.cropped_share,
        }
        write_json(folder / "plan.json", summary)

    @classmethod
    def load(cls, folder: Path) -> RowPlan:
        """Read a plan that `save` wrote; the arrays are memory-mapped."""
        path = folder / "plan.json"
        if not path.is_file():
            raise DataError(f"no packing plan in {folder}; make one with plan_rows")
        summary = read_json(path)
        if summary["version"] != PLAN_VERSION:
            raise DataError(
                f"{path} is of format {summary['version']}, this version reads {PLAN_VERSION}; "
                "delete the folder and run the same command again"
            )
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in _ARRAYS
        }
        return cls(
            seq_len=summary["seq_len"],
            packing=summary["packing"],
            shards_fingerprint=summary["shards_fingerprint"],
            n_cropped=summary.get("n_cropped", 0),
            **arrays,
        )


def plan_rows(shards: TokenShards, seq_len: int, packing: Packing = "best_fit") -> RowPlan:
    """Lay the documents of `shards` into rows of at most `seq_len` tokens.

    Each token is in one row; with `bos_crop` in one or none.
    """
    if seq_len < 1:
        raise ValueError(f"seq_len={seq_len} must be at least 1")
    match packing:
        case "concat":
            row, start, length, document = _concat(shards, seq_len)
        case "best_fit":
            row, start, length, document = _best_fit(shards, seq_len)
        case "bos_crop":
            row, start, length, document = _bos_crop(shards, seq_len)
    n_rows = int(row[-1]) + 1
    return RowPlan(
        seq_len=seq_len,
        packing=packing,
        shards_fingerprint=shards.fingerprint,
        row_offsets=np.searchsorted(row, np.arange(n_rows + 1)).astype(np.int64),
        span_start=start.astype(np.uint64),
        span_length=length.astype(np.uint32),
        span_document=document.astype(np.uint64),
        n_cropped=shards.n_tokens - int(length.sum()),
    )


Spans = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # row, start, length, document


def _concat(shards: TokenShards, seq_len: int) -> Spans:
    """Cut the run of all documents at every document's start and every multiple of seq_len."""
    lengths = shards.document_lengths
    total = int(lengths.sum())
    run_starts = np.cumsum(lengths) - lengths
    cuts = np.union1d(run_starts, np.arange(0, total, seq_len))
    document = np.searchsorted(run_starts, cuts, side="right") - 1
    start = shards.document_starts[document] + cuts - run_starts[document]
    return cuts // seq_len, start, np.diff(cuts, append=total), document


def _best_fit(shards: TokenShards, seq_len: int) -> Spans:
    """Cut long documents into pieces of seq_len, then pack the pieces best-fit decreasing."""
    lengths = shards.document_lengths
    n_pieces = -(-lengths // seq_len)
    document = np.repeat(np.arange(len(lengths)), n_pieces)
    piece = np.arange(len(document)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    start = shards.document_starts[document] + piece * seq_len
    length = np.minimum(lengths[document] - piece * seq_len, seq_len)
    row = pack_best_fit(length, seq_len)
    order = np.lexsort((-length, row))  # within a row longest first, then document order
    return row[order], start[order], length[order], document[order]


def _bos_crop(shards: TokenShards, seq_len: int) -> Spans:
    """Whole documents, and in each row the beginning of one that fills it up."""
    from groundup.data.crop import pack_cropping  # numba takes its time to import

    document, row, length = pack_cropping(shards.document_lengths, seq_len)
    return row, shards.document_starts[document], length, document


def pack_best_fit(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The row of each piece under best-fit decreasing: longest first, into the tightest space.

    lengths: (n,) integers from 1 to `capacity` -> (n,) row numbers from 0.
    Rows with equal free space stand in one bucket, and all pieces of one length are placed at
    once: each row of the tightest bucket takes `space // length` of them (after the first piece
    that row is the tightest again). A million pieces take thousands of numpy steps, not millions.

    >>> pack_best_fit(np.array([5, 3, 6, 2, 4]), 8)   # 6+2, 5+3, 4
    array([1, 1, 0, 0, 2])
    """
    order = np.argsort(-lengths, kind="stable")
    counts = np.bincount(lengths, minlength=capacity + 1)
    rows = np.empty(len(lengths), dtype=np.int64)
    buckets: list[list[np.ndarray]] = [[] for _ in range(capacity + 1)]  # free space -> row numbers
    occupied = np.zeros(capacity + 1, dtype=np.bool_)
    occupied[capacity] = True  # there are always more empty rows
    n_rows = placed = 0
    for length in np.flatnonzero(counts)[::-1].tolist():
        end = placed + int(counts[length])
        while placed < end:
            space = length + int(occupied[length:].argmax())
            per_row = space // length
            needed = -(-(end - placed) // per_row)
            if space == capacity:
                taken = np.arange(n_rows, n_rows + needed)
                n_rows += needed
            else:
                available = np.concatenate(buckets[space])
                taken, rest = available[:needed], available[needed:]
                buckets[space] = [rest] if len(rest) else []
                occupied[space] = bool(len(rest))
            filled = np.repeat(taken, per_row)[: end - placed]
            rows[order[placed : placed + len(filled)]] = filled
            placed += len(filled)
            in_last = len(filled) - per_row * (len(taken) - 1)
            for used, changed in ((per_row, taken[:-1]), (in_last, taken[-1:])):
                if left := space - used * length:
                    buckets[left].append(changed)
                    occupied[left] |= bool(len(changed))
    return rows
