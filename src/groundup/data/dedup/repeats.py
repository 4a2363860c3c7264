"""Stretches of text that stand in several documents, found by their hashes.

`lines.py` and `substrings.py` write a PLACE for each stretch they look at; here those with equal
128-bit hashes meet, and it is decided which are cut. Called for each partition of the hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groundup.data.dedup.config import LinesConfig, SubstringsConfig
from groundup.data.dedup.keys import read_partition, run_starts, write_array
from groundup.data.dedup.words import STEP, mix
from groundup.tokenizer.compiled.jit import kernel

# The stretch from `start` to before `end` of a text's bytes, its hash, and the hash of the text.
PLACE = np.dtype(
    [
        ("key", "<u8"),
        ("check", "<u8"),
        ("content", "<u8"),
        ("row", "<u4"),
        ("start", "<u8"),
        ("end", "<u8"),
    ]
)
SPAN = np.dtype([("document", "<u8"), ("start", "<u8"), ("end", "<u8")])


def match_repeats(
    found: Sequence[Path],
    partition: int,
    n_partitions: int,
    config: LinesConfig | SubstringsConfig,
    out: Path,
) -> dict[str, int]:
    """Write the spans of one range of hashes that are to be cut, sorted: spans.bin of SPAN.

    found: the folders of `find_lines` or `find_windows`, in the order of the shards. A stretch in
    enough documents is left in the one whose text has the smallest hash, so in the same one
    whatever the order of the shards, and with all of a text's stretches in the same order.
    """
    match config:
        case LinesConfig():
            least, keep_one = config.min_documents, config.keep_one
        case SubstringsConfig():
            least, keep_one = 2, True
    places, documents = read_partition(found, partition, n_partitions, PLACE)
    order = np.lexsort((documents, places["content"], places["check"], places["key"]))
    places, documents = places[order], documents[order]
    key, check = places["key"], places["check"]
    starts = run_starts(key, check)
    run = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    new_document = np.zeros(len(places), dtype=bool)
    new_document[run_starts(key, check, places["content"], documents)[:-1]] = True
    n_documents = np.add.reduceat(new_document, starts[:-1]) if len(places) else np.empty(0)
    cut = n_documents[run] >= least if len(places) else np.empty(0, dtype=bool)
    if keep_one:
        cut &= documents != documents[starts[:-1]][run]
    spans = np.empty(int(np.count_nonzero(cut)), dtype=SPAN)
    spans["document"] = documents[cut]
    for name in ("start", "end"):
        spans[name] = places[name][cut]
    spans = spans[np.lexsort((spans["end"], spans["start"], spans["document"]))]
    write_array(out / "spans.bin", spans)
    return {"repeated": int(np.count_nonzero(n_documents >= least)), "spans": len(spans)}


@kernel
def hash_bytes(data: np.ndarray, start: int, stop: int, seed: np.uint64) -> np.uint64:
    """A 64-bit hash of data[start:stop]; two seeds together give 128 bits."""
    value = mix(seed ^ (np.uint64(stop - start) * STEP))
    at = start
    while at < stop:
        word = np.uint64(0)
        for i in range(at, min(at + 8, stop)):
            word = (word << np.uint64(8)) | np.uint64(data[i])
        value = mix(value ^ word) * STEP + seed
        at += 8
    return mix(value)
