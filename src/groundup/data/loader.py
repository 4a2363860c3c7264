"""Batches of token rows for training, each a function of (seed, step).

`RowBatches` joins token shards, their packing plans and the mixture: it finds the rows of a step,
reads their spans from the memory-mapped shards and lays them into tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from groundup.data.mixture import MIXTURE_VERSION, Mixture, Stretch
from groundup.data.pack import RowPlan
from groundup.data.shards import TokenShards
from groundup.runtime import DataError, stable_hash

B = TypeVar("B")
PAD_DOCUMENT = -1
WIDTH_MULTIPLE = 8  # tensor cores want row lengths in multiples of 8


@dataclass(frozen=True)
class TokenBatch:
    """Rows of tokens with their labels; all tensors are (batch, seq_len).

    `labels[i]` is the token that follows `input_ids[i]`, counted in the loss where `loss_mask`
    is true. `positions` restart at 0 with each span. A token may attend to those before it that
    carry the same number in `document_ids`; padding has the number -1, so a padded token attends
    to padding and no row of attention is ever empty. `document_ids` is None when every row is one
    unpadded span, where plain causal attention gives the same. `document_offsets` says where runs
    of one number begin, as `document_offsets` of this module; None where `document_ids` is.
    """

    input_ids: torch.Tensor  # int64
    labels: torch.Tensor  # int64
    loss_mask: torch.Tensor  # bool
    positions: torch.Tensor  # int64
    document_ids: torch.Tensor | None  # int32
    trained: torch.Tensor | None  # int64 (n_trained,), places in the flattened rows; None: all
    n_trained: int  # labels that count in the loss
    n_tokens: int  # tokens that are not padding
    document_offsets: torch.Tensor | None = None  # int32 (some power of two + 1,)

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on another device."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> TokenBatch:
        """The same batch in page-locked memory: copies from it to a GPU need not be waited for."""
        return map_tensors(self, torch.Tensor.pin_memory)

    def without_labels(self, token_id: int) -> TokenBatch:
        """The same batch with the labels `token_id` not counted."""
        mask = self.loss_mask & (self.labels != token_id)
        return replace(self, loss_mask=mask, trained=_places(mask), n_trained=int(mask.sum()))


def map_tensors(batch: B, change: Callable[[torch.Tensor], torch.Tensor]) -> B:
    """The same dataclass with each of its tensors changed."""
    tensors = {
        name: change(value)
        for name, value in vars(batch).items()
        if isinstance(value, torch.Tensor)
    }
    return replace(batch, **tensors)  # type: ignore[type-var]


def document_offsets(document_ids: np.ndarray) -> np.ndarray:
    """Where runs of equal ids begin and end in the flattened rows: (batch, seq_len) -> (n + 1,).

    A run ends with its row, and padding is a run like others, so that every place lies in one. n is
    the number of runs rounded up to a power of two, the runs too many being empty at the end: what
    is compiled for the shapes of a batch then fits nearly all batches, and where an attention
    kernel keeps room for each run, that room at most doubles.

    >>> document_offsets(np.array([[0, 0, 1, 1], [0, -1, -1, -1], [0, 0, 0, 0]])).tolist()
    [0, 2, 4, 5, 8, 12, 12, 12, 12]
    """
    begins = np.ones(document_ids.shape, dtype=np.bool_)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    starts = np.flatnonzero(begins)
    n_runs = 1 << (len(starts) - 1).bit_length()
    offsets = np.full(n_runs + 1, document_ids.size, dtype=np.int32)
    offsets[: len(starts)] = starts
    return offsets


def _places(mask: torch.Tensor) -> torch.Tensor | None:
    """Where a mask is true, in the flattened rows; None where it is true everywhere."""
    return None if bool(mask.all()) else mask.flatten().nonzero().squeeze(1)


@dataclass(frozen=True)
class RowSource:
    """Token shards with their plan; `weight` says how often each of its rows is seen.

    At equal weights the sources are seen in proportion to their sizes, as if they were one; a
    source of weight 2 is seen twice as often as that.
    """

    shards: TokenShards
    plan: RowPlan
    weight: float = 1.0


class RowBatches:
    """Batches of `batch_rows` rows, drawn from one or several sources in an order set by `seed`.

    `stretches` (`curriculum.plan_mixture` makes them) say which share of the rows each source has,
    and when; None: in proportion to its rows times its weight.
    """

    def __init__(
        self,
        sources: Sequence[RowSource],
        *,
        seed: int,
        batch_rows: int,
        shuffle: bool = True,
        stretches: Sequence[Stretch] | None = None,
    ) -> None:
        if not sources:
            raise ValueError("sources is empty; give at least one RowSource")
        if batch_rows < 1:
            raise ValueError(f"batch_rows={batch_rows} must be at least 1")
        if len({source.plan.seq_len for source in sources}) > 1:
            raise ValueError("all sources need plans of the same seq_len; plan them again")
        for source in sources:
            if source.plan.shards_fingerprint != source.shards.fingerprint:
                raise DataError(
                    "a packing plan was made for other token shards; make it again with plan_rows"
                )
        self.sources, self.seed = tuple(sources), seed
        self.batch_rows, self.shuffle = batch_rows, shuffle
        sizes = [source.plan.n_rows for source in sources]
        shares = [source.weight * source.plan.n_rows for source in sources]
        self._mixture = Mixture(sizes, stretches or [Stretch.of(shares)], seed, shuffle=shuffle)

    @property
    def seq_len(self) -> int:
        return self.sources[0].plan.seq_len

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Which share of the rows each source has, and when."""
        return tuple(self._mixture.stretches)

    @property
    def n_rows(self) -> int:
        """Rows in all sources together."""
        return sum(source.plan.n_rows for source in self.sources)

    @property
    def tokens_per_step(self) -> int:
        """Row positions in a global batch, padding included."""
        return self.batch_rows * self.seq_len

    @property
    def fingerprint(self) -> str:
        """Changes when sample g of any step would; a checkpoint keeps it beside the step."""
        sources = [[source.plan.fingerprint, source.weight] for source in self.sources]
        order: list[Any] = []
        if len(sources) > 1:  # rows of a single source come in the same order whatever its shares
            order = [MIXTURE_VERSION, list(self.stretches)]
        return stable_hash([sources, self.seed, self.batch_rows, self.shuffle, *order])

    def rows_seen(self, n_steps: int) -> list[int]:
        """How many rows of each source the first `n_steps` steps take, seen again counted again."""
        counts: list[int] = self._mixture.counts(n_steps * self.batch_rows).tolist()
        return counts

    def micro_batches(
        self, step: int, micro_rows: int, rank: int = 0, world: int = 1
    ) -> Iterator[TokenBatch]:
        """Process `rank`'s share of step `step`, at most `micro_rows` rows at a time.

        Of the global batch, samples step * batch_rows and on, rank r of W takes the places r,
        r + W, ... Every rank yields the same number of micro-batches: one that has no rows left
        yields a single row of padding.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank={rank} must lie in 0..{world - 1}")
        mine = np.arange(rank, self.batch_rows, world)
        source, row = self._mixture(step * self.batch_rows + mine)
        rows_of_rank_0 = -(-self.batch_rows // world)
        for first in range(0, rows_of_rank_0, micro_rows):
            here = slice(first, first + micro_rows)
            yield self._assemble(source[here], row[here])

    def every_row_once(
        self, micro_rows: int, rank: int = 0, world: int = 1
    ) -> Iterator[TokenBatch]:
        """All rows of all sources in plan order, each exactly once: for evaluation."""
        sizes = np.array([source.plan.n_rows for source in self.sources])
        source = np.repeat(np.arange(len(sizes)), sizes)
        row = np.arange(len(source)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        source, row = source[rank::world], row[rank::world]
        for first in range(0, len(row), micro_rows):
            here = slice(first, first + micro_rows)
            yield self._assemble(source[here], row[here])

    def _assemble(self, source: np.ndarray, row: np.ndarray) -> TokenBatch:
        """source, row: (batch,) -> the batch of those rows, trimmed to the longest."""
        tables = [
            (self.sources[index].shards, _spans_of(self.sources[index].plan, row, source == index))
            for index in np.unique(source).tolist()
        ]
        n_rows = max(len(row), 1)
        longest = max((table.longest_row for _, table in tables), default=1)
        width = min(-(-longest // WIDTH_MULTIPLE) * WIDTH_MULTIPLE, self.seq_len)
        arrays = _BatchArrays(n_rows, width)
        for shards, table in tables:
            arrays.lay(shards, table)
        return arrays.finish()


@dataclass(frozen=True)
class _SpanTable:
    """The spans of some rows of one source, sorted by where they lie in the shards; all (n_spans,).

    `row` and `column` say where in the batch a span begins, `ordinal` its number within the row.
    """

    start: np.ndarray
    length: np.ndarray
    row: np.ndarray
    column: np.ndarray
    ordinal: np.ndarray

    @property
    def longest_row(self) -> int:
        return int((self.column + self.length).max())


def _spans_of(plan: RowPlan, row: np.ndarray, selected: np.ndarray) -> _SpanTable:
    """The spans of the `selected` of a batch's rows; row, selected: (batch,)."""
    batch_rows, plan_rows = np.flatnonzero(selected), row[selected]
    first = plan.row_offsets[plan_rows]
    n_spans = plan.row_offsets[plan_rows + 1] - first
    first_here = np.cumsum(n_spans) - n_spans
    ordinal = np.arange(int(n_spans.sum())) - np.repeat(first_here, n_spans)
    span = np.repeat(first, n_spans) + ordinal
    start, length = plan.span_start[span].astype(np.int64), plan.span_length[span].astype(np.int64)
    before = np.cumsum(length) - length
    column = before - np.repeat(before[first_here], n_spans)
    order = np.argsort(start)  # neighbours in the file are read one after the other
    return _SpanTable(
        start=start[order],
        length=length[order],
        row=np.repeat(batch_rows, n_spans)[order],
        column=column[order],
        ordinal=ordinal[order],
    )


