"""Near-duplicate removal: speed per core beside datatrove's, and memory while the corpus grows.

    python bench/data_dedup.py --data FOLDER --json FILE [--rounds 3] [--megabytes 8] [--memory]

Speed: the text under FOLDER in pieces of about 5,000 characters, each twentieth once more with a
word in 100 changed. Ours goes from a Parquet file to Parquet files, everything on disk and every
edge verified. datatrove's four steps (signature, buckets, cluster, filter; its defaults of 14 bands
of 8) are handed the documents in memory and their results are thrown away. Both run on one core;
the figures are CPU seconds, medians over rounds in which the sides take turns. datatrove is timed
with its own word tokenizer for English (spaCy), if that is installed, and with `str.split` in its
place. Of the planted copies each side must find 95%. rensa makes signatures alone, of shingles that
are handed to it ready made.

Memory (`--memory`): the peak resident size of a process that removes near duplicates from synthetic
documents, and of one that has ten times as many.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from groundup.data.dedup import NearConfig, deduplicate_near
from groundup.data.dedup.signatures import sign_texts
from groundup.data.dedup.texts import as_texts
from groundup.data.dedup.words import shingles_of
from groundup.data.table import TableWriter, documents_table, rows_of
from groundup.runtime import generator, machine_description, peak_memory_bytes, write_json

DOCUMENT_CHARACTERS = 5_000
COPY_EVERY = 20
CHANGE_EVERY = 100  # words
ENDINGS = (".txt", ".md", ".rst")
FIRST_MEGABYTES = 12  # of the smaller corpus of the comparison of memory
SHARD_DOCUMENTS = 1_000
DOCUMENT_WORDS = 300


def read_documents(folder: Path, n_bytes: int) -> dict[str, str]:
    """Documents by id, spread evenly over all text under a folder, with copies `ID+`."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file())
    pieces: list[str] = []
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        starts = range(0, len(text), DOCUMENT_CHARACTERS)
        pieces += [text[start : start + DOCUMENT_CHARACTERS] for start in starts]
    documents: dict[str, str] = {}
    for number, piece in enumerate(pieces[:: max(sum(map(len, pieces)) // n_bytes, 1)]):
        documents[f"bench/{number:06d}"] = piece
        if number % COPY_EVERY == 0 and len(piece.split()) > 2 * CHANGE_EVERY:
            documents[f"bench/{number:06d}+"] = changed(piece)
    return documents


def changed(text: str) -> str:
    """A text with a word in CHANGE_EVERY replaced."""
    words = text.split(" ")
    return " ".join("changed" if i % CHANGE_EVERY == 50 else word for i, word in enumerate(words))


# --- the sides ------------------------------------------------------------------------------------


def ours(shard: Path, folder: Path) -> set[str]:
    """The ids that ours drops."""
    [kept] = deduplicate_near([shard], NearConfig(), folder)
    return {row["id"] for row in rows_of(kept.parent / "removed.parquet", ["id"])}


class SplitWords:
    """Words by `str.split`, in the place of datatrove's tokenizer."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def theirs(documents: dict[str, str], folder: Path, tokenizer: Any) -> set[str]:
    """The ids that datatrove drops."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash
    from datatrove.utils.logging import logger

    logger.remove()
    config = minhash.MinhashConfig()
    names = list(documents)
    rows = [Document(text=text, id=name) for name, text in documents.items()]
    signature = _signature_step(minhash, folder / "signatures", config, tokenizer)
    try:
        signature._hash_func("text")
    except TypeError:  # xxhash 4 hashes bytes alone, and datatrove 0.10 hands it strings
        of_bytes = signature._hash_func
        signature._hash_func = lambda text: of_bytes(text.encode())
    signature.run(iter(rows), rank=0, world_size=1)
    buckets = minhash.MinhashDedupBuckets(
        str(folder / "signatures"), str(folder / "buckets"), config=config
    )
    for rank in range(config.num_buckets):
        buckets.run(rank=rank, world_size=config.num_buckets)
    minhash.MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config=config).run(
        None, 0, world_size=1
    )
    step = minhash.MinhashDedupFilter(str(folder / "remove"))
    kept = {document.id for document in step.run(iter(rows), rank=0, world_size=1)}
    return set(names) - kept


def _signature_step(module: Any, folder: Path, config: Any, tokenizer: Any) -> Any:
    if tokenizer is None:
        return module.MinhashDedupSignature(str(folder), config=config, language="eng")
    load = module.load_word_tokenizer
    module.load_word_tokenizer = lambda language: tokenizer
    try:
        return module.MinhashDedupSignature(str(folder), config=config)
    finally:
        module.load_word_tokenizer = load


# --- the comparisons ------------------------------------------------------------------------------


def measure_speed(folder: Path, megabytes: float, rounds: int) -> dict[str, Any]:
    """Megabytes of text per CPU second of each side, on the same documents in the same process."""
    documents = read_documents(folder, int(megabytes * 1e6))
    n_bytes = sum(len(text.encode()) for text in documents.values())
    copies = {name for name in documents if name.endswith("+")}
    seconds: dict[str, list[float]] = {}
    found: dict[str, float] = {}
    n_dropped: dict[str, int] = {}

    def timed(name: str, work: Callable[[Path], Any]) -> Any:
        with tempfile.TemporaryDirectory() as place:
            started = time.process_time()
            result = work(Path(place))
            seconds.setdefault(name, []).append(time.process_time() - started)
        return result

    with tempfile.TemporaryDirectory() as place:
        shard = Path(place) / "shard.parquet"
        with TableWriter(shard) as writer:
            for name, text in documents.items():
                writer.add({"id": name, "source": "bench", "text": text})
        with tempfile.TemporaryDirectory() as warm:
            ours(shard, Path(warm))  # compiles
        peers = peer_tokenizers()
        for _ in range(rounds):
            dropped = timed("ours", lambda folder: ours(shard, folder))
            found["ours"] = share_found(copies, dropped)
            n_dropped["ours"] = len(dropped)
            for name, tokenizer in peers.items():
                dropped = timed(
                    name, lambda folder, tokenizer=tokenizer: theirs(documents, folder, tokenizer)
                )
                found[name] = share_found(copies, dropped)
                n_dropped[name] = len(dropped)
    assert min(found.values()) >= 0.95, f"planted copies were missed: {found}"
    signatures = measure_signatures(list(documents.values()), rounds)
    return {
        "documents": len(documents),
        "text_megabytes": round(n_bytes / 1e6, 1),
        "planted_copies": len(copies),
        "share_found": {name: round(share, 4) for name, share in found.items()},
        "documents_dropped": n_dropped,
        "megabytes_per_cpu_s": {
            name: round(n_bytes / statistics.median(times) / 1e6, 2)
            for name, times in seconds.items()
        },
        "cpu_seconds": {name: [round(t, 3) for t in times] for name, times in seconds.items()},
        "shingles_per_us": signatures,
        "rounds": rounds,
    }


def share_found(copies: set[str], dropped: set[str]) -> float:
    """Of planted copies, those that are dropped, or whose original is."""
    return sum(name in dropped or name[:-1] in dropped for name in copies) / len(copies)


def peer_tokenizers() -> dict[str, Any]:
    """The ways in which datatrove is timed."""
    peers: dict[str, Any] = {"datatrove with str.split": SplitWords()}
    try:
        import spacy  # noqa: F401
    except ImportError:
        return peers
    return {"datatrove": None, **peers}


def measure_signatures(texts: list[str], rounds: int) -> dict[str, float]:
    """Shingles a microsecond from text to signature (ours), from shingles to signature (rensa)."""
    import pyarrow as pa

    config = NearConfig()
    column = pa.array(texts)
    sets = [shingles_of(text, config.shingle_words) for text in texts]
    n_shingles = sum(map(len, sets))
    times: dict[str, list[float]] = {"ours, words included": []}
    for _ in range(rounds):
        started = time.process_time()
        for chunk in as_texts(column):
            sign_texts(chunk, config)
        times["ours, words included"].append(time.process_time() - started)
        try:
            from rensa import RMinHash
        except ImportError:
            continue
        lists = [shingles.tolist() for shingles in sets]
        started = time.process_time()
        RMinHash.digest_matrix_from_token_hash_sets(lists, config.n_hashes, config.seed)
        times.setdefault("rensa, shingles given", []).append(time.process_time() - started)
    return {name: round(n_shingles / statistics.median(t) / 1e6, 2) for name, t in times.items()}


def measure_memory() -> dict[str, Any]:
    """Peak resident megabytes of processes on a corpus, on one ten times as large, and on none."""
    found: dict[str, Any] = {}
    for megabytes in (0, FIRST_MEGABYTES, 10 * FIRST_MEGABYTES):
        command = [sys.executable, __file__, "--synthetic", str(megabytes)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        found[f"{megabytes}_megabytes"] = json.loads(done.stdout)
    return found


def synthetic_run(megabytes: int) -> dict[str, float]:
    """Remove near duplicates from so much made-up text; in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        shards: list[Path] = []
        n_bytes = 0
        words = np.array([f"w{number:x}" for number in range(50_000)])
        while n_bytes < megabytes * 1e6 or not shards:
            draw = generator(0, "bench", len(shards))
            numbers = draw.integers(0, len(words), (SHARD_DOCUMENTS, DOCUMENT_WORDS))
            numbers[1::COPY_EVERY] = numbers[0::COPY_EVERY]
            numbers[1::COPY_EVERY, 100] = 0
            first = len(shards) * SHARD_DOCUMENTS
            rows = [
                {"id": f"s/{first + i:09d}", "source": "s", "text": " ".join(words[row])}
                for i, row in enumerate(numbers if megabytes else numbers[:1])
            ]
            n_bytes += sum(len(row["text"]) for row in rows)
            path = Path(place) / f"{len(shards):05d}.parquet"
            with TableWriter(path) as writer:
                writer.add_table(documents_table(rows))
            shards.append(path)
        before = peak_memory_bytes()
        started = time.process_time()
        kept = deduplicate_near(shards, NearConfig(), Path(place) / "near")
        seconds = time.process_time() - started
        n_removed = sum(1 for path in kept for _ in rows_of(path.parent / "removed.parquet"))
    return {
        "text_megabytes": round(n_bytes / 1e6, 1),
        "shards": len(shards),
        "removed": n_removed,
        "cpu_seconds": round(seconds, 1),
        "peak_before_megabytes": round(before / 1e6, 1),
        "peak_megabytes": round(peak_memory_bytes() / 1e6, 1),
    }


def figures_of(found: dict[str, Any]) -> dict[str, Any]:
    """The comparisons in the form all benches share."""
    speeds = found["megabytes_per_cpu_s"]
    return {
        f"near_dedup_vs_{name.replace(' ', '_')}": {
            "ours": speeds["ours"],
            "peer": speed,
            "peer_name": name,
            "unit": "MB per CPU second",
            "ratio": round(speeds["ours"] / speed, 2),
            "rounds": found["rounds"],
        }
        for name, speed in speeds.items()
        if name != "ours"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--synthetic", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.synthetic is not None:
        print(json.dumps(synthetic_run(given.synthetic)))
        return
    result: dict[str, Any] = {"machine": machine_description(), "figures": {}}
    if given.data:
        found = measure_speed(given.data, given.megabytes, given.rounds)
        result |= {"speed": found, "figures": figures_of(found)}
    if given.memory:
        result["memory"] = measure_memory()
    print(json.dumps(result, indent=2))
    if given.json:
        write_json(given.json, result)


if __name__ == "__main__":
    main()
