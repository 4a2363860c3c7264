"""Chats and preference pairs masked turn by turn: of cleaning, what is asked of them too.

Their rows hold JSON of what is said (`read.py`). Each turn's content is masked by itself, and so is
each reply of a pair; roles stay. A row in which nothing is found keeps its text byte for byte, and
each keeps its id. Rows are divided by their prompt behind this (`divide.py`), as masked: prompts
that differed in an address alone land on one side. Called by `clean.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundup.data.cleaning import CleaningConfig, mask_pii
from groundup.data.cleaning.stage import STAGE
from groundup.data.cleaning.stage import VERSION as CLEANING_VERSION
from groundup.data.engine import Engine, Job
from groundup.data.steps.divide import canonical
from groundup.data.steps.shard import RowsWriter, Shard
from groundup.data.table import rows_of

VERSION = 1


def mask_talk(engine: Engine, shards: Sequence[Shard], config: CleaningConfig) -> list[Shard]:
    """Shards of chats and pairs, masked; the same shards where `config.pii` is off."""
    assert all(shard.kind != "documents" for shard in shards), "the text of these is no JSON"
    if config.pii == "off":
        return list(shards)
    jobs = [
        Job(
            STAGE,
            VERSION,
            mask_shard,
            (shard.artefact,),
            {"version": CLEANING_VERSION, "pii": config.pii, "file": shard.file},
        )
        for shard in shards
    ]
    made = engine.run(jobs, "mask")
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)]


def mask_shard(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the rows masked; a pair of which no difference is left goes."""
    masked: Counter[str] = Counter()
    with RowsWriter(folder, STAGE) as writer:
        for row in rows_of(inputs[0] / params["file"]):
            text, found = mask_said(row["text"])
            row = {**row, "text": text}
            if found and _is_equal(text):
                detail = "chosen and rejected are the same, masked"
                writer.remove(row, "equal_sides", detail=detail)
            else:
                masked.update(found)
                writer.keep(row)
    return {**writer.tally.counts(), "masked": dict(sorted(masked.items()))}


def mask_said(text: str) -> tuple[str, Counter[str]]:
    """A chat's or a pair's JSON with what is said in it masked, and how many of each kind.

    >>> mask_said('{"messages":[{"content":"I am ann@firm.de","role":"user"}]}')
    ('{"messages":[{"content":"I am <EMAIL>","role":"user"}]}', Counter({'email': 1}))
    """
    said = json.loads(text)
    masked: Counter[str] = Counter()
    turns = said.get("messages", said.get("prompt", []))
    sides = [side for side in ("chosen", "rejected") if side in said]
    for holder, name in [*((turn, "content") for turn in turns), *((said, side) for side in sides)]:
        holder[name], found = mask_pii(holder[name])
        masked.update(found)
    return (canonical(said), masked) if masked else (text, masked)


def _is_equal(text: str) -> bool:
    said = json.loads(text)
    return "chosen" in said and said["chosen"] == said["rejected"]
