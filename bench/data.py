"""Preparing data: speed beside datatrove's, throughput stage by stage, memory while text grows.

    python bench/data.py --data FOLDER [FOLDER...] --json FILE [--parts dedup rules prepare memory]

dedup: near-duplicate removal and rensa's signatures, as `data_dedup.py` says. rules: the quality
rules, as `data_rules.py` says. Both on one core, in CPU seconds, beside datatrove on the same
documents; the sides take turns, and the figures are medians. Planted copies must be found by every
side, and the rules of both sides must agree, or the run ends with an error.

prepare: what `groundup data prepare` does with all text under the folders (every rule measured and
those on repetition judging, duplicates, division, tokens of a vocabulary of 32,768 that was trained
on the same text before), from raw files to token shards, with two processes and with one, which
take turns. Wall seconds of each stage; megabytes of raw text by all of them are the throughput.

memory: the same on made-up text of two sizes, the second ten times the first. The figure is the
most that all processes held together at one time, what they share counted once. The text is that
of the folders over and over, each time with other words in the places of its rarer words, in
documents of a page, so that neither its words nor its documents are all known.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import data_dedup
import data_rules
from tokenizer import VOCAB_SIZE, proportional_bytes

from groundup.data.config import DataConfig
from groundup.data.executors import ExecutorConfig, open_executor
from groundup.data.prepare import TokenizerChoice, prepare
from groundup.runtime import machine_description, write_json
from groundup.tokenizer import TokenizerConfig, train_tokenizer_on_files
from groundup.tokenizer.counts import shards_of

PARTS = ("dedup", "rules", "prepare", "memory")
ENDINGS = data_dedup.ENDINGS
SETTINGS = {"cleaning": {"preset": "light"}}
FIRST_MEGABYTES = 20  # of the smaller text whose memory is measured
PAGE_CHARACTERS = 5_000
FAMILIAR_WORDS = 150  # the commonest words are let be: the rules ask for them
BLOCK_WORDS = 64  # words change places with others about as common
WATCH_S = 0.1


def texts_under(folders: Sequence[Path]) -> list[Path]:
    """The files of text below some folders."""
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in ENDINGS and path.is_file()
    )


# --- one preparation, in a process of its own -----------------------------------------------------


class Timed:
    """An executor whose wall seconds are noted, stage by stage."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.seconds: Counter[str] = Counter()

    def run(self, calls: Sequence[Any], on_done: Callable[[int], None]) -> list[Any]:
        started = time.perf_counter()
        try:
            return self.executor.run(calls, on_done)
        finally:
            if calls:
                stage = calls[0].args[0].stage
                self.seconds[stage] += time.perf_counter() - started

    def __enter__(self) -> Timed:
        self.executor.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.executor.__exit__(*exception)


