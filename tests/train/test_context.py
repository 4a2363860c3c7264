from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from groundup.data.loader import RowBatches
from groundup.data.shard_writer import write_shards
from groundup.runtime import GroundupError
from groundup.tokenizer import Tokenizer
from groundup.train.context import (
    StageContext,
    bits_per_byte,
    heldout_nats,
    rows_per_batch,
    sample_texts,
    take_bytes,
    token_rows,
)

from ..tiny_build import Recorder
from .small_job import SEQ_LEN, small_model, small_tokenizer

TEXTS = ["abba", "a longer text that fills more than one row of tokens", "b"]


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(
        folder=tmp_path / "stage",
        data=tmp_path,
        tokenizer=small_tokenizer(),
        seed=1,
        device=torch.device("cpu"),
        listener=Recorder(),
        identity={},
    )


def write(tokenizer: Tokenizer, folder: Path) -> object:
    return write_shards(TEXTS, tokenizer, folder)


def test_tokens_are_written_once(context: StageContext) -> None:
    calls: list[Path] = []

    def once(folder: Path) -> None:
        calls.append(folder)
        write(context.tokenizer, folder)

    made = [
        token_rows(context, "train", write=once, seq_len=SEQ_LEN, packing="best_fit")
        for _ in range(2)
    ]
    assert len(calls) == 1
    assert made[0].plan.fingerprint == made[1].plan.fingerprint
    assert [path.name for path in (context.folder / "tokens").iterdir()] == ["train"]


def test_tokens_cut_short_leave_nothing(context: StageContext) -> None:
    def fail(folder: Path) -> None:
        write(context.tokenizer, folder)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        token_rows(context, "train", write=fail, seq_len=SEQ_LEN, packing="best_fit")
    assert list((context.folder / "tokens").iterdir()) == []


def test_heldout_nats_are_the_sum_over_every_token_of_the_text(context: StageContext) -> None:
    """Uniform logits give ln V for each token; the ends of texts do not count."""
    rows = token_rows(
        context,
        "heldout",
        write=lambda folder: write(context.tokenizer, folder),
        seq_len=SEQ_LEN,
        packing="best_fit",
    )
    model = small_model()
    torch.nn.init.zeros_(model.embedding.weight)
    batches = RowBatches([rows], seed=0, batch_rows=1)
    n_tokens = sum(map(len, context.tokenizer.encode_batch(TEXTS)))
    nats = heldout_nats(model, batches, ignore_id=context.tokenizer.end_of_text_id)
    assert nats == pytest.approx(math.log(260) * n_tokens, rel=1e-6)
    with_ends = heldout_nats(model, batches)
    assert with_ends == pytest.approx(math.log(260) * (n_tokens + len(TEXTS)), rel=1e-6)


def test_texts_are_taken_until_the_bytes_are_full_and_at_least_one() -> None:
    assert list(take_bytes(["aaaa", "bb", "cc"], 5)) == ["aaaa", "bb"]
    assert list(take_bytes(["éé", "b"], 4)) == ["éé"]
    assert list(take_bytes(["aaaa", "bb"], 1)) == ["aaaa"]
    assert list(take_bytes([], 5)) == []


def test_bits_per_byte_by_hand() -> None:
    assert bits_per_byte(3 * math.log(2), 2) == pytest.approx(1.5)


def test_a_batch_smaller_than_a_row_is_refused() -> None:
    assert rows_per_batch(100, 32) == 3
    with pytest.raises(GroundupError, match="batch_tokens=10 is less than one row of 32 tokens"):
        rows_per_batch(10, 32)


def test_samples_are_one_line_each_and_the_same_every_time(context: StageContext) -> None:
    sample = sample_texts(context, ["ab", ""])
    first, second = sample(small_model()), sample(small_model())
    assert first == second
    assert len(first) == 2
    assert first[0].startswith("ab")
    assert all("\n" not in line for line in first)
