"""Tokenizer speed and memory: ours beside Hugging Face tokenizers and tiktoken.

    python bench/tokenizer.py --data FOLDER --json FILE [--rounds 5] [--large-gb 2]

Training learns byte-pair encoding of 32,768 tokens with Qwen2's pattern from all text under FOLDER;
both sides find the same merges, which is checked. Encoding turns the same documents into lists of
ids by the vocabulary that was learnt; equal ids are checked too. The sides take turns in one
process, and the figures are medians over the rounds, once on all CPUs and once on one. Compiling
our kernels, which is done once a machine, is reported by itself. Hugging Face's side is given
`encode_batch_fast`, which leaves out offsets.

With `--large-gb` a text of that size is trained on as well, and the memory of all processes taken.
It is the folder's text over and over, with other letters each time, so that its words are new too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundup.runtime import machine_description, write_json
from groundup.tokenizer import PATTERNS, Tokenizer, TokenizerConfig, train_tokenizer

VOCAB_SIZE = 32_768
N_BYTES = 256
DOCUMENT_CHARACTERS = 20_000
ENDINGS = (".txt", ".md", ".rst")


def read_documents(folder: Path) -> list[str]:
    """All text under a folder, in pieces of about a chapter."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file())
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    return [
        text[start : start + DOCUMENT_CHARACTERS]
        for text in texts
        for start in range(0, len(text), DOCUMENT_CHARACTERS)
    ]


# --- the sides ------------------------------------------------------------------------------------


def train_ours(texts: list[str]) -> Tokenizer:
    return train_tokenizer(texts, TokenizerConfig(vocab_size=VOCAB_SIZE))


def train_theirs(texts: list[str], n_merges: int) -> Any:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    learner = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERNS["qwen2"]), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_BYTES + n_merges,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return learner


def encoders(ours: Tokenizer, theirs: Any, n_cpus: int) -> dict[str, Callable[[Any], Any]]:
    """Each side's way from a batch of texts to lists of ids."""
    import tiktoken

    ranks = {ours.token_bytes(i): i for i in range(len(ours.model.pieces))}
    encoding = tiktoken.Encoding(
        "bench", pat_str=PATTERNS["qwen2"], mergeable_ranks=ranks, special_tokens={}
    )
    return {
        "ours": lambda texts: ours.encode_batch(texts, n_threads=n_cpus),
        "tokenizers": lambda texts: [
            found.ids for found in theirs.encode_batch_fast(texts, add_special_tokens=False)
        ],
        "tiktoken": lambda texts: encoding.encode_ordinary_batch(texts, num_threads=n_cpus),
    }


# --- the comparison -------------------------------------------------------------------------------


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """All figures on the CPUs that this process may use."""
    n_cpus = len(os.sched_getaffinity(0))
    texts = read_documents(folder)
    n_bytes = sum(len(text.encode()) for text in texts)
    started = time.perf_counter()
    small = train_tokenizer(texts[:1], TokenizerConfig(vocab_size=300))
    small.encode_batch(texts[:1])
    first_call_s = time.perf_counter() - started
    seconds: dict[str, list[float]] = {}
    n_merges = VOCAB_SIZE - N_BYTES - TokenizerConfig(vocab_size=VOCAB_SIZE).n_special

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        found = work()
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        return found

    for _ in range(rounds):
        ours = timed("train ours", lambda: train_ours(texts))
        theirs = timed("train tokenizers", lambda: train_theirs(texts, n_merges))
        vocab = theirs.get_vocab()
        assert all(vocab[ours.token_string(i)] == i for i in range(len(vocab))), "other merges"
    ids = {}
    sides = encoders(ours, theirs, n_cpus)
    for _ in range(2 * rounds):
        for name, encode in sides.items():
            ids[name] = timed(f"encode {name}", lambda encode=encode: encode(texts))
        assert ids["ours"] == ids["tokenizers"] == ids["tiktoken"], "other ids"
    n_tokens = sum(map(len, ids["ours"]))
    speeds = {name: n_bytes / statistics.median(times) / 1e6 for name, times in seconds.items()}
    return {
        "cpus": n_cpus,
        "text_megabytes": round(n_bytes / 1e6, 1),
        "documents": len(texts),
        "tokens": n_tokens,
        "first_call_s": round(first_call_s, 1),
        "megabytes_per_s": {name: round(speed, 2) for name, speed in speeds.items()},
        "seconds": {name: [round(t, 2) for t in times] for name, times in seconds.items()},
        "rounds": rounds,
    }


