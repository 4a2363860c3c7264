"""Packing on the page: figures as a walk over the tokens finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from groundup.data.prepare import DataConfig, TokenizerChoice, prepare
from groundup.report.data_facts import DataFacts, facts_of
from groundup.report.data_tables import packed, packing_example
from groundup.report.data_tokens import pack, token_shards
from groundup.runtime import DataError
from groundup.tokenizer import TokenizerConfig
from groundup.tokenizer.counts import CountConfig

from ..data.test_manifest import write_sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data with tokens; to be read, never written."""
    place = tmp_path_factory.mktemp("tokens")
    source = write_sources(place / "stories")
    config = DataConfig(
        sources=[str(source)],
        heldout_fraction=0.2,
        cleaning={"identify_language": False},
    )
    counting = CountConfig(n_workers=1)
    choice = TokenizerChoice(config=TokenizerConfig(vocab_size=300, counting=counting))
    prepare(config, place / "out", tokenizer=choice)
    return place / "out"


@pytest.fixture(scope="module")
def facts(folder: Path) -> DataFacts:
    return facts_of(folder)


@pytest.mark.parametrize("seq_len", [16, 256])
def test_packing_agrees_with_a_walk_over_the_tokens(folder: Path, seq_len: int) -> None:
    shards = token_shards(folder)
    places = [place for one in shards.values() for place in _places(one.document_lengths, seq_len)]
    found = pack(shards, seq_len, "concat")
    assert found.cut_share == sum(a != b for a, b in places) / len(places)
    n_tokens = sum(one.n_tokens for one in shards.values())
    assert found.n_rows == -(-n_tokens // seq_len)
    assert found.padding_share == pytest.approx(1 - n_tokens / (found.n_rows * seq_len))
    whole = pack(shards, seq_len, "best_fit")
    n_long = sum(int((one.document_lengths > seq_len).sum()) for one in shards.values())
    assert whole.cut_share == n_long / len(places)
    assert whole.unseen_share == 0
    cropped = pack(shards, seq_len, "bos_crop")
    assert cropped.n_rows * seq_len * (1 - cropped.padding_share) == pytest.approx(
        n_tokens * (1 - cropped.unseen_share)
    )


def _places(lengths: np.ndarray, seq_len: int) -> list[tuple[int, int]]:
    """The rows in which each document of a stream begins and ends."""
    at, found = 0, []
    for n in lengths.tolist():
        found.append((at // seq_len, (at + n - 1) // seq_len))
        at += n
    return found


def test_damaged_tokens_are_no_missing_tokens(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    [index] = (copy / "tokens").glob("train-*/*.idx")
    index.unlink()
    with pytest.raises(DataError, match="train-00000"):
        facts_of(copy)


def test_a_source_of_less_than_a_row_is_a_row(folder: Path) -> None:
    shards = token_shards(folder)
    most = max(one.n_tokens for one in shards.values())
    found = pack(shards, 2 * most, "concat")
    assert found.n_rows == len(shards)
    assert found.padding_share >= 0.5
    assert found.unseen_share == 0


def test_each_length_is_one_row_that_says_what_is_lost(facts: DataFacts) -> None:
    rows = packed(facts)
    assert len(rows) == len({one.seq_len for one in facts.packed}) > 1
    worst = max(one.unseen_share for one in facts.packed)
    assert worst > 0
    assert packing_example(facts).startswith(max((row["unseen"] for row in rows), key=_percent))


def _percent(text: str) -> float:
    return float(text.strip("<>%"))
