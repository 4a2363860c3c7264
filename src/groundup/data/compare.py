"""A text that is not in prepared data, held against it: of which document would it be a copy?

What the stages left on disk says it without reading the corpus: hashes of texts, keys of signatures
and of stretches lie sorted, so that one text's are found in them; only the documents that share one
are read. Called by `explain.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from groundup.data.config import DataConfig
from groundup.data.decontaminate import find_hits, load_index
from groundup.data.decontaminate.clean import without_spans
from groundup.data.dedup.config import LinesConfig, NearConfig, SubstringsConfig
from groundup.data.dedup.cut import cut_text, joined
from groundup.data.dedup.exact import LOWER_HALF, text_hash
from groundup.data.dedup.keys import KEY, read_range
from groundup.data.dedup.lines import lines_of
from groundup.data.dedup.repeats import PLACE, SPAN
from groundup.data.dedup.shingles import jaccard
from groundup.data.dedup.signatures import band_keys, sign_texts
from groundup.data.dedup.substrings import windows_of
from groundup.data.dedup.texts import Texts, as_texts
from groundup.data.dedup.words import shingles_of
from groundup.data.engine import HEADER
from groundup.data.stage_files import Prepared
from groundup.data.steps.divide import spoken
from groundup.data.table import tables_of
from groundup.runtime import DataError, read_json

MOST_CANDIDATES = 200  # documents that are read to be compared
_SHOWN = 3
_EXCERPT = 80  # characters of what is shared
GONE = "not compared: the files of that stage were deleted"


@dataclass(frozen=True)
class Verdict:
    """What a stage would do with a text.

    reason: why it would drop it, or what it is a copy of; None where neither goes
    instead_of: the document that would go, where this one has the smaller id
    left: the text as it would go on
    """

    stage: str
    what: str
    reason: str | None = None
    instead_of: str | None = None
    left: str = field(default="", repr=False)


@dataclass(frozen=True)
class Near:
    """A document of the corpus and its similarity to the text: of shingles, Jaccard's."""

    id: str
    similarity: float


def compare(text: str, id: str, prepared: Prepared, config: DataConfig) -> Iterator[Verdict]:
    """The verdict of each stage behind cleaning, up to the one that would drop the text.

    id: what the text would be called; of duplicates the smallest id stays.
    """
    corpus = Corpus(prepared)
    asked: list[tuple[bool, Callable[[str], Verdict]]] = [
        (config.dedup.exact, lambda text: _exact(text, id, corpus)),
        (config.dedup.near is not None, lambda text: _near(text, id, corpus, config.dedup.near)),
        (config.dedup.lines is not None, lambda text: _shared(text, corpus, config.dedup.lines)),
        (
            config.dedup.substrings is not None,
            lambda text: _shared(text, corpus, config.dedup.substrings),
        ),
        (
            bool(config.decontamination.benchmarks),
            lambda text: _evaluation_items(text, corpus, config),
        ),
    ]
    for is_on, ask in asked:
        if is_on:
            verdict = ask(text)
            yield verdict
            if verdict.reason:
                return
            text = verdict.left


def compare_talk(text: str, id: str, prepared: Prepared, config: DataConfig) -> Iterator[Verdict]:
    """As `compare`, of a chat or a preference pair, whose text is the JSON of what is said.

    Only exact copies and evaluation items are looked for in these, and they go as a whole.
    """
    corpus = Corpus(prepared)
    if config.dedup.exact:
        verdict = _exact(text, id, corpus)
        yield verdict
        if verdict.reason:
            return
    if config.decontamination.benchmarks:
        settings = replace(config.decontamination, action="document")
        said = spoken(text, between="\n")
        yield _evaluation_items(said, corpus, replace(config, decontamination=settings))