class _BatchArrays:
    """The arrays of a batch while spans are being laid into it; starts as all padding."""

    def __init__(self, n_rows: int, width: int) -> None:
        shape = (n_rows, width)
        self.input_ids = np.zeros(shape, dtype=np.int64)
        self.labels = np.zeros(shape, dtype=np.int64)
        self.positions = np.zeros(shape, dtype=np.int64)
        self.loss_mask = np.zeros(shape, dtype=np.bool_)
        self.document_ids = np.full(shape, PAD_DOCUMENT, dtype=np.int32)
        self.n_tokens = self.n_spans = 0

    def lay(self, shards: TokenShards, spans: _SpanTable) -> None:
        inputs, labels, trained = shards.gather(spans.start, spans.length)
        first_token = np.cumsum(spans.length) - spans.length
        within = np.arange(len(inputs)) - np.repeat(first_token, spans.length)
        width = self.input_ids.shape[1]
        at = np.repeat(spans.row * width + spans.column, spans.length) + within
        self.input_ids.reshape(-1)[at] = inputs
        self.labels.reshape(-1)[at] = labels
        self.positions.reshape(-1)[at] = within
        self.loss_mask.reshape(-1)[at] = True if trained is None else trained
        self.document_ids.reshape(-1)[at] = np.repeat(spans.ordinal.astype(np.int32), spans.length)
        self.n_tokens += len(inputs)
        self.n_spans += len(spans.start)

    def finish(self) -> TokenBatch:
        n_rows = len(self.input_ids)
        plain_causal = self.n_spans == n_rows and self.n_tokens == self.input_ids.size
        loss_mask = torch.from_numpy(self.loss_mask)
        return TokenBatch(
            input_ids=torch.from_numpy(self.input_ids),
            labels=torch.from_numpy(self.labels),
            loss_mask=loss_mask,
            positions=torch.from_numpy(self.positions),
            document_ids=None if plain_causal else torch.from_numpy(self.document_ids),
            document_offsets=None
            if plain_causal
            else torch.from_numpy(document_offsets(self.document_ids)),
            trained=_places(loss_mask),
            n_trained=int(self.loss_mask.sum()),
            n_tokens=self.n_tokens,
        )