def prepare_once(task: dict[str, Any]) -> dict[str, Any]:
    """Prepare what a task names, and say how long it took and what memory it took."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_S):
            peak[0] = max(peak[0], proportional_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    if task["watch"]:
        watcher.start()
    config = DataConfig(sources=tuple({"path": path} for path in task["sources"]), **SETTINGS)
    name = "serial" if task["n_workers"] == 1 else "processes"
    workers = None if name == "serial" else task["n_workers"]
    started = time.perf_counter()
    with Timed(open_executor(ExecutorConfig(name=name, n_workers=workers))) as executor:
        counts = prepare(
            config,
            Path(task["out"]),
            executor=executor,
            tokenizer=TokenizerChoice(path=Path(task["tokenizer"])),
        )
    seconds = time.perf_counter() - started
    done.set()
    stages = {stage: round(spent, 3) for stage, spent in executor.seconds.items()}
    manifest = json.loads((Path(task["out"]) / "manifest.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(seconds, 2),
        "stages_s": {**stages, "all else": round(seconds - sum(stages.values()), 3)},
        "raw_megabytes": round(sum(source["bytes"] for source in manifest["sources"]) / 1e6, 2),
        "documents": manifest["stages"][0]["documents_out"],
        "tokens": counts["tokens"],
        "dropped": {stage["name"]: stage["dropped"] for stage in manifest["stages"]},
        "fingerprint": counts["fingerprint"],
        "peak_megabytes": round(peak[0] / 1e6, 1),
    }


def in_a_process(
    sources: Sequence[Path], tokenizer: Path, n_workers: int, *, watch: bool = False
) -> dict[str, Any]:
    """`prepare_once` in a new process and a new folder."""
    with tempfile.TemporaryDirectory() as out:
        task = {
            "sources": [str(path.resolve()) for path in sources],
            "tokenizer": str(tokenizer),
            "n_workers": n_workers,
            "out": f"{out}/data",
            "watch": watch,
        }
        done = subprocess.run(
            [sys.executable, __file__, "--task", json.dumps(task)],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def train(paths: Sequence[Path], folder: Path) -> float:
    """Train the tokenizer that is given to each preparation; the seconds it took."""
    started = time.perf_counter()
    config = TokenizerConfig(vocab_size=VOCAB_SIZE)
    shards = shards_of(paths, config.counting)
    train_tokenizer_on_files(shards, config, folder=folder / "counts").save(folder / "tokenizer")
    return time.perf_counter() - started


# --- the comparisons ------------------------------------------------------------------------------


def measure_prepare(folders: Sequence[Path], tokenizer: Path, rounds: int) -> dict[str, Any]:
    """Throughput with two processes and with one; both must make the same data."""
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    in_a_process(folders, tokenizer, 2)  # what is compiled lies on disk from now on
    for number in range(rounds):
        for n_workers in (1, 2) if number % 2 else (2, 1):
            found[n_workers].append(in_a_process(folders, tokenizer, n_workers))
    made = {run["fingerprint"] for runs in found.values() for run in runs}
    assert len(made) == 1, f"other data: {made}"
    first = found[1][0]
    return {
        **{name: first[name] for name in ("raw_megabytes", "documents", "tokens", "dropped")},
        "rounds": rounds,
        **{f"{n}_processes": summary(runs) for n, runs in found.items()},
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of runs on the same text."""
    seconds = statistics.median(run["seconds"] for run in runs)
    return {
        "megabytes_per_s": round(runs[0]["raw_megabytes"] / seconds, 2),
        "seconds": [run["seconds"] for run in runs],
        "stages_s": {
            stage: round(statistics.median(run["stages_s"].get(stage, 0.0) for run in runs), 2)
            for stage in runs[0]["stages_s"]
        },
    }


def measure_memory(folders: Sequence[Path], tokenizer: Path) -> dict[str, Any]:
    """The most memory of all processes together, on made-up text and on ten times as much."""
    found: dict[str, Any] = {}
    pages = read_pages(folders)
    for megabytes in (FIRST_MEGABYTES, 10 * FIRST_MEGABYTES):
        with tempfile.TemporaryDirectory() as place:
            write_varied(pages, Path(place), megabytes * 1_000_000)
            halves = sorted(Path(place).iterdir())
            run = in_a_process(halves, tokenizer, 2, watch=True)
        found[f"{megabytes}_megabytes"] = {
            name: run[name]
            for name in ("raw_megabytes", "documents", "seconds", "peak_megabytes", "dropped")
        }
    return found


