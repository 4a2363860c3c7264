"""Writing token shards; their format stands in `shards`."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np
import xxhash

from groundup.data.shards import FORMAT_VERSION, ShardHeader, TokenShards, shard_path
from groundup.runtime import DataError, Listener, Silent, storage_errors, write_json

TOKENS_PER_SHARD = 1 << 27  # 256 MiB of uint16: few files, and each still copies in seconds
TEXTS_PER_BATCH = 1024
UINT16_VOCABULARY = 1 << 16


class TextEncoder(Protocol):
    """What a tokenizer must offer to write shards of text."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def end_of_text_id(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


class MaskedIds(Protocol):
    """Token ids with, for each, whether a model is trained to predict it (a rendered chat)."""

    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def loss_mask(self) -> Sequence[bool]: ...


class ShardWriter:
    """Writes documents into shards of about `tokens_per_shard` tokens; a document is never cut.

    Use it as a context manager: leaving the block closes the last shard.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: TextEncoder,
        *,
        name: str = "train",
        tokens_per_shard: int = TOKENS_PER_SHARD,
        with_mask: bool = False,
    ) -> None:
        self.folder, self.name, self.with_mask = folder, name, with_mask
        self.tokens_per_shard = tokens_per_shard
        self.vocab_size = tokenizer.vocab_size
        self.end_of_text_id = tokenizer.end_of_text_id
        self.tokenizer_fingerprint = tokenizer.fingerprint
        self.dtype = np.dtype("<u2" if self.vocab_size <= UINT16_VOCABULARY else "<u4")
        self.n_documents = 0
        self._shard: _OpenShard | None = None
        self._n_shards = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add_text(self, ids: Sequence[int], n_bytes: int) -> None:
        """Append one document: its ids without end_of_text_id, and the size of its text."""
        if self.with_mask:
            raise ValueError(f"shards {self.name!r} hold loss masks; use add_masked")
        tokens = np.empty(len(ids) + 1, dtype=np.int64)
        tokens[0] = self.end_of_text_id
        tokens[1:] = ids
        self._append(tokens, None, n_bytes)

    def add_masked(self, ids: Sequence[int], loss_mask: Sequence[bool]) -> None:
        """Append one example whose `loss_mask[i]` says that `ids[i]` is a trained label."""
        if not self.with_mask:
            raise ValueError(f"shards {self.name!r} hold no loss masks; open with with_mask=True")
        if not ids or len(ids) != len(loss_mask):
            raise ValueError(f"got {len(ids)} ids and {len(loss_mask)} mask values; need as many")
        if loss_mask[0]:
            raise ValueError("the first token of an example has nothing before it to predict it")
        self._append(np.asarray(ids, dtype=np.int64), np.asarray(loss_mask, dtype=np.uint8), 0)

    def close(self) -> None:
        """Finish the last shard; calling it again does nothing."""
        if self._shard is not None:
            self._finish(is_last=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._shard is not None:
            self._shard.abandon()

    def _append(self, tokens: np.ndarray, mask: np.ndarray | None, n_bytes: int) -> None:
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise DataError(
                f"token ids run from {tokens.min()} to {tokens.max()}, but the vocabulary holds "
                f"{self.vocab_size}; encode with the tokenizer the shards are written for"
            )
        if self._shard is not None and self._shard.n_tokens >= self.tokens_per_shard:
            self._finish(is_last=False)
        if self._shard is None:
            stem = self.folder / f"{self.name}-{self._n_shards:05d}"
            self._shard = _OpenShard(stem, with_mask=self.with_mask)
        self._shard.append(tokens.astype(self.dtype), mask, n_bytes)
        self.n_documents += 1

    def _finish(self, *, is_last: bool) -> None:
        assert self._shard is not None
        shard, self._shard = self._shard, None
        hashes = shard.finish(np.array([self.end_of_text_id], dtype=self.dtype))
        header = ShardHeader(
            version=FORMAT_VERSION,
            dtype=self.dtype.name,
            n_tokens=shard.n_tokens,
            n_documents=len(shard.ends),
            n_bytes=shard.n_bytes,
            n_trained=shard.n_trained,
            has_mask=self.with_mask,
            is_last=is_last,
            vocab_size=self.vocab_size,
            end_of_text_id=self.end_of_text_id,
            tokenizer_fingerprint=self.tokenizer_fingerprint,
            hashes=hashes,
        )
        write_json(shard_path(shard.stem, "json"), asdict(header))
        self._n_shards += 1


class _HashedFile:
    """A file being written, with the hash of what went into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            self.file: BinaryIO = path.open("wb", buffering=1 << 20)
        self.digest = xxhash.xxh3_128()

    def write(self, values: np.ndarray) -> None:
        data = values.tobytes()
        with storage_errors(self.path):
            self.file.write(data)
        self.digest.update(data)

    def close(self) -> str:
        with storage_errors(self.path):
            self.file.close()
        return self.digest.hexdigest()


