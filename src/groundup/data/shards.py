"""Token shards: a corpus as flat files of token ids, memory-mapped when read.

A shard called `train-00000` is four files:

    train-00000.bin    token ids, little-endian, uint16 (uint32 above 65,536 entries)
    train-00000.idx    uint64 for each document: the position just after its last token
    train-00000.mask   only for chats: uint8 for each token, 1 where it is a trained label
    train-00000.json   the header: counts, tokenizer, hashes; written last

A text document is stored as `[end_of_text_id] + ids`, a chat as its ids alone. One more
end_of_text_id closes the shard, so every token has a label, the token after it, and the label of
a document's last token is the end_of_text_id that opens the next:

    stream    E a b c E d e E          documents: [0, 4) and [4, 7)
    inputs    E a b c E d e            stream[start : start + length]
    labels    a b c E d e E            stream[start + 1 : start + length + 1]

Writing happens inside a folder that the caller renames into place (`runtime.new_folder`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from groundup.runtime import DataError, hash_file, stable_hash

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ShardHeader:
    """What a shard's JSON says. `n_tokens` leaves the closing end_of_text_id out.

    `n_bytes` is the size of the text in UTF-8 (0 for chats, which are scored by token), `n_trained`
    counts the trained labels, `is_last` tells a complete set of shards from one cut short.
    """

    version: int
    dtype: str
    n_tokens: int
    n_documents: int
    n_bytes: int
    n_trained: int
    has_mask: bool
    is_last: bool
    vocab_size: int
    end_of_text_id: int
    tokenizer_fingerprint: str
    hashes: dict[str, str]  # file ending -> 128-bit hash of that file


class TokenShards:
    """Several shards read as one: positions run on from each shard into the next.

    Positions count the closing end_of_text_id of each shard too, so `start + length` is always
    a position that can be read.
    """

    def __init__(self, stems: list[Path], headers: list[ShardHeader]) -> None:
        self.stems, self.headers = stems, headers
        self._streams = [_map(s, "bin", h.dtype, h.n_tokens + 1) for s, h in _pairs(stems, headers)]
        self._ends = [_map(s, "idx", "<u8", h.n_documents) for s, h in _pairs(stems, headers)]
        self._masks = [
            _map(s, "mask", "u1", h.n_tokens + 1) for s, h in _pairs(stems, headers) if h.has_mask
        ]
        sizes = [header.n_tokens + 1 for header in headers]
        self._offsets = np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int64)

    @classmethod
    def open(cls, folder: Path, name: str = "train") -> TokenShards:
        """Open the shards `name` in `folder`; DataError if any is missing or damaged."""
        found = sorted(
            path.with_suffix("")
            for path in folder.glob(f"{name}-*.json")
            if re.fullmatch(rf"{re.escape(name)}-\d{{5}}", path.stem)
        )
        if not found:
            raise DataError(f"no token shards {name!r} in {folder}; {_AGAIN}")
        headers = [_read_header(stem) for stem in found]
        complete = headers[-1].is_last and [int(s.name[-5:]) for s in found] == [*range(len(found))]
        if not complete:
            raise DataError(f"the token shards {name!r} in {folder} are not complete; {_AGAIN}")
        makes = {(h.vocab_size, h.tokenizer_fingerprint, h.has_mask) for h in headers}
        if len(makes) > 1:
            raise DataError(f"the token shards {name!r} in {folder} mix tokenizers; {_AGAIN}")
        shards = cls(found, headers)
        for stem, header, ends in zip(found, headers, shards._ends, strict=True):
            if header.n_documents and int(ends[-1]) != header.n_tokens:
                raise DataError(
                    f"{shard_path(stem, 'idx')} does not end at the last token; {_AGAIN}"
                )
        return shards

    def verify(self) -> None:
        """Compare every file's hash with its header's; DataError names the first damaged file."""
        for stem, header in _pairs(self.stems, self.headers):
            for ending, expected in header.hashes.items():
                path = shard_path(stem, ending)
                if hash_file(path) != expected:
                    raise DataError(f"{path} is damaged: its hash is not the header's; {_AGAIN}")

    @property
    def n_tokens(self) -> int:
        """Tokens in all documents, the end_of_text_id before each included."""
        return sum(header.n_tokens for header in self.headers)

    @property
    def n_documents(self) -> int:
        return sum(header.n_documents for header in self.headers)

    @property
    def n_bytes(self) -> int:
        """UTF-8 bytes of the text behind the tokens; 0 for chats."""
        return sum(header.n_bytes for header in self.headers)

    @property
    def n_trained(self) -> int:
        """Labels that are trained on: every token of text, the masked ones of chats."""
        return sum(header.n_trained for header in self.headers)

    @property
    def has_mask(self) -> bool:
        return self.headers[0].has_mask

    @property
    def vocab_size(self) -> int:
        return self.headers[0].vocab_size

    @property
    def end_of_text_id(self) -> int:
        return self.headers[0].end_of_text_id

    @property
    def tokenizer_fingerprint(self) -> str:
        return self.headers[0].tokenizer_fingerprint

    @property
    def fingerprint(self) -> str:
        """Changes when any token, document border, mask or the tokenizer changes."""
        return stable_hash([[h.hashes, h.tokenizer_fingerprint] for h in self.headers])

    @cached_property
    def document_starts(self) -> np.ndarray:
        """Position of each document's first token, int64 (n_documents,)."""
        return np.concatenate(
            [
                np.concatenate([[0], ends[:-1]]).astype(np.int64) + offset
                for ends, offset in zip(self._ends, self._offsets, strict=True)
            ]
        )

    @cached_property
    def document_lengths(self) -> np.ndarray:
        """Tokens in each document, int64 (n_documents,)."""
        return np.concatenate([np.diff(ends.astype(np.int64), prepend=0) for ends in self._ends])

    def document(self, index: int) -> np.ndarray:
        """The stored ids of one document, for text with its end_of_text_id in front."""
        start, length = self.document_starts[index], self.document_lengths[index]
        ids, _, _ = self.gather(np.array([start]), np.array([length]))
        return ids

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.document(index) for index in range(self.n_documents))

    def gather(
        self, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Inputs, labels and (for chats) loss mask of spans, one after the other.

        starts, lengths: (n_spans,) int64 -> three arrays of (sum of lengths,); a span lies within
        one document. Ascending starts are fastest.
        """
        total = int(lengths.sum())
        inputs = np.empty(total, dtype=self._streams[0].dtype)
        labels = np.empty_like(inputs)
        trained = np.empty(total, dtype=np.bool_) if self.has_mask else None
        first_token = np.cumsum(lengths) - lengths
        positions = np.repeat(starts - first_token, lengths)
        positions += np.arange(total)
        for shard, low, high in self._runs(starts, first_token, total):
            at = positions[low:high] - self._offsets[shard]
            np.take(self._streams[shard], at, out=inputs[low:high], mode="clip")
            at += 1
            np.take(self._streams[shard], at, out=labels[low:high], mode="clip")
            if trained is not None:
                trained[low:high] = self._masks[shard][at]
        return inputs, labels, trained

    def _runs(
        self, starts: np.ndarray, first_token: np.ndarray, total: int
    ) -> Iterator[tuple[int, int, int]]:
        """(shard, low, high): stretches of the gathered tokens that lie in the same shard."""
        if len(self._streams) == 1:
            yield 0, 0, total
            return
        shards = np.searchsorted(self._offsets, starts, side="right") - 1
        changes = np.flatnonzero(np.diff(shards, prepend=-1))
        borders = [*first_token[changes].tolist(), total]
        yield from zip(shards[changes].tolist(), borders, borders[1:], strict=False)


_AGAIN = "delete the folder and run the same command again"


def _pairs(stems: list[Path], headers: list[ShardHeader]) -> Iterator[tuple[Path, ShardHeader]]:
    return zip(stems, headers, strict=True)


def shard_path(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")


def _read_header(stem: Path) -> ShardHeader:
    path = shard_path(stem, "json")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = values["version"]
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path} is of format {version}, this version reads {FORMAT_VERSION}; {_AGAIN}"
            )
        return ShardHeader(**{field.name: values[field.name] for field in fields(ShardHeader)})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a shard header; {_AGAIN}") from error


def _map(stem: Path, ending: str, dtype: str, n_values: int) -> np.ndarray:
    """Memory-map a file of `n_values` little-endian numbers after checking its size."""
    path, kind = shard_path(stem, ending), np.dtype(dtype).newbyteorder("<")
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise DataError(f"{path} is missing; {_AGAIN}")
    if size != n_values * kind.itemsize:
        raise DataError(
            f"{path} has {size} bytes, its header says {n_values * kind.itemsize}; {_AGAIN}"
        )
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))
