"""Preparing data: sources in; train and held-out documents, chats and preference pairs out.

Records stream through: what stays in memory is a hash and an id for each, never their text.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from groundup.data.prepared import KINDS, SPLITS, PreparedWriter
from groundup.data.read import SourceConfig, read_source
from groundup.data.records import Chat, Document, Preference, Record, Refusal, messages_as_rows
from groundup.data.split import HeldoutChooser, Split, content_hash
from groundup.runtime import DataError, Listener, Silent, config, storage_errors, write_json

Builtin = Mapping[str, Callable[[], Iterable[Record]]]
EXAMPLES_PER_REASON = 3
_RECORDS_PER_PROGRESS = 5000


def _as_sources(value: Any) -> Any:
    """Let a recipe write a source as its path alone, and a single source without a list."""
    entries = [value] if isinstance(value, str | Mapping | SourceConfig) else value
    if not isinstance(entries, list | tuple):
        return value
    return tuple({"path": entry} if isinstance(entry, str) else entry for entry in entries)


@config
class DataConfig:
    """Where the data comes from and how it is divided.

    sources: paths, names of built-in sources, or mappings with path, name and weight
    heldout_fraction: part of the documents, chats and pairs kept out of training, to measure on
    min_heldout: how many of each kind at least (where there are more than that)
    split_long_documents_bytes: longer documents are cut into pieces of at most this many bytes of
        UTF-8, so that one long file is spread over train and held-out; None never cuts
    deduplicate: drop documents, chats and pairs that are the same as an earlier one
    """

    sources: Annotated[
        tuple[SourceConfig, ...],
        BeforeValidator(
            _as_sources, json_schema_input_type=str | SourceConfig | list[str | SourceConfig]
        ),
    ] = (SourceConfig(path="demo"),)
    heldout_fraction: float = 0.02
    min_heldout: int = 1
    split_long_documents_bytes: int | None = 16384
    deduplicate: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.heldout_fraction <= 0.5:
            raise ValueError(
                f"heldout_fraction={self.heldout_fraction} must lie above 0 and at most 0.5; "
                "try 0.02"
            )
        if self.min_heldout < 1:
            raise ValueError(f"min_heldout={self.min_heldout} must be at least 1")
        limit = self.split_long_documents_bytes
        if limit is not None and limit < 64:
            raise ValueError(
                f"split_long_documents_bytes={limit} must be at least 64, or null to never cut"
            )


def source_names(sources: Iterable[SourceConfig]) -> list[str]:
    """What each source is called: its label, and a number where two share one.

    >>> source_names([SourceConfig(path="a/books"), SourceConfig(path="b/books")])
    ['books', 'books-2']
    """
    names: list[str] = []
    for source in sources:
        name, n = source.label, 1
        while name in names:
            n += 1
            name = f"{source.label}-{n}"
        names.append(name)
    return names


def prepare(
    config: DataConfig,
    out: Path,
    *,
    builtin: Builtin | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Read all sources, drop duplicates, divide, and write to the folder `out`; gives the counts.

    A source whose path is a key of `builtin` takes its records from there.
    """
    listener = listener or Silent()
    if not config.sources:
        raise DataError("data.sources is empty; give --data PATH, or name a file, a folder or demo")
    for source in config.sources:
        if source.path not in (builtin or {}):
            check_outside(out, Path(source.path))
    names = source_names(config.sources)
    with storage_errors(out), PreparedWriter(out) as writer:
        preparation = _Preparation(config, writer)
        for n, (source, name) in enumerate(zip(config.sources, names, strict=True)):
            for record in _records(source, name, config, builtin or {}):
                preparation.take(record)
                if preparation.n_seen % _RECORDS_PER_PROGRESS == 0:
                    listener.progress(f"read {name}", n, len(names), preparation.figures())
            listener.progress(f"read {name}", n + 1, len(names), preparation.figures())
        preparation.finish()
    counts = preparation.counts(dict(zip(names, config.sources, strict=True)))
    _check_enough(counts, config)
    write_json(out / "counts.json", counts)
    for reason, entry in counts["removed"].items():
        listener.message(f"left out {entry['n']} for {reason}, such as {entry['examples'][0]}")
    return counts


def _records(
    source: SourceConfig, name: str, config: DataConfig, builtin: Builtin
) -> Iterator[Record | Refusal]:
    if source.path in builtin:
        for record in builtin[source.path]():
            yield replace(record, source=name)
        return
    yield from read_source(
        source, name, split_long_documents_bytes=config.split_long_documents_bytes
    )


def check_outside(out: Path, source: Path) -> None:
    """Raise DataError if what is written to `out` would be read from `source` by the next run."""
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"the output {out} lies inside the source {source} and would be read as text later; "
            "choose another --out, or a source folder beside it"
        )


