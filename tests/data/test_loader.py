"""Batches: labels by hand, the same rows on any number of processes, padding, the fast path."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.curriculum import (
    MixingConfig,
    MixingStageConfig,
    MixtureSource,
    plan_mixture,
)
from groundup.data.loader import RowBatches, RowSource, TokenBatch, document_offsets
from groundup.data.mixture import Stretch
from groundup.data.pack import Packing, plan_rows
from groundup.runtime import DataError

from .bytes_tokenizer import BytesTokenizer, MaskedExample, masked_shards, text_shards

E = BytesTokenizer.end_of_text_id
A, B, C, D = b"abcd"


def row_source(
    folder: Path,
    texts: list[str],
    seq_len: int,
    *,
    packing: Packing = "best_fit",
    weight: float = 1.0,
    tokens_per_shard: int = 1 << 20,
) -> RowSource:
    shards = text_shards(folder, texts, tokens_per_shard=tokens_per_shard)
    return RowSource(shards, plan_rows(shards, seq_len, packing), weight)


def only(batches: RowBatches, step: int = 0) -> TokenBatch:
    (batch,) = batches.micro_batches(step, batches.batch_rows)
    return batch


def words(n: int, letter: str = "") -> list[str]:
    return [f"{letter}{i:04d}" + "." * (i % 17) for i in range(n)]


def test_a_row_by_hand(tmp_path: Path) -> None:
    source = row_source(tmp_path, ["abc", "d", "ab"], seq_len=8, packing="concat")
    batch = only(RowBatches([source], seed=0, batch_rows=2, shuffle=False))

    assert batch.input_ids.tolist() == [[E, A, B, C, E, D, E, A], [B, 0, 0, 0, 0, 0, 0, 0]]
    assert batch.labels.tolist() == [[A, B, C, E, D, E, A, B], [E, 0, 0, 0, 0, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 0, 1], [0] * 8]
    assert batch.document_ids is not None
    assert batch.document_ids.tolist() == [[0, 0, 0, 0, 1, 1, 2, 2], [0, *[-1] * 7]]
    assert batch.document_offsets is not None
    assert batch.document_offsets.tolist() == [0, 4, 6, 8, 9, 16, 16, 16, 16]
    assert batch.document_offsets.dtype == torch.int32
    assert batch.loss_mask.tolist() == [[True] * 8, [True, *[False] * 7]]
    assert (batch.n_trained, batch.n_tokens) == (9, 9)
    kinds = [batch.input_ids.dtype, batch.labels.dtype, batch.positions.dtype]
    assert kinds == [torch.int64] * 3
    assert (batch.loss_mask.dtype, batch.document_ids.dtype) == (torch.bool, torch.int32)


def test_a_chat_trains_only_on_masked_labels(tmp_path: Path) -> None:
    example = MaskedExample([1, 2, 3, 4], [False, False, True, True])
    shards = masked_shards(tmp_path, [example])
    source = RowSource(shards, plan_rows(shards, 8))
    batch = only(RowBatches([source], seed=0, batch_rows=1))
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 0, 0, 0, 0]]
    assert batch.labels.tolist() == [[2, 3, 4, E, 0, 0, 0, 0]]
    assert batch.loss_mask.tolist() == [[False, True, True, *[False] * 5]]
    assert (batch.n_trained, batch.n_tokens) == (2, 4)


def test_unpadded_rows_of_one_span_need_no_document_ids(tmp_path: Path) -> None:
    source = row_source(tmp_path, ["abcdefg", "hijklmn"], seq_len=8)
    plain = only(RowBatches([source], seed=0, batch_rows=2))
    assert plain.document_ids is plain.document_offsets is None
    padded = row_source(tmp_path / "padded", ["abcdefg", "hi"], seq_len=8)
    assert only(RowBatches([padded], seed=0, batch_rows=2)).document_ids is not None


def test_rows_are_trimmed_to_a_multiple_of_eight(tmp_path: Path) -> None:
    source = row_source(tmp_path, ["x" * 9], seq_len=64)
    batch = only(RowBatches([source], seed=0, batch_rows=1))
    assert batch.input_ids.shape == (1, 16)
    short = row_source(tmp_path / "short", ["x" * 9], seq_len=12)
    assert only(RowBatches([short], seed=0, batch_rows=1)).input_ids.shape == (1, 12)


def test_no_row_of_the_attention_mask_is_empty(tmp_path: Path) -> None:
    source = row_source(tmp_path, words(30), seq_len=40)
    for batch in RowBatches([source], seed=0, batch_rows=4).every_row_once(4):
        assert batch.document_ids is not None
        same = batch.document_ids[:, :, None] == batch.document_ids[:, None, :]
        causal = torch.ones(same.shape[1:], dtype=torch.bool).tril()
        assert (same & causal).any(dim=-1).all()


def tokens_of(batch: TokenBatch) -> list[tuple[int, int]]:
    """(input, label) of everything that is not padding."""
    inputs, labels = batch.input_ids, batch.labels
    real = torch.ones_like(inputs, dtype=torch.bool)
    if batch.document_ids is not None:
        real = batch.document_ids >= 0
    return list(zip(inputs[real].tolist(), labels[real].tolist(), strict=True))


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 40),
    seq_len=st.integers(4, 40),
    packing=st.sampled_from(["concat", "best_fit"]),
    per_shard=st.integers(5, 400),
)
def test_an_epoch_holds_every_token_with_its_successor_once(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    seq_len: int,
    packing: Packing,
    per_shard: int,
) -> None:
    texts = ["x" * seq_len, *words(n)]
    folder = tmp_path_factory.mktemp("epoch")
    source = row_source(folder, texts, seq_len, packing=packing, tokens_per_shard=per_shard)
    expected = []
    for text in texts:
        ids = [E, *text.encode(), E]
        expected += list(pairwise(ids))

    in_order = RowBatches([source], seed=1, batch_rows=3)
    once = [pair for batch in in_order.every_row_once(3) for pair in tokens_of(batch)]
    assert sorted(once) == sorted(expected)

    one_row_steps = RowBatches([source], seed=1, batch_rows=1)
    epoch = [
        pair
        for step in range(one_row_steps.n_rows)
        for pair in tokens_of(only(one_row_steps, step))
    ]
    assert sorted(epoch) == sorted(expected)


def rows_of(batch: TokenBatch) -> list[tuple[list[int], list[int]]]:
    """Each row's tokens and labels without the padding at its end."""
    rows = []
    for i in range(len(batch.input_ids)):
        ids = None if batch.document_ids is None else batch.document_ids[i]
        length = batch.input_ids.shape[1] if ids is None else int((ids >= 0).sum())
        rows.append((batch.input_ids[i, :length].tolist(), batch.labels[i, :length].tolist()))
    return rows


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("micro_rows", [1, 2, 64])
def test_the_ranks_together_see_the_global_batch_in_its_order(
    tmp_path: Path, world: int, micro_rows: int
) -> None:
    first = row_source(tmp_path / "first", words(200), 32, tokens_per_shard=500)
    second = row_source(tmp_path / "second", words(100, "s"), 32, weight=2.0)
    batches = RowBatches([first, second], seed=5, batch_rows=10)
    for step in (0, 1, 50):
        whole = rows_of(only(batches, step))
        joined: list[tuple[list[int], list[int]]] = [([], [])] * 10
        n_micro = set()
        for rank in range(world):
            micro = list(batches.micro_batches(step, micro_rows, rank, world))
            n_micro.add(len(micro))
            mine = [row for batch in micro for row in rows_of(batch) if row[0]]
            joined[rank::world] = mine
        assert joined == whole
        assert len(n_micro) == 1  # every rank takes part in every step of a collective


