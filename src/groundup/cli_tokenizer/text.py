"""The text that the commands of `groundup tokenizer` read: to train on, and to hold out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from groundup.data.reading import ReadingConfig, SourceConfig, find_inputs, read_source
from groundup.data.reading.formats import FileKind, ending_of, kind_of
from groundup.data.reading.inputs import check_sources, found_path
from groundup.data.records import Chat, Document, Record, Refusal
from groundup.data.split import HeldoutChooser, content_hash, falls_in_heldout
from groundup.runtime import DataError, Listener, hash_file, stable_hash, write_json
from groundup.tokenizer import TokenizerConfig
from groundup.tokenizer.counts import Shard, WordCounts, count_words_in, shards_of
from groundup.tokenizer.laboratory import Sample
from groundup.tokenizer.trainer import count_loop

HELD_OUT_SHARE, HELD_OUT_BYTES = 0.1, 4e6  # held-out text: this share, but not more than so much
TRAIN_BYTES = 256e6  # candidates learn from a sample of about this where there is more
PIECE_BYTES, N_PIECES = 4096, 400  # documents are cut in pieces, those of a small text in smaller
MOST_SOURCES = 16  # files of one folder that are told apart


def readable_files(data: Sequence[Path], listener: Any) -> list[Path]:
    """The files that can be read, each once; what cannot is said."""
    found: dict[Path, Path] = {}
    others: Counter[str] = Counter()
    for path in data:
        found_path(path, "--data")
        readable, unread = find_inputs(SourceConfig(path=str(path)))
        found |= {file.path.resolve(): file.path for file in readable}
        for refusal in unread:
            is_kind = refusal.reason == "ending_not_read"
            others[ending_of(refusal.id) if is_kind else refusal.reason.replace("_", " ")] += 1
    if not found:
        check_sources([SourceConfig(path=str(path)) for path in data])
    if others:
        told = ", ".join(f"{n} x {ending}" for ending, n in sorted(others.items()))
        listener.message(f"left out {others.total()} files of other endings: {told}")
    return list(found.values())


def shards_in(files: Sequence[Path], config: TokenizerConfig, notes: Path) -> list[Shard]:
    """Plain text and columns of text as `shards_of` has them; rows of other kinds file by file."""
    is_rows = [not _is_plain(path) for path in files]
    plain = [path for path, is_row in zip(files, is_rows, strict=True) if not is_row]
    rows = [path for path, is_row in zip(files, is_rows, strict=True) if is_row]
    return [*shards_of(plain, config.counting), *((RowTexts(path, notes),) for path in rows)]


def _is_plain(path: Path) -> bool:
    """Whether a file is text as it is, or has a column of text, and needs no reader."""
    if path.suffix.lower() != ".parquet":
        return kind_of(path.name) == FileKind("text")
    try:
        return "text" in pq.read_schema(path).names
    except (pa.ArrowException, OSError):  # whoever reads it says what is wrong
        return True


@dataclass(frozen=True)
class RowTexts:
    """The texts of a file of rows, for `count_words`; what was refused is noted in `notes`."""

    path: Path
    notes: Path

    def fingerprint(self) -> str:
        """Hash of the file."""
        return stable_hash(["rows", hash_file(self.path)])

    def texts(self) -> Iterator[str]:
        """Documents, and what is said in conversations."""
        refused: Counter[str] = Counter()
        yield from (text for _, text in _read_texts(self.path, None, refused))
        write_json(self.notes / f"{self.fingerprint()}.json", refused)


def _read_texts(
    path: Path, piece_bytes: int | None, refused: Counter[str]
) -> Iterator[tuple[str, str]]:
    """(path relative to the source, text) of all records; refusals are counted by reason."""
    source = SourceConfig(path=str(path))
    config = ReadingConfig() if piece_bytes is None else ReadingConfig(piece_bytes=piece_bytes)
    for found in read_source(source, "", config):
        if isinstance(found, Refusal):
            if found.reason != "ending_not_read":  # of which `readable_files` told
                refused[found.reason] += 1
            continue
        relative = found.id.removeprefix("/").rsplit("#", 1)[0]
        for text in _texts_of(found):
            yield relative, text


def _texts_of(record: Record) -> Iterator[str]:
    if isinstance(record, Document):
        yield record.text
    elif isinstance(record, Chat):
        yield from (message.content for message in record.messages)
    else:
        yield from (message.content for message in record.prompt)
        yield from (record.chosen, record.rejected)


# --- held out -------------------------------------------------------------------------------------


def n_bytes_in(data: Sequence[Path]) -> float:
    """About how much text there is, by the sizes of files."""
    files = (file for path in data for file in find_inputs(SourceConfig(path=str(path)))[0])
    return float(sum(file.path.stat().st_size for file in files))


def count_and_hold_out(
    data: Sequence[Path], config: TokenizerConfig, n_bytes: float, listener: Listener
) -> tuple[WordCounts, list[Sample]]:
    """Count the words of the text, but for what is held out; nothing is in both."""
    held_out: list[Sample] = []
    texts = _training_texts(data, n_bytes, held_out, listener)
    counts = count_words_in(
        texts, config.cutter, config.counting, normalizer=config.normalizer, loop=count_loop(config)
    )
    if not held_out:
        raise DataError("there is too little text to hold some out; give at least two documents")
    return counts, held_out


def _training_texts(
    data: Sequence[Path],
    n_bytes: float,
    held_out: list[Sample],
    listener: Listener,
) -> Iterator[str]:
    """Texts to train on; those held out are put in `held_out` on the way.

    Of each source at least one piece is held out, and texts that are equal go the same way.
    """
    share = min(HELD_OUT_SHARE, HELD_OUT_BYTES / max(n_bytes, 1))
    kept = min(1.0, TRAIN_BYTES / max(n_bytes, 1))
    if kept < 1:
        listener.message(f"candidates learn from a sample of {kept:.1%} of the text")
    piece_bytes = int(min(max(n_bytes / N_PIECES, 512), PIECE_BYTES))
    choosers: dict[str, HeldoutChooser[str]] = {}
    refused: Counter[str] = Counter()
    n_read, told = 0, 0

    def divided(source: str, chosen: Iterator[tuple[str, str]]) -> Iterator[str]:
        for split, text in chosen:
            if split == "heldout":
                held_out.append(Sample(source, text))
            elif kept == 1 or falls_in_heldout(content_hash(text)[:8], kept):
                yield text

    for source, text in _sources(data, piece_bytes, refused):
        chooser = choosers.setdefault(source, HeldoutChooser(share, 1))
        yield from divided(source, iter(chooser.send(content_hash(text), text)))
        n_read += len(text)
        if n_read - told > 1 << 24:
            told = n_read
            listener.progress("read characters", n_read, 0, {})
    for source, chooser in choosers.items():
        yield from divided(source, iter(chooser.finish()))
    for reason, n in refused.most_common():
        listener.message(f"left out {n:,} rows or files: {reason.replace('_', ' ')}")


def _sources(
    data: Sequence[Path], piece_bytes: int, refused: Counter[str]
) -> Iterator[tuple[str, str]]:
    """(source, text): of a folder its sub-folders, or its files where they are few."""
    for path in data:
        found = find_inputs(SourceConfig(path=str(path)))[0]
        n_files = sum("/" not in file.relative for file in found)
        label = path.resolve().name
        for relative, text in _read_texts(path, piece_bytes, refused):
            top, _, below = relative.partition("/")
            is_one_of_many = not below and (n_files > MOST_SOURCES or path.is_file())
            source = label if is_one_of_many else top
            yield (source if len(data) == 1 or source == label else f"{label}/{source}"), text


def all_samples(data: Sequence[Path], listener: Any) -> Iterator[Sample]:
    """The texts with their sources."""
    readable_files(data, listener)
    refused: Counter[str] = Counter()
    for source, text in _sources(data, PIECE_BYTES, refused):
        yield Sample(source, text)
    for reason, n in refused.most_common():
        listener.message(f"left out {n:,} rows or files: {reason.replace('_', ' ')}")
