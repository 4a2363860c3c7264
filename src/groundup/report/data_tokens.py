"""Tokens of prepared data: how many there are of each source, and what packing them would cost.

Part of what the page tells; called by `data_facts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundup.data.pack import Packing, plan_rows
from groundup.data.shards import TokenShards

SEQ_LENS = (256, 512, 1024, 2048, 4096)
PACKINGS: tuple[Packing, ...] = ("best_fit", "concat", "bos_crop")
MOST_PLANNED = 1_000_000  # documents that are packed for the page
_ROWS_WANTED = 4  # fewer rows say nothing of a length


@dataclass(frozen=True)
class Packed:
    """What a way of packing does with the training documents of all sources, each by itself.

    padding_share: of the places in rows, those without a token
    unseen_share: of the tokens, those that no row holds
    cut_share: of the documents, those that do not stand in one row from end to end
    """

    seq_len: int
    packing: Packing
    n_rows: int
    padding_share: float
    unseen_share: float
    cut_share: float


def token_shards(folder: Path) -> dict[str, TokenShards]:
    """The training tokens of each source of prepared data, where there are some.

    folder: the prepared folder; those that a run trained on lie with its pretraining.
    """
    trained_on = folder.parent / "pretrain" / "tokens"
    is_of_run = (folder.parent / "run.json").is_file() and trained_on.is_dir()
    tokens = trained_on if is_of_run else folder / "tokens"
    found = {}
    for place in sorted(tokens.glob("train-*")):
        if place.is_dir():
            found[place.name.removeprefix("train-")] = TokenShards.open(place)
    return found


def packings(shards: Mapping[str, TokenShards]) -> tuple[list[Packed], str]:
    """Each way of packing at each length of rows that makes sense, and a word if there is none."""
    if not shards:
        return [], "There are no tokens yet, so nothing was packed."
    if sum(one.n_documents for one in shards.values()) > MOST_PLANNED:
        return [], f"More than {MOST_PLANNED:,} documents; their rows are laid when they train."
    n_tokens = sum(one.n_tokens for one in shards.values())
    found = [
        pack(shards, seq_len, packing)
        for seq_len in SEQ_LENS
        if n_tokens >= _ROWS_WANTED * seq_len
        for packing in PACKINGS
    ]
    return found, "" if found else f"{n_tokens:,} tokens are too few to fill rows."


def pack(shards: Mapping[str, TokenShards], seq_len: int, packing: Packing) -> Packed:
    """What one way of packing does at one length of rows."""
    n_rows = n_tokens = n_unseen = n_cut = n_documents = 0
    for one in shards.values():
        if not one.n_documents:
            continue
        plan = plan_rows(one, seq_len, packing)
        n_spans = np.bincount(plan.span_document.astype(np.int64), minlength=one.n_documents)
        seen = np.bincount(
            plan.span_document.astype(np.int64), plan.span_length, minlength=one.n_documents
        )
        n_rows += plan.n_rows
        n_tokens += plan.n_tokens
        n_unseen += plan.n_cropped
        n_cut += int(((n_spans != 1) | (seen < one.document_lengths)).sum())
        n_documents += one.n_documents
    return Packed(
        seq_len,
        packing,
        n_rows,
        1 - n_tokens / max(n_rows * seq_len, 1),
        n_unseen / max(n_unseen + n_tokens, 1),
        n_cut / max(n_documents, 1),
    )