def test_a_rank_without_rows_yields_padding(tmp_path: Path) -> None:
    batches = RowBatches([row_source(tmp_path, words(9), 32)], seed=0, batch_rows=2)
    (batch,) = batches.micro_batches(0, 4, rank=2, world=3)
    assert (batch.n_tokens, batch.n_trained) == (0, 0)
    assert not batch.loss_mask.any()
    assert batch.document_ids is not None


def test_steps_are_functions_of_the_seed(tmp_path: Path) -> None:
    source = row_source(tmp_path, words(300), 32)
    batches = RowBatches([source], seed=5, batch_rows=8)
    again = RowBatches([source], seed=5, batch_rows=8)
    other = RowBatches([source], seed=6, batch_rows=8)
    later = rows_of(only(batches, 7))
    assert rows_of(only(again, 7)) == later
    assert rows_of(only(other, 7)) != later
    assert again.fingerprint == batches.fingerprint != other.fingerprint
    assert RowBatches([source], seed=5, batch_rows=4).fingerprint != batches.fingerprint


def test_weights_set_how_often_rows_are_seen(tmp_path: Path) -> None:
    first = row_source(tmp_path / "first", ["a" * 7] * 64, 8)
    second = row_source(tmp_path / "second", ["b" * 7] * 64, 8, weight=3.0)
    batch = only(RowBatches([first, second], seed=0, batch_rows=2048))
    n_second = int((batch.input_ids[:, 1] == ord("b")).sum())
    assert n_second == 2048 * 3 // 4