def read_pages(folders: Sequence[Path]) -> list[str]:
    """All text below some folders in documents of about a page."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in texts_under(folders)]
    return [
        text[start : start + PAGE_CHARACTERS]
        for text in texts
        for start in range(0, len(text), PAGE_CHARACTERS)
    ]


_WORD = re.compile(r"[a-z]+")


def write_varied(pages: Sequence[str], folder: Path, n_bytes: int) -> None:
    """The pages over and over with other words each time: FOLDER/0 and /1 with rows of JSON.

    In two folders, so that two processes have something to do however little there is.
    """
    common = Counter(word for page in pages[::4] for word in _WORD.findall(page)).most_common()
    words = [word for word, _ in common[FAMILIAR_WORDS:]]
    sides = [folder / "0" / "pages.jsonl", folder / "1" / "pages.jsonl"]
    for side in sides:
        side.parent.mkdir()
    files = [side.open("w", encoding="utf-8") for side in sides]
    size = 0
    for number, text in enumerate(varied(pages, words)):
        line = json.dumps({"text": text}, ensure_ascii=False) + "\n"
        size += len(line.encode())
        files[number % 2].write(line)
        if size >= n_bytes:
            break
    for file in files:
        file.close()


def varied(pages: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """The pages without end; each time round, words change places with others about as common."""
    chooser = random.Random(0)
    while True:
        others: dict[str, str] = {}
        for start in range(0, len(words), BLOCK_WORDS):
            block = words[start : start + BLOCK_WORDS]
            others.update(zip(block, chooser.sample(block, len(block)), strict=True))
        for page in pages:
            yield _WORD.sub(lambda word, others=others: others.get(word[0], word[0]), page)


def figures_of(result: dict[str, Any]) -> dict[str, Any]:
    """The figures in the form all benches share."""
    found: dict[str, Any] = {}
    if "dedup" in result:
        found |= data_dedup.figures_of(result["dedup"])
    if "rules" in result:
        found |= result["rules"]["figures"]
    if "prepare" in result:
        for n in (1, 2):
            found[f"prepare_{n}_processes"] = {
                "ours": result["prepare"][f"{n}_processes"]["megabytes_per_s"],
                "peer": None,
                "peer_name": None,
                "unit": "MB of raw text per second, to token shards",
                "ratio": None,
                "rounds": result["prepare"]["rounds"],
            }
    if "memory" in result:
        first, second = (run["peak_megabytes"] for run in result["memory"].values())
        found["memory_of_ten_times_the_text"] = {
            "ours": second,
            "peer": first,
            "peer_name": "ours on a tenth of it",
            "unit": "MB at most, all processes together",
            "ratio": round(first / second, 2),
            "rounds": 1,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, nargs="+", help="folders of text")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=2, help="beside datatrove")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task is not None:
        print(json.dumps(prepare_once(given.task)))
        return
    if not given.data:
        parser.error("--data is needed: folders of text")
    started = time.perf_counter()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text"  # one folder of all
        for number, folder in enumerate(given.data):
            for path in texts_under([folder]):
                to = text / str(number) / path.relative_to(folder)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
        sources = sorted(text.iterdir())
        if "dedup" in given.parts:
            result["dedup"] = data_dedup.measure_speed(text, given.megabytes, given.rounds)
        if "rules" in given.parts:
            result["rules"] = data_rules.measure(text, given.rounds, given.megabytes)
        if {"prepare", "memory"} & set(given.parts):
            result["tokenizer_training_s"] = round(train(texts_under([text]), Path(scratch)), 1)
        tokenizer = Path(scratch) / "tokenizer"
        if "prepare" in given.parts:
            result["prepare"] = measure_prepare(sources, tokenizer, given.rounds)
            print(json.dumps(result["prepare"]), flush=True)
        if "memory" in given.parts:
            result["memory"] = measure_memory(sources, tokenizer)
            print(json.dumps(result["memory"]), flush=True)
    result = {
        "machine": machine_description(),
        "date": datetime.date.today().isoformat(),
        "commit": data_rules.commit(),
        "command": " ".join(["python", *sys.argv]),
        "seconds": round(time.perf_counter() - started),
        "figures": figures_of(result),
        "details": result,
    }
    print(json.dumps(result["figures"], indent=2))
    if given.json:
        write_json(given.json, result)


if __name__ == "__main__":
    main()
