"""What the last stages made, put together as the folder that training and people read.

    documents/{train,heldout}-00000.parquet   chats/, preferences/{train,heldout}.jsonl
    removed/STAGE-00000.parquet               tokens/{train-SOURCE,heldout}/   tokenizer/

Files are given a second name where the disk can do that, so nothing lies there twice. Each folder
appears whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundup.data.engine import Artefact
from groundup.data.link import link_or_copy
from groundup.data.split import SPLITS
from groundup.data.steps.shard import KINDS, Shard
from groundup.data.steps.tokenize import join_token_shards
from groundup.data.table import n_rows_of, rows_of
from groundup.runtime import new_folder

EXAMPLES_PER_REASON = 3
_BLOCK_BYTES = 1 << 20


def publish(out: Path, shards: Sequence[Shard], removed: Mapping[str, Sequence[Path]]) -> None:
    """Write documents/, chats/, preferences/ and removed/."""
    with new_folder(out / "documents") as folder:
        for split in SPLITS:
            files = [
                shard.artefact.path(name)
                for shard in shards
                if shard.kind == "documents"
                for name in sorted(shard.artefact.files)
                if name.startswith(f"{split}-")
            ]
            for number, file in enumerate(files):
                link_or_copy(file, folder / f"{split}-{number:05d}.parquet")
    for kind in KINDS[1:]:
        with new_folder(out / kind) as folder:
            for split in SPLITS:
                files = [
                    shard.artefact.path(f"{split}.jsonl") for shard in shards if shard.kind == kind
                ]
                _concatenate(files, folder / f"{split}.jsonl")
    with new_folder(out / "removed") as folder:
        for stage, told in removed.items():
            for number, file in enumerate([file for file in told if n_rows_of(file)]):
                link_or_copy(file, folder / f"{stage}-{number:05d}.parquet")


def publish_tokens(
    out: Path, tokenizer: Artefact | None, tokens: Mapping[str, Sequence[Artefact]]
) -> None:
    """Write tokens/ and tokenizer/, or take away those of an earlier run."""
    if tokenizer is None:
        for name in ("tokens", "tokenizer"):
            shutil.rmtree(out / name, ignore_errors=True)
        return
    with new_folder(out / "tokenizer") as folder:
        for name in tokenizer.files:
            link_or_copy(tokenizer.path(name), folder / name)
    with new_folder(out / "tokens") as folder:
        for place, artefacts in tokens.items():
            join_token_shards(artefacts, folder / place)


def removed_by_reason(removed: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, Any]]:
    """For each reason how many rows went, at which stage, and a few examples."""
    found: dict[str, dict[str, Any]] = {}
    for stage, files in removed.items():
        for file in files:
            for row in rows_of(file, ["id", "reason", "detail"]):
                entry = found.setdefault(row["reason"], {"n": 0, "stage": stage, "examples": []})
                entry["n"] += 1
                if len(entry["examples"]) < EXAMPLES_PER_REASON:
                    entry["examples"].append(f"{row['id']}: {row['detail']}")
    return dict(sorted(found.items()))


def _concatenate(files: Sequence[Path], out: Path) -> None:
    with out.open("wb") as to:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, to, _BLOCK_BYTES)