def test_sizes_are_told(tmp_path: Path) -> None:
    batches = RowBatches([row_source(tmp_path, ["x" * 7] * 5, 8)], seed=0, batch_rows=4)
    assert (batches.n_rows, batches.seq_len, batches.tokens_per_step) == (5, 8, 32)


def test_a_batch_moves_to_a_device(tmp_path: Path) -> None:
    batch = only(RowBatches([row_source(tmp_path, words(5), 64)], seed=0, batch_rows=1))
    moved = batch.to(torch.device("meta"))
    assert moved.document_ids is not None
    devices = {moved.input_ids.device, moved.labels.device, moved.positions.device}
    assert {*devices, moved.loss_mask.device, moved.document_ids.device} == {torch.device("meta")}
    assert moved.document_offsets is not None
    assert moved.document_offsets.device == torch.device("meta")
    assert moved.n_tokens == batch.n_tokens


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    source = row_source(tmp_path / "one", words(5), 32)
    other = row_source(tmp_path / "two", words(6), 16)
    with pytest.raises(ValueError, match="sources is empty"):
        RowBatches([], seed=0, batch_rows=1)
    with pytest.raises(ValueError, match="batch_rows=0 must be at least 1"):
        RowBatches([source], seed=0, batch_rows=0)
    with pytest.raises(ValueError, match="plans of the same seq_len"):
        RowBatches([source, other], seed=0, batch_rows=1)
    with pytest.raises(DataError, match="plan was made for other token shards"):
        RowBatches([RowSource(source.shards, other.plan)], seed=0, batch_rows=1)
    with pytest.raises(ValueError, match=r"rank=2 must lie in 0\.\.1"):
        list(RowBatches([source], seed=0, batch_rows=1).micro_batches(0, 1, rank=2, world=2))


# --- a run on changing numbers of processes -------------------------------------------------------


def staged(tmp_path: Path, n_steps: int, batch_rows: int, seed: int = 5) -> RowBatches:
    """Three sources packed in three ways, a stage that ends inside a batch, a cap that binds."""
    sources = [
        row_source(tmp_path / "web", words(400), 32, tokens_per_shard=500),
        row_source(tmp_path / "books", words(60, "s"), 32, packing="bos_crop"),
        row_source(tmp_path / "code", words(90, "t"), 32, packing="concat", weight=2.0),
    ]
    names = ("web", "books", "code")
    plan = plan_mixture(
        MixingConfig(
            temperature=2.0,
            stages=(MixingStageConfig(until=32 * 403, weights={"code": 0, "books": 3}),),
        ),
        [
            MixtureSource(name, s.plan.n_rows, s.weight, 1.5 if name == "books" else None)
            for name, s in zip(names, sources, strict=True)
        ],
        n_samples=n_steps * batch_rows,
        sample_tokens=32,
    )
    assert plan.messages()
    return RowBatches(sources, seed=seed, batch_rows=batch_rows, stretches=plan.stretches)