class Corpus:
    """What the stages of prepared data left for a text to be looked up in."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    def holds(self, stage: str) -> bool:
        """Whether a stage's files are still there."""
        return bool(self.prepared.artefacts(stage))

    def same(self, text: str) -> list[str]:
        """The ids of documents whose text is the same, byte for byte."""
        value = text_hash(text)
        rows: dict[Path, set[int]] = defaultdict(set)
        for folder in self.prepared.artefacts("exact_hashes"):
            for entries in _with_keys(folder, [value >> 64], KEY):
                equal = entries["row"][entries["check"] == np.uint64(value & LOWER_HALF)]
                rows[folder] |= set(equal.tolist())
        return sorted(id for id, other in self._documents(rows) if other == text)

    def near(self, text: str, config: NearConfig) -> tuple[list[Near], int]:
        """Documents that share a band of the signature, the most similar first, and how many do:
        at most `MOST_CANDIDATES` of them are compared.
        """
        [texts] = _texts(text)
        signatures, n_shingles = sign_texts(texts, config)
        if not n_shingles[0]:
            return [], 0
        keys = band_keys(signatures, config)[0].tolist()
        rows: dict[Path, set[int]] = defaultdict(set)
        for folder in self.prepared.artefacts("near_signatures"):
            for entries in _with_keys(folder, keys, KEY):
                rows[folder] |= set(entries["row"].tolist())
        mine = shingles_of(text, config.shingle_words)
        found = [
            Near(id, jaccard(mine, shingles_of(other, config.shingle_words)))
            for id, other in self._documents(_first(rows, MOST_CANDIDATES))
        ]
        n_candidates = sum(map(len, rows.values()))
        return sorted(found, key=lambda one: (-one.similarity, one.id)), n_candidates

    def stretches(
        self, text: str, config: LinesConfig | SubstringsConfig
    ) -> list[tuple[int, int, int]]:
        """Stretches that would be cut: start and end in bytes, and how many documents hold it."""
        [texts] = _texts(text)
        match config:
            case LinesConfig():
                stage, mine = "lines_places", lines_of(texts, config.min_bytes)
                least, keep_one = config.min_documents, config.keep_one
            case SubstringsConfig():
                stage, mine = "substrings_places", windows_of(texts, config)
                least, keep_one = 2, True
        holders: dict[tuple[int, int], set[tuple[Path, int]]] = defaultdict(set)
        smallest: dict[tuple[int, int], int] = {}
        keys = np.unique(mine["key"]).tolist()
        for folder in self.prepared.artefacts(stage):
            for entries in _with_keys(folder, keys, PLACE):
                for entry in entries:
                    what = (int(entry["key"]), int(entry["check"]))
                    holders[what].add((folder, int(entry["row"])))
                    content = int(entry["content"])
                    smallest[what] = min(smallest.get(what, content), content)
        found = []
        for place in mine:
            what = (int(place["key"]), int(place["check"]))
            n_documents = len(holders.get(what, ())) + 1
            is_kept = keep_one and int(place["content"]) < smallest.get(what, 0)
            if n_documents >= least and not is_kept:
                found.append((int(place["start"]), int(place["end"]), n_documents))
        return found

    @cached_property
    def kept_for(self) -> dict[str, str]:
        """For each near duplicate that went, the document that stayed."""
        return {
            id: kept
            for file in self.prepared.files("removed")
            if file.name.startswith("dedup_near")
            for table in tables_of(file, ["id", "kept_id"])
            for id, kept in zip(table["id"].to_pylist(), table["kept_id"].to_pylist(), strict=True)
        }

    def _documents(self, rows: dict[Path, set[int]]) -> Iterator[tuple[str, str]]:
        """The ids and texts of some rows of the shards that folders of keys were made from."""
        for folder, wanted in rows.items():
            header, first = read_json(folder / HEADER), 0
            shard = (
                self.prepared.stages / header["inputs"][0]["artefact"] / header["params"]["file"]
            )
            if not shard.is_file():
                continue
            for table in tables_of(shard, ["id", "text"]):
                for row in sorted(n for n in wanted if first <= n < first + table.num_rows):
                    one = table.slice(row - first, 1).to_pylist()[0]
                    yield one["id"], one["text"] or ""
                first += table.num_rows


def _texts(text: str) -> list[Texts]:
    return list(as_texts(pa.array([text], pa.string())))


def _with_keys(folder: Path, keys: Iterable[int], dtype: np.dtype) -> Iterator[np.ndarray]:
    """The entries of a folder of `KeyWriter` that have one of some keys."""
    for path in sorted(folder.glob("keys-*.bin")):
        for key in keys:
            entries = read_range(path, dtype, "key", key, key + 1)
            if len(entries):
                yield entries


def _first(rows: dict[Path, set[int]], most: int) -> dict[Path, set[int]]:
    """At most so many rows."""
    pairs = [(folder, row) for folder in sorted(rows) for row in sorted(rows[folder])][:most]
    found: dict[Path, set[int]] = defaultdict(set)
    for folder, row in pairs:
        found[folder].add(row)
    return found


