"""The simplest tokenizer there is, bytes as ids, for tests of what comes after one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundup.data.shard_writer import TOKENS_PER_SHARD, write_masked_shards, write_shards
from groundup.data.shards import TokenShards


class BytesTokenizer:
    end_of_text_id = 256
    fingerprint = "bytes"

    def __init__(self, vocab_size: int = 257) -> None:
        self.vocab_size = vocab_size

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]


@dataclass(frozen=True)
class MaskedExample:
    ids: list[int]
    loss_mask: list[bool]


def text_shards(
    folder: Path,
    texts: Iterable[str],
    *,
    tokenizer: BytesTokenizer | None = None,
    tokens_per_shard: int = TOKENS_PER_SHARD,
) -> TokenShards:
    tokenizer = tokenizer or BytesTokenizer()
    return write_shards(texts, tokenizer, folder, tokens_per_shard=tokens_per_shard)


def masked_shards(folder: Path, examples: Iterable[MaskedExample]) -> TokenShards:
    return write_masked_shards(examples, BytesTokenizer(), folder)