def _check_enough(counts: Mapping[str, Any], config: DataConfig) -> None:
    n_found = {kind: sum(counts[kind][split]["n"] for split in SPLITS) for kind in KINDS}
    if not any(n_found.values()):
        reasons = ", ".join(f"{r}: {e['n']}" for r, e in counts["removed"].items())
        paths = ", ".join(source.path for source in config.sources)
        raise DataError(f"nothing is left of {paths} ({reasons or 'no rows'}); add other text")
    if n_found["documents"] and not all(counts["documents"][split]["n"] for split in SPLITS):
        n_bytes = sum(counts["documents"][split]["n_bytes"] for split in SPLITS)
        raise DataError(
            f"the sources hold {n_found['documents']} document(s) of {n_bytes} bytes together, too "
            "small to train on one part and hold out another; add text, or lower "
            "data.split_long_documents_bytes"
        )


# --- one run --------------------------------------------------------------------------------------


class _Preparation:
    """The state of one run of `prepare`: hashes seen, items held back, counts."""

    def __init__(self, config: DataConfig, writer: PreparedWriter) -> None:
        self.deduplicate = config.deduplicate
        self.writer = writer
        self.n_seen = 0
        self._kept: dict[str, dict[bytes, str]] = {kind: {} for kind in KINDS}  # hash -> first id
        self._choosers: dict[str, HeldoutChooser[Record]] = {
            kind: HeldoutChooser(config.heldout_fraction, config.min_heldout) for kind in KINDS
        }
        self._placed: Counter[tuple[str, str, str]] = Counter()  # kind, split, source
        self._placed_bytes: Counter[tuple[str, str, str]] = Counter()
        self._removed: dict[str, list[Refusal]] = defaultdict(list)
        self._n_removed: Counter[str] = Counter()

    def take(self, record: Record | Refusal) -> None:
        self.n_seen += 1
        if isinstance(record, Refusal):
            self._remove(record)
            return
        kind, content, group = _identity(record)
        digest = content_hash(content)
        kept = self._kept[kind]
        if self.deduplicate and digest in kept:
            detail = f"the same as {kept[digest]}"
            self._remove(Refusal(record.id, record.source, "prepare", "exact_duplicate", detail))
            return
        if self.deduplicate:
            kept[digest] = record.id
        group_digest = digest if group is content else content_hash(group)
        for split, item in self._choosers[kind].send(group_digest, record):
            self._place(kind, split, item)

    def finish(self) -> None:
        for kind in KINDS:
            for split, item in self._choosers[kind].finish():
                self._place(kind, split, item)

    def figures(self) -> dict[str, float]:
        """Counts for a progress line."""
        placed: Counter[str] = Counter()
        for (kind, _, _), n in self._placed.items():
            placed[kind] += n
        return {
            **{kind: float(placed[kind]) for kind in KINDS},
            "removed": sum(self._n_removed.values()),
        }

    def _place(self, kind: str, split: Split, record: Record) -> None:
        key = (kind, split, record.source)
        self._placed[key] += 1
        self._placed_bytes[key] += _text_bytes(record)
        self.writer.add(split, record)

    def _remove(self, refusal: Refusal) -> None:
        self._n_removed[refusal.reason] += 1
        if len(self._removed[refusal.reason]) < EXAMPLES_PER_REASON:
            self._removed[refusal.reason].append(refusal)
        self.writer.add_removed(refusal)

    def counts(self, sources: Mapping[str, SourceConfig]) -> dict[str, Any]:
        """What counts.json says."""
        return {
            **{kind: self._by_split(kind, sources) for kind in KINDS},
            "sources": {
                name: {
                    "path": source.path,
                    "weight": source.weight,
                    **{kind: self._by_split(kind, [name]) for kind in KINDS},
                }
                for name, source in sources.items()
            },
            "removed": {
                reason: {
                    "n": n,
                    "stage": self._removed[reason][0].stage,
                    "examples": [f"{r.id}: {r.detail}" for r in self._removed[reason]],
                }
                for reason, n in sorted(self._n_removed.items())
            },
        }

    def _by_split(self, kind: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
        keys = {split: [(kind, split, name) for name in names] for split in SPLITS}
        return {
            split: {
                "n": sum(self._placed[key] for key in keys[split]),
                "n_bytes": sum(self._placed_bytes[key] for key in keys[split]),
            }
            for split in SPLITS
        }


def _identity(record: Record) -> tuple[str, str, str]:
    """(kind, what makes it a duplicate, what its split follows from).

    Preference pairs are divided by their prompt, so no prompt is trained on and measured on too.
    """
    match record:
        case Document():
            return "documents", record.text, record.text
        case Chat():
            content = _canonical(messages_as_rows(record.messages))
            return "chats", content, content
        case Preference():
            prompt = messages_as_rows(record.prompt)
            content = _canonical([prompt, record.chosen, record.rejected])
            return "preferences", content, _canonical(prompt)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _text_bytes(record: Record) -> int:
    match record:
        case Document():
            return len(record.text.encode())
        case Chat():
            return sum(len(message.content.encode()) for message in record.messages)
        case Preference():
            prompt = sum(len(message.content.encode()) for message in record.prompt)
            return prompt + len(record.chosen.encode()) + len(record.rejected.encode())