class _OpenShard:
    """The files of the shard being written, and its counts so far."""

    def __init__(self, stem: Path, *, with_mask: bool) -> None:
        self.stem = stem
        self.tokens = _HashedFile(shard_path(stem, "bin"))
        self.mask = _HashedFile(shard_path(stem, "mask")) if with_mask else None
        self.ends = array("Q")
        self.n_tokens = self.n_bytes = self.n_trained = 0

    def append(self, tokens: np.ndarray, mask: np.ndarray | None, n_bytes: int) -> None:
        self.tokens.write(tokens)
        self.n_tokens += len(tokens)
        self.n_bytes += n_bytes
        self.n_trained += len(tokens) if mask is None else int(mask.sum())
        self.ends.append(self.n_tokens)
        if self.mask is not None and mask is not None:
            self.mask.write(mask)

    def finish(self, closing: np.ndarray) -> dict[str, str]:
        self.tokens.write(closing)
        hashes = {"bin": self.tokens.close()}
        if self.mask is not None:
            self.mask.write(np.zeros(1, dtype=np.uint8))
            hashes["mask"] = self.mask.close()
        index = _HashedFile(shard_path(self.stem, "idx"))
        index.write(np.frombuffer(self.ends, dtype=np.uint64).astype("<u8"))
        return {**hashes, "idx": index.close()}

    def abandon(self) -> None:
        for file in (self.tokens, self.mask):
            if file is not None:
                file.file.close()


def write_shards(
    texts: Iterable[str],
    tokenizer: TextEncoder,
    folder: Path,
    *,
    name: str = "train",
    tokens_per_shard: int = TOKENS_PER_SHARD,
    listener: Listener | None = None,
) -> TokenShards:
    """Encode `texts` in batches, write them as the shards `name` in `folder`, and open them."""
    listener = listener or Silent()
    remaining = iter(texts)
    with ShardWriter(folder, tokenizer, name=name, tokens_per_shard=tokens_per_shard) as writer:
        while batch := list(islice(remaining, TEXTS_PER_BATCH)):
            for text, ids in zip(batch, tokenizer.encode_batch(batch), strict=True):
                writer.add_text(ids, n_bytes=len(text.encode()))
            listener.progress(f"tokenize {name}", writer.n_documents, 0, {})
    if writer.n_documents == 0:
        raise DataError(f"no text to tokenize for {folder / name}; add documents to data.sources")
    return TokenShards.open(folder, name)


def write_masked_shards(
    examples: Iterable[MaskedIds],
    tokenizer: TextEncoder,
    folder: Path,
    *,
    name: str = "train",
    tokens_per_shard: int = TOKENS_PER_SHARD,
) -> TokenShards:
    """Write rendered chats with their loss masks as the shards `name` in `folder`; open them."""
    writer = ShardWriter(
        folder, tokenizer, name=name, tokens_per_shard=tokens_per_shard, with_mask=True
    )
    with writer:
        for example in examples:
            writer.add_masked(example.ids, example.loss_mask)
    if writer.n_documents == 0:
        raise DataError(f"no chats to tokenize for {folder / name}; add chats to data.sources")
    return TokenShards.open(folder, name)
