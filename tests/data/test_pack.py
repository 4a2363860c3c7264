"""Packing: every token exactly once, documents kept whole, errors with their fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.crop import pack_cropping
from groundup.data.pack import Packing, RowPlan, pack_best_fit, plan_rows
from groundup.data.shards import TokenShards
from groundup.runtime import DataError

from .bytes_tokenizer import text_shards


def spans_of_row(plan: RowPlan, row: int) -> list[tuple[int, int, int]]:
    here = slice(int(plan.row_offsets[row]), int(plan.row_offsets[row + 1]))
    columns = (plan.span_document, plan.span_start, plan.span_length)
    return list(zip(*(column[here].tolist() for column in columns), strict=True))


def covered_positions(plan: RowPlan) -> list[int]:
    spans = zip(plan.span_start.tolist(), plan.span_length.tolist(), strict=True)
    return sorted(p for start, length in spans for p in range(start, start + length))


def document_positions(shards: TokenShards) -> list[int]:
    spans = zip(shards.document_starts.tolist(), shards.document_lengths.tolist(), strict=True)
    return [p for start, length in spans for p in range(start, start + length)]


def test_concat_by_hand(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["abc", "d", "efghi"])  # 4 + 2 + 6 tokens with end of text
    plan = plan_rows(shards, seq_len=5, packing="concat")
    assert [spans_of_row(plan, row) for row in range(plan.n_rows)] == [
        [(0, 0, 4), (1, 4, 1)],
        [(1, 5, 1), (2, 6, 4)],
        [(2, 10, 2)],
    ]
    assert plan.padding_share == pytest.approx(3 / 15)


def test_best_fit_by_hand(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["abc", "d", "efghi"])
    plan = plan_rows(shards, seq_len=5, packing="best_fit")
    assert [spans_of_row(plan, row) for row in range(plan.n_rows)] == [
        [(2, 6, 5)],  # the long document fills a row
        [(0, 0, 4), (2, 11, 1)],  # its last token fits after the next longest
        [(1, 4, 2)],
    ]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=25),
    seq_len=st.integers(1, 16),
    packing=st.sampled_from(["concat", "best_fit"]),
    per_shard=st.integers(1, 100),
)
def test_every_token_stands_in_exactly_one_row(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seq_len: int,
    packing: Packing,
    per_shard: int,
) -> None:
    texts = ["x" * (seq_len + size) for size in sizes]
    folder = tmp_path_factory.mktemp("shards")
    shards = text_shards(folder, texts, tokens_per_shard=per_shard)
    plan = plan_rows(shards, seq_len, packing)

    assert covered_positions(plan) == document_positions(shards)
    per_row = np.add.reduceat(plan.span_length.astype(int), plan.row_offsets[:-1])
    assert per_row.max() <= seq_len
    if packing == "concat":
        assert (per_row[:-1] == seq_len).all()
    ends = shards.document_starts + shards.document_lengths
    document = plan.span_document.astype(int)
    assert (plan.span_start >= shards.document_starts[document].astype(np.uint64)).all()
    assert (plan.span_start.astype(int) + plan.span_length <= ends[document]).all()


def best_fit_one_at_a_time(lengths: list[int], capacity: int) -> list[int]:
    """How many tokens each row holds under textbook best-fit decreasing."""
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in spaces if space >= length]
        if fitting:
            spaces[spaces.index(min(fitting))] -= length
        else:
            spaces.append(capacity - length)
    return sorted(capacity - space for space in spaces)


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 24), min_size=1, max_size=80))
def test_best_fit_equals_the_textbook_one_piece_at_a_time(lengths: list[int]) -> None:
    rows = pack_best_fit(np.array(lengths), 24)
    held = np.bincount(rows, weights=lengths)
    assert sorted(held.astype(int).tolist()) == best_fit_one_at_a_time(lengths, 24)


def padding_without_packing(shards: TokenShards, seq_len: int) -> float:
    """The share of padding without packing."""
    return 1 - shards.n_tokens / (shards.n_documents * seq_len)


def test_a_document_that_fits_is_never_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shards = text_shards(tmp_path, ["x" * int(n) for n in rng.integers(1, 32, size=300)])
    plan = plan_rows(shards, 32, "best_fit")
    assert plan.n_spans == shards.n_documents
    assert plan.padding_share < padding_without_packing(shards, 32) / 4


# --- cropping -------------------------------------------------------------------------------------


def test_bos_crop_by_hand(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["abc", "d", "efghi", "jklmnopq"])  # 4, 2, 6, 9 tokens
    plan = plan_rows(shards, seq_len=7, packing="bos_crop")
    assert [spans_of_row(plan, row) for row in range(plan.n_rows)] == [
        [(2, 6, 6), (1, 4, 1)],  # nothing fits behind the 6, so the shortest is cropped
        [(0, 0, 4), (3, 12, 3)],
    ]
    assert (plan.n_tokens, plan.n_cropped, plan.padding_share) == (14, 7, 0)
    assert plan.cropped_share == pytest.approx(7 / 21)


def crop_one_at_a_time(lengths: list[int], capacity: int) -> list[list[tuple[int, int]]]:
    """The published loop over a buffer, which here holds all documents: (document, kept) by row."""
    buffer = list(enumerate(lengths))
    rows = []
    while buffer:
        row: list[tuple[int, int]] = []
        space = capacity
        while space and buffer:
            fitting = [entry for entry in buffer if entry[1] <= space]
            if fitting:
                chosen = max(fitting, key=lambda entry: entry[1])
            else:
                chosen = min(buffer, key=lambda entry: entry[1])
            buffer.remove(chosen)
            row.append((chosen[0], min(chosen[1], space)))
            space -= row[-1][1]
        rows.append(row)
    return rows


@settings(max_examples=200, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60), capacity=st.integers(1, 30))
def test_cropping_equals_the_published_loop(lengths: list[int], capacity: int) -> None:
    document, row, kept = pack_cropping(np.array(lengths), capacity)
    rows: list[list[tuple[int, int]]] = [[] for _ in range(int(row[-1]) + 1)]
    for d, r, k in zip(document.tolist(), row.tolist(), kept.tolist(), strict=True):
        rows[r].append((d, k))
    assert rows == crop_one_at_a_time(lengths, capacity)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=25),
    seq_len=st.integers(1, 16),
    per_shard=st.integers(1, 100),
)
def test_cropped_rows_begin_with_documents_and_are_full(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seq_len: int, per_shard: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    shards = text_shards(folder, ["x" * size for size in sizes], tokens_per_shard=per_shard)
    plan = plan_rows(shards, seq_len, "bos_crop")
    document = plan.span_document.astype(int)
    assert sorted(document.tolist()) == list(range(shards.n_documents))
    assert plan.span_start.tolist() == shards.document_starts[document].tolist()
    cropped = plan.span_length < shards.document_lengths[document]
    assert (plan.span_length <= shards.document_lengths[document]).all()
    last_of_row = np.isin(np.arange(plan.n_spans), plan.row_offsets[1:] - 1)
    assert not (cropped & ~last_of_row).any()  # only what fills a row up is cropped
    per_row = np.add.reduceat(plan.span_length.astype(int), plan.row_offsets[:-1])
    assert (per_row[:-1] == seq_len).all()
    assert per_row[-1] <= seq_len
    assert plan.n_cropped == shards.n_tokens - plan.n_tokens


# --- on disk --------------------------------------------------------------------------------------


def test_a_plan_without_cropped_tokens_is_read(tmp_path: Path) -> None:
    """As they were written before there was a method that crops."""
    plan = plan_rows(text_shards(tmp_path / "shards", ["abc", "defgh"]), 6, "concat")
    plan.save(tmp_path / "plan")
    summary = json.loads((tmp_path / "plan" / "plan.json").read_text())
    del summary["n_cropped"], summary["cropped_share"]
    (tmp_path / "plan" / "plan.json").write_text(json.dumps(summary))
    loaded = RowPlan.load(tmp_path / "plan")
    assert (loaded.n_cropped, loaded.fingerprint) == (0, plan.fingerprint)


@pytest.mark.parametrize("packing", ["concat", "best_fit", "bos_crop"])
def test_a_plan_comes_back_from_disk(packing: Packing, tmp_path: Path) -> None:
    shards = text_shards(tmp_path / "shards", ["abc", "defgh", "ij"])
    plan = plan_rows(shards, 6, packing)
    plan.save(tmp_path / "plan")
    loaded = RowPlan.load(tmp_path / "plan")
    assert loaded.fingerprint == plan.fingerprint
    assert (loaded.seq_len, loaded.packing, loaded.n_rows) == (6, packing, plan.n_rows)
    assert loaded.n_cropped == plan.n_cropped == (1 if packing == "bos_crop" else 0)
    for name in ("row_offsets", "span_start", "span_length", "span_document"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(plan, name))
    assert plan.fingerprint != plan_rows(shards, 7, packing).fingerprint


def test_a_missing_plan_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no packing plan in"):
        RowPlan.load(tmp_path)


@pytest.mark.parametrize("packing", get_args(Packing))
def test_a_source_below_one_row_is_a_row_with_padding(tmp_path: Path, packing: Packing) -> None:
    shards = text_shards(tmp_path, ["x" * 60, "x" * 18])
    plan = plan_rows(shards, 256, packing)
    assert (plan.n_rows, plan.n_tokens, plan.n_cropped) == (1, 80, 0)
    assert plan.padding_share == 1 - 80 / 256


def test_padding_and_cropping_of_the_methods(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(3.5, 1.0, size=3000).astype(int) + 1
    shards = text_shards(tmp_path, ["x" * int(n) for n in sizes])
    found = {packing: plan_rows(shards, 64, packing) for packing in get_args(Packing)}
    assert found["concat"].padding_share < 0.001
    assert found["bos_crop"].padding_share < 0.001
    assert found["concat"].n_cropped == found["best_fit"].n_cropped == 0
    assert found["best_fit"].padding_share < 0.01
    beyond_a_row = np.maximum(shards.document_lengths - 64, 0).sum() / shards.n_tokens
    assert beyond_a_row < found["bos_crop"].cropped_share < beyond_a_row + 0.05


def test_a_row_length_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seq_len=0 must be at least 1"):
        plan_rows(text_shards(tmp_path, ["a"]), 0)