def figures_of(found: dict[str, Any]) -> dict[str, Any]:
    """The comparisons in the form all benches share."""
    speeds = found["megabytes_per_s"]
    pairs = [("train", "tokenizers"), ("encode", "tokenizers"), ("encode", "tiktoken")]
    return {
        f"{what}_vs_{peer}_{found['cpus']}_cpus": {
            "ours": speeds[f"{what} ours"],
            "peer": speeds[f"{what} {peer}"],
            "peer_name": peer,
            "unit": "MB/s",
            "ratio": round(speeds[f"{what} ours"] / speeds[f"{what} {peer}"], 2),
            "rounds": found["rounds"] * (1 if what == "train" else 2),
        }
        for what, peer in pairs
    }


# --- a text larger than memory --------------------------------------------------------------------


def write_large(texts: list[str], path: Path, n_bytes: int) -> None:
    """The texts over and over, each time with the small letters in another order."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    chooser = random.Random(0)
    size = 0
    with path.open("w", encoding="utf-8") as file:
        while size < n_bytes:
            table = str.maketrans(letters, "".join(chooser.sample(letters, len(letters))))
            for text in texts:
                size += len(text.encode())
                file.write(text.translate(table))
                if size >= n_bytes:
                    return


def train_large(path: Path, folder: Path) -> dict[str, Any]:
    """Train on one large file; the most memory that this process and its workers held together."""
    from groundup.tokenizer import train_tokenizer_on_files
    from groundup.tokenizer.counts import shards_of

    config = TokenizerConfig(vocab_size=VOCAB_SIZE)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], proportional_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    shards = shards_of([path], config.counting)
    tokenizer = train_tokenizer_on_files(shards, config, folder=folder)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return {
        "text_gigabytes": round(path.stat().st_size / 1e9, 2),
        "seconds": round(seconds, 1),
        "peak_gigabytes": round(peak[0] / 1e9, 2),
        "vocab_size": tokenizer.vocab_size,
    }


def proportional_bytes() -> int:
    """Memory of this process and its children, what they share counted once."""
    own = os.getpid()
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            if own in (parent, int(stat.parent.name)):
                rollup = (stat.parent / "smaps_rollup").read_text()
                total += 1024 * int(rollup.split("\nPss:")[1].split()[0])
        except (OSError, IndexError):
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="a folder of text")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large-gb", type=float, help="also train on a text of this size")
    parser.add_argument("--on", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.on:
        print(json.dumps(measure(options.data, options.rounds)))
        return
    figures: dict[str, Any] = {}
    details: dict[str, Any] = {}
    cpus = sorted(os.sched_getaffinity(0))
    for n in sorted({1, len(cpus)}, reverse=True):
        command = [sys.executable, __file__, "--data", str(options.data), "--on", str(n)]
        command += ["--rounds", str(options.rounds)]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(n), "TOKENIZERS_PARALLELISM": "true"}
        chosen = ",".join(map(str, cpus[:n]))
        found = subprocess.run(
            ["taskset", "-c", chosen, *command],
            env=environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        details[f"{n}_cpus"] = json.loads(found.stdout.splitlines()[-1])
        figures |= figures_of(details[f"{n}_cpus"])
        print(json.dumps(details[f"{n}_cpus"]["megabytes_per_s"]), flush=True)
    if options.large_gb:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "large.txt"
            write_large(read_documents(options.data), path, round(options.large_gb * 1e9))
            details["large"] = train_large(path, Path(scratch) / "counts")
        print(json.dumps(details["large"]), flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "machine": machine_description(),
        "commit": commit,
        "figures": figures,
        "details": details,
    }
    print(json.dumps(result["figures"], indent=2))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
