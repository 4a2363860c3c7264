"""Processes that fail, or are killed, are named."""

from __future__ import annotations

import os

import pytest

from groundup.runtime import GroundupError
from groundup.tokenizer.counts import (
    Shard,
    count_words,
    shards_of,
)

from .small_corpus import (
    QWEN2,
    SMALL,
    changed,
    write_corpus,
)


def exits(texts, cutter, max_in_text):
    os._exit(3)


def fails(texts, cutter, max_in_text):
    raise ZeroDivisionError("in the loop")


@pytest.fixture
def shards(tmp_path) -> list[Shard]:
    return shards_of(write_corpus(tmp_path / "corpus", n_files=6), SMALL)


def test_a_worker_that_dies_is_named(tmp_path, shards) -> None:
    config = changed(SMALL, n_workers=2)
    with pytest.raises(GroundupError, match=r"has ended \(exit code 3\).*fewer n_workers"):
        count_words(shards, QWEN2, config, folder=tmp_path / "c", loop=exits)


def test_a_worker_that_fails_shows_where(tmp_path, shards) -> None:
    config = changed(SMALL, n_workers=2)
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: in the loop"):
        count_words(shards, QWEN2, config, folder=tmp_path / "c", loop=fails)
