"""The runs of words of evaluation sets, by their hashes, in a folder.

Legend
    hashes     of the runs, sorted; a run that several texts have is there for each: (n,) uint64
    lengths    words of each run: (n,) uint8
    texts      the number of the text it is from: (n,) uint32
    positions  the word of that text it begins with: (n,) uint32
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from groundup.data.decontaminate.benchmarks import Item, items_of, named_files
from groundup.data.decontaminate.config import DecontaminationConfig
from groundup.data.dedup.keys import read_array, run_starts, write_array
from groundup.data.dedup.words import hash_runs, words_of
from groundup.runtime import read_json, write_json

RUN = np.dtype(
    [("hash", "<u8"), ("length", "<u1"), ("text", "<u4"), ("position", "<u4"), ("item", "<u4")]
)
_TEXT_SCHEMA = pa.schema([("benchmark", pa.string()), ("item", pa.int64()), ("text", pa.string())])
_BITS_PER_RUN = (
    16  # of the filter before the search: one place in sixteen or fewer passes by chance
)
_LEAST_BITS = 16


def build_index(config: DecontaminationConfig, out: Path) -> dict[str, Any]:
    """Write the index of the evaluation sets into the folder `out`; what it holds, by benchmark.

    out: runs.bin, texts.parquet, benchmarks.json. Raises DataError for a set that cannot be read,
    and for two of one name.
    """
    named_files(config)
    index = index_of((item for one in config.benchmarks for item in items_of(one)), config)
    write_array(out / "runs.bin", index.runs)
    rows = [dict(zip(_TEXT_SCHEMA.names, text, strict=True)) for text in index.texts]
    pq.write_table(pa.Table.from_pylist(rows, schema=_TEXT_SCHEMA), out / "texts.parquet")
    write_json(out / "benchmarks.json", index.benchmarks)
    return {"benchmarks": len(index.benchmarks), "runs": len(index.runs)}


def load_index(folder: Path) -> Index:
    """Read an index. Raises DataError if it is not there or not whole."""
    runs = read_array(folder / "runs.bin", RUN)
    table = pq.read_table(folder / "texts.parquet", use_threads=False)
    texts = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    return Index(runs, texts, read_json(folder / "benchmarks.json"))


@dataclass(frozen=True, eq=False)
class Index:
    """What is looked for.

    runs: (n,) RUN, sorted by hash
    texts: benchmark, number of the item, and text of each text
    benchmarks: by name, how many `items` it has, how many of them can be found (`findable`) and how
        many are `too_short`, how many distinct `runs` and how many were left out as its `wording`
    """

    runs: np.ndarray
    texts: list[tuple[str, int, str]]
    benchmarks: Mapping[str, Mapping[str, int]]

    @cached_property
    def hashes(self) -> np.ndarray:
        """The distinct hashes, sorted: (n_distinct,) uint64."""
        return np.unique(self.runs["hash"])

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many words runs have, each once: (n_lengths,) int64."""
        return np.unique(self.runs["length"]).astype(np.int64)

    @cached_property
    def filter(self) -> np.ndarray:
        """Bits, set at the top bits of each hash: (a power of two,) uint8."""
        n_bits = max((_BITS_PER_RUN * len(self.hashes) - 1).bit_length(), _LEAST_BITS)
        bits = np.zeros(1 << (n_bits - 3), dtype=np.uint8)
        places = self.hashes >> np.uint64(64 - n_bits)
        flags = np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
        np.bitwise_or.at(bits, (places >> np.uint64(3)).astype(np.int64), flags)
        return bits

    def of_hash(self, value: int) -> np.ndarray:
        """The runs of a hash that is known: (n,) RUN."""
        first = int(np.searchsorted(self.hashes, np.uint64(value)))
        begin, end = self._bounds[first : first + 2].tolist()
        return self.runs[begin:end]

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Where the runs of each distinct hash begin, and where the last end."""
        return run_starts(self.runs["hash"])


def index_of(items: Iterable[Item], config: DecontaminationConfig) -> Index:
    """The index of some items.

    >>> item = Item("sums", 0, ("Tom has two red apples and gives one of them to his sister.",))
    >>> index = index_of([item], DecontaminationConfig())
    >>> index.benchmarks["sums"]["findable"], index.lengths.tolist(), len(index.runs)
    (1, [13], 1)
    """
    texts: list[tuple[str, int, str]] = []
    runs: list[np.ndarray] = []
    counts: dict[str, Counter[str]] = {}
    for number, item in enumerate(items):
        count = counts.setdefault(item.benchmark, Counter(items=0, too_short=0))
        found = _runs_of(item, number, len(texts), config)
        texts += [(item.benchmark, item.number, text) for text in item.texts]
        runs.append(found)
        count["items"] += 1
        count["too_short"] += not len(found)
    joined = np.concatenate([np.empty(0, dtype=RUN), *runs])
    joined = joined[np.lexsort((joined["position"], joined["text"], joined["hash"]))]
    names = list(counts)
    of_text = np.array([names.index(name) for name, _, _ in texts], dtype=np.int64)
    joined, wording, distinct = _without_wording(joined, of_text, config.template_items)
    for number, name in enumerate(names):
        mine = joined["item"][of_text[joined["text"]] == number]
        counts[name]["findable"] = len(np.unique(mine))
        counts[name]["runs"] = int(distinct[distinct == number].size)
        counts[name]["wording"] = int(wording[wording == number].size)
    return Index(joined, texts, {name: dict(count) for name, count in counts.items()})


def _runs_of(item: Item, number: int, first_text: int, config: DecontaminationConfig) -> np.ndarray:
    """The distinct runs of an item: all of `ngram_words`, and the whole of shorter texts."""
    found: list[tuple[np.ndarray, int, int]] = []
    for index, text in enumerate(item.texts):
        words, _ = words_of(text)
        if len(words) < config.min_words:
            continue
        length = min(len(words), config.ngram_words)
        n = hash_runs(words, len(words), length, words)
        found.append((words[:n], length, first_text + index))
    if not found:
        return np.empty(0, dtype=RUN)
    sizes = [len(hashes) for hashes, _, _ in found]
    hashes, firsts = np.unique(np.concatenate([one[0] for one in found]), return_index=True)
    positions = np.concatenate([np.arange(n) for n in sizes])
    runs = np.empty(len(hashes), dtype=RUN)
    runs["hash"], runs["item"], runs["position"] = hashes, number, positions[firsts]
    runs["length"] = np.repeat([one[1] for one in found], sizes)[firsts]
    runs["text"] = np.repeat([one[2] for one in found], sizes)[firsts]
    return runs


def _without_wording(
    runs: np.ndarray, of_text: np.ndarray, most_items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted runs without those in more than `most_items` items of one benchmark.

    Also the benchmark of each run that was left out, and of each that stays, each run once.
    """
    if not len(runs):
        return runs, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    benchmark = of_text[runs["text"]]
    order = np.lexsort((runs["item"], benchmark, runs["hash"]))
    inverse = np.empty(len(runs), dtype=np.int64)
    hashes, of_run, items = runs["hash"][order], benchmark[order], runs["item"][order]
    starts = run_starts(hashes, of_run)
    new_item = np.zeros(len(runs), dtype=bool)
    new_item[run_starts(hashes, of_run, items)[:-1]] = True
    n_items = np.add.reduceat(new_item, starts[:-1])
    too_many = n_items > most_items
    inverse[order] = np.repeat(np.arange(len(n_items)), np.diff(starts))
    firsts = of_run[starts[:-1]]
    return runs[~too_many[inverse]], firsts[too_many], firsts[~too_many]