def rows_of_step(batches: RowBatches, step: int, world: int) -> list[tuple[list[int], list[int]]]:
    """The rows of a step in the order of their samples, from what `world` processes read."""
    joined: list[tuple[list[int], list[int]]] = [([], [])] * batches.batch_rows
    for rank in range(world):
        micro = list(batches.micro_batches(step, 3, rank, world))
        joined[rank::world] = [row for batch in micro for row in rows_of(batch) if row[0]]
    return joined


def test_the_samples_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """Nor when it changes midway: each run goes on where the one before it stopped."""
    n_steps = 80
    alone = staged(tmp_path, n_steps, batch_rows=10)
    expected = [row for step in range(n_steps) for row in rows_of_step(alone, step, 1)]
    for world in (2, 3, 8):
        several = [row for step in range(n_steps) for row in rows_of_step(alone, step, world)]
        assert several == expected
    changing = []
    for first, last, world in ((0, 17, 3), (17, 41, 8), (41, 60, 1), (60, n_steps, 2)):
        resumed = RowBatches(  # nothing is carried over but the step
            alone.sources, seed=5, batch_rows=10, stretches=alone.stretches
        )
        assert resumed.fingerprint == alone.fingerprint
        for step in range(first, last):
            changing += rows_of_step(resumed, step, world)
    assert changing == expected


def test_the_rows_that_were_seen_are_told_by_source(tmp_path: Path) -> None:
    batches = staged(tmp_path, 80, batch_rows=10)
    n_web, n_books, n_code = batches.rows_seen(80)
    assert n_web + n_books + n_code == 800
    assert n_books == int(1.5 * batches.sources[1].plan.n_rows)
    assert batches.rows_seen(40)[2] == 0  # the first 403 rows are without code


def test_the_fingerprint_holds_the_stretches(tmp_path: Path) -> None:
    sources = [row_source(tmp_path / name, words(50, name), 32) for name in "ab"]

    def fingerprint(n: int, *parts: int) -> str:
        stretches = [Stretch(parts)] if parts else None
        return RowBatches(sources[:n], seed=0, batch_rows=4, stretches=stretches).fingerprint

    assert len({fingerprint(2), fingerprint(2, 1, 2), fingerprint(2, 1, 3)}) == 3
    assert fingerprint(1) == fingerprint(1, 5)  # one source: the same rows in the same order


# --- where documents begin ------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_offsets_cut_the_rows_where_the_ids_change(rows: list[list[int]]) -> None:
    """Each row's documents by their lengths; what is missing to the longest row is padding."""
    width = max(map(sum, rows))
    ids = np.full((len(rows), width), -1)
    lengths: list[int] = []
    for row, documents in zip(ids, rows, strict=True):
        row[: sum(documents)] = np.repeat(np.arange(len(documents)), documents)
        lengths += documents + [width - sum(documents)] * (sum(documents) < width)
    offsets = document_offsets(ids)
    n_documents = len(offsets) - 1
    assert np.diff(offsets)[: len(lengths)].tolist() == lengths
    assert not np.diff(offsets)[len(lengths) :].any()
    assert n_documents & (n_documents - 1) == 0
    assert len(lengths) <= n_documents < 2 * len(lengths)


def test_batches_of_similar_rows_share_one_shape(tmp_path: Path) -> None:
    """What a compiled block needs: many batches, and hardly more than one shape of offsets."""
    batches = RowBatches([row_source(tmp_path, words(300), 64)], seed=0, batch_rows=8)
    offsets = [only(batches, step).document_offsets for step in range(50)]
    assert len({found.shape for found in offsets}) <= 2 < len({len(o.unique()) for o in offsets})
