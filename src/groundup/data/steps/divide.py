"""Long documents are cut, and rows divided between training and held-out, by the text alone.

Which rows are held out follows from their hashes (`data/split.py`). Where a collection is so small
that too few hashes lie below the fraction, the smallest ones are held out: a first job for each
shard finds its smallest hashes, and the second divides.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from groundup.data.engine import Engine, Job
from groundup.data.split import HASH_RANGE, SPLITS, Split, content_hash, cut_text
from groundup.data.steps.shard import Shard, Tally, n_bytes_of
from groundup.data.table import FilesWriter, rows_of

VERSION = 2  # 2: chats and pairs keep their licence


def divide(
    engine: Engine,
    shards: Sequence[Shard],
    *,
    fraction: float,
    minimum: int,
    limit_bytes: int | None,
) -> list[Shard]:
    """The same shards, each an artefact with the files of both splits."""
    params = {"fraction": fraction, "minimum": minimum, "limit_bytes": limit_bytes}
    scans = engine.run(
        [
            Job(
                "scan",
                VERSION,
                scan_shard,
                (shard.artefact,),
                {**params, "file": shard.file, "kind": shard.kind},
            )
            for shard in shards
        ],
        "look at sizes",
    )
    held_back: dict[str, list[int]] = {}
    for kind in {shard.kind for shard in shards}:
        of_kind = [scan.counts for scan, s in zip(scans, shards, strict=True) if s.kind == kind]
        held_back[kind] = also_heldout(of_kind, minimum)
    jobs = [
        Job(
            "divide",
            VERSION,
            divide_shard,
            (shard.artefact,),
            {**params, "file": shard.file, "kind": shard.kind, "also": held_back[shard.kind]},
        )
        for shard in shards
    ]
    made = engine.run(jobs, "divide")
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)]


def scan_shard(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """How many rows are held out by their hash, and the smallest hashes of those that are not."""
    limit = params["fraction"] * HASH_RANGE
    n_rows = n_heldout = 0
    smallest: dict[int, int] = {}
    for row in _pieces(inputs[0] / params["file"], params["limit_bytes"], params["kind"]):
        number = _number(row, params["kind"])
        n_rows += 1
        if number < limit:
            n_heldout += 1
            continue
        smallest[number] = smallest.get(number, 0) + 1
        if len(smallest) > 4 * params["minimum"] + 64:
            smallest = _smallest(smallest, params["minimum"])
    kept = _smallest(smallest, params["minimum"])
    return {"n": n_rows, "n_heldout": n_heldout, "smallest": sorted(kept.items())}


def _smallest(numbers: dict[int, int], n: int) -> dict[int, int]:
    return {number: numbers[number] for number in heapq.nsmallest(n, numbers)}


def also_heldout(scans: Sequence[Any], minimum: int) -> list[int]:
    """Hashes beyond the fraction that are held out too, so that there are `minimum` rows.

    At least one row stays in training.

    >>> also_heldout([{"n": 5, "n_heldout": 0, "smallest": [[70, 1], [90, 2]]}], 1)
    [70]
    >>> also_heldout([{"n": 5, "n_heldout": 1, "smallest": [[70, 1]]}], 1)
    []
    """
    n_rows, n_heldout = (sum(scan[name] for scan in scans) for name in ("n", "n_heldout"))
    numbers: dict[int, int] = {}
    for scan in scans:
        for number, n in scan["smallest"]:
            numbers[number] = numbers.get(number, 0) + n
    also: list[int] = []
    for number in sorted(numbers):
        if n_heldout >= minimum or n_heldout + numbers[number] >= n_rows:
            break
        also.append(number)
        n_heldout += numbers[number]
    return also


def divide_shard(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the rows of each split: documents as Parquet, chats and pairs as lines of JSON."""
    kind = params["kind"]
    limit, also = params["fraction"] * HASH_RANGE, set(params["also"])
    total = Tally()
    splits = {split: Tally() for split in SPLITS}
    writers = {split: _SplitWriter(folder, split, kind) for split in SPLITS}
    for row in _pieces(inputs[0] / params["file"], params["limit_bytes"], kind):
        number = _number(row, kind)
        split: Split = "heldout" if number < limit or number in also else "train"
        writers[split].add(row)
        splits[split].went(_text_of(row, kind))
        total.went(row["text"])
    for writer in writers.values():
        writer.close()
    return {**total.counts(), "splits": {split: splits[split].counts()["out"] for split in SPLITS}}


class _SplitWriter:
    """The rows of one split of one shard."""

    def __init__(self, folder: Path, split: Split, kind: str) -> None:
        self._parquet = FilesWriter(folder, split) if kind == "documents" else None
        self._lines = None if self._parquet else (folder / f"{split}.jsonl").open(
            "w", encoding="utf-8", newline="\n"
        )  # fmt: skip

    def add(self, row: dict[str, Any]) -> None:
        if self._parquet is not None:
            self._parquet.add(row)
        if self._lines is not None:
            line = {name: row[name] for name in ("id", "source", "licence") if row.get(name)}
            line |= json.loads(row["text"])
            self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        for file in (self._parquet, self._lines):
            if file is not None:
                file.close()


def _pieces(path: Path, limit_bytes: int | None, kind: str) -> Iterator[dict[str, Any]]:
    """The rows, long documents in pieces with ".<piece>" behind their ids."""
    for row in rows_of(path):
        if kind != "documents" or limit_bytes is None or n_bytes_of(row["text"]) <= limit_bytes:
            yield row
            continue
        for n, piece in enumerate(cut_text(row["text"], limit_bytes)):
            yield {**row, "id": f"{row['id']}.{n}", "text": piece}


def _number(row: dict[str, Any], kind: str) -> int:
    """The hash that decides. Pairs are divided by their prompt, so that none is on both sides."""
    text = row["text"]
    if kind != "documents":
        turns = json.loads(text)["prompt" if kind == "preferences" else "messages"]
        text = canonical(turns)
    return int.from_bytes(content_hash(text), "big") % HASH_RANGE


def canonical(value: Any) -> str:
    """A value as JSON, the same for equal values.

    >>> canonical({"b": 1, "a": "é"})
    '{"a":"é","b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _text_of(row: dict[str, Any], kind: str) -> str:
    """What is said in a row, without the names of roles."""
    if kind == "documents":
        return str(row["text"])
    return spoken(row["text"])


def spoken(text: str, between: str = "") -> str:
    """What is said in a chat's or a pair's JSON, one turn after the other.

    >>> spoken('{"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"}')
    'abc'
    """
    row = json.loads(text)
    turns = [turn["content"] for turn in row.get("messages", row.get("prompt", []))]
    return between.join([*turns, *(row[side] for side in ("chosen", "rejected") if side in row)])