# --- the stages -----------------------------------------------------------------------------------


def _exact(text: str, id: str, corpus: Corpus) -> Verdict:
    if not corpus.holds("exact_hashes"):
        return Verdict("dedup_exact", GONE, left=text)
    same = corpus.same(text)
    if not same:
        return Verdict("dedup_exact", "no document has the same text", left=text)
    what = f"the same text as {_listed(same)}; {_stays(id, same[0])}"
    return Verdict("dedup_exact", what, "exact_duplicate", _behind(id, same[0]))


def _near(text: str, id: str, corpus: Corpus, config: NearConfig | None) -> Verdict:
    assert config is not None
    if not corpus.holds("near_signatures"):
        return Verdict("dedup_near", GONE, left=text)
    found, n_candidates = corpus.near(text, config)
    near = [one for one in found if one.similarity >= config.threshold]
    limit = f"copies begin at {config.threshold:g}"
    if n_candidates > MOST_CANDIDATES:
        limit += f"; only {MOST_CANDIDATES:,} of {n_candidates:,} candidates were compared"
    if not near:
        what = "no document is like it"
        if found:
            what = f"the nearest found is {found[0].id}, similarity {found[0].similarity:.2f}"
        return Verdict("dedup_near", f"{what}; {limit}", left=text)
    kept = min(corpus.kept_for.get(one.id, one.id) for one in near)
    what = (
        f"nearly the same as {near[0].id}, similarity {near[0].similarity:.2f}; {limit}; "
        f"{_stays(id, kept)}"
    )
    return Verdict("dedup_near", what, "near_duplicate", _behind(id, kept))


def _stays(id: str, other: str) -> str:
    return f"of copies the smallest id stays, here {'this one' if id < other else other}"


def _behind(id: str, other: str) -> str | None:
    return other if id < other else None


def _shared(text: str, corpus: Corpus, config: LinesConfig | SubstringsConfig | None) -> Verdict:
    assert config is not None
    name = "lines" if isinstance(config, LinesConfig) else "substrings"
    stage, reason = f"dedup_{name}", f"only_repeated_{name}"
    if not corpus.holds(f"{name}_places"):
        return Verdict(stage, GONE, left=text)
    found = corpus.stretches(text, config)
    if not found:
        return Verdict(stage, "no part of it would be cut", left=text)
    data = text.encode()
    spans = joined(np.array(sorted((0, start, end) for start, end, _ in found), dtype=SPAN))
    is_lines = isinstance(config, LinesConfig)
    left, pieces = cut_text(text, spans, between_words=not is_lines)
    n_cut = sum(len(piece.encode()) for piece in pieces)
    least = 1 if is_lines else config.min_bytes
    start, end, n_documents = max(found, key=lambda one: (one[1] - one[0], -one[0]))
    example = _excerpt(data[start:end])
    what = (
        f"{n_cut:,} of {len(data):,} bytes stand in other documents too and would be "
        f"cut, such as {example} (in {n_documents:,} with this one)"
    )
    is_left = len(left.strip().encode()) >= least
    return Verdict(stage, what, None if is_left else reason, left=left)


def _evaluation_items(text: str, corpus: Corpus, config: DataConfig) -> Verdict:
    folders = corpus.prepared.artefacts("evaluation_sets")
    if not folders:
        return Verdict("decontaminate", GONE, left=text)
    try:
        index = load_index(folders[-1])
    except OSError as error:
        raise DataError(f"{folders[-1]} cannot be read ({error}); prepare the data again") from None
    [hits] = find_hits([text], index)
    if not hits:
        names = ", ".join(sorted(index.benchmarks))
        return Verdict("decontaminate", f"it holds no item of {names}", left=text)
    items = list(dict.fromkeys(f"{hit.benchmark} {hit.item}" for hit in hits))
    shared = _excerpt(text.encode()[hits[0].start : hits[0].end])
    what = f"shares words with {_listed(items)}: {shared}"
    settings = config.decontamination
    left = without_spans(text, hits, settings) if settings.action == "span" else None
    if left is None:
        return Verdict("decontaminate", what, "contaminated_document")
    return Verdict("decontaminate", f"{what}; these words would be cut out", left=left)


def _excerpt(data: bytes) -> str:
    told = " ".join(data.decode(errors="ignore").split())
    return f"“{told[:_EXCERPT]}{'…' if len(told) > _EXCERPT else ''}”"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
