"""The order of training samples as a function: which row is sample g, from (seed, g) alone.

Nothing is shuffled in memory and nothing but a step number is saved: a run that stops and goes on,
on another number of processes, sees the same samples in the same order. `curriculum.py` makes the
stretches from what a recipe says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from groundup.runtime import derive_seed

MIXTURE_VERSION = 2  # changes when the same stretches would give another order
BLOCK = 2048
RESOLUTION = 1 << 32  # parts that weights are turned into: shares are off by 1e-10 at most
_TABLES_KEPT = 8
_ROUNDS = 8
_MIN_HALF_BITS = 2  # a network on 2 bits in all reaches too few of the possible orders
# SplitMix64 (Steele, Lea, Flood 2014): the step of its counter, and the multipliers of a hash in
# which every bit of the input reaches every bit of the output.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Permutation:
    """A pseudo-random order of range(n) that computes each place on its own.

    A Feistel network (Luby and Rackoff 1988) on 2b bits splits a number into halves and repeats

        left, right  <-  right, left XOR hash(right, round key)

    Each round can be undone, so whatever the hash, the numbers below 4^b are permuted. A place
    that lands at n or beyond is sent through again until it lands below n (cycle walking, Black
    and Rogaway 2002): that follows the permutation's own cycle, so no two places can meet.

    >>> order = Permutation(10, seed=0)
    >>> sorted(order(np.arange(10)).tolist()) == list(range(10))
    True
    >>> bool(order(np.array([7]))[0] == order(np.arange(10))[7])
    True
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ValueError(f"n={n} must be at least 1")
        self.n, self.seed = n, seed

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """places: (count,) from 0 to n - 1 -> what stands at each of them, (count,) int64."""
        return _permute(places, self.n, _keys(self.seed, np.zeros_like(places)))


def shuffled(counts: np.ndarray, n: int, seed: int) -> np.ndarray:
    """The item seen at each running count when range(n) is gone through again and again.

    Count c falls in epoch c // n, and every epoch has an order of its own, keyed by (seed, epoch).
    counts: (count,) -> (count,) int64.

    >>> seen = shuffled(np.arange(6), n=3, seed=1)
    >>> sorted(seen[:3].tolist()), sorted(seen[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    epochs, places = np.divmod(counts, n)
    return _permute(places, n, _keys(derive_seed(seed, "epoch"), epochs))


def _keys(seed: int, numbers: np.ndarray) -> np.ndarray:
    """An independent key for each (seed, number): place `number` in the seed's SplitMix64 run."""
    return _mix(np.uint64(seed % (1 << 64)) + (numbers.astype(np.uint64) + np.uint64(1)) * _STEP)


def _permute(places: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Send each of `places` through the permutation of range(n) that its key stands for."""
    if places.size and (int(places.min()) < 0 or int(places.max()) >= n):
        raise ValueError(f"places must lie in 0..{n - 1}")
    half_bits = max(_MIN_HALF_BITS, -(-(n - 1).bit_length() // 2))
    rounds = np.arange(_ROUNDS, dtype=np.uint64)[:, None]
    round_keys = _mix(keys + rounds)  # (_ROUNDS, count)
    values = _feistel(places.astype(np.uint64), round_keys, half_bits)
    while len(outside := np.flatnonzero(values >= np.uint64(n))):
        values[outside] = _feistel(values[outside], round_keys[:, outside], half_bits)
    return values.astype(np.int64)


def _feistel(values: np.ndarray, round_keys: np.ndarray, half_bits: int) -> np.ndarray:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for keys in round_keys:
        left, right = right, left ^ (_mix(keys ^ right) & mask)
    return (left << shift) | right


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True)
class Stretch:
    """A stretch of the order in which no share changes.

    Of every sum(parts) samples, source i has parts[i]. The stretch is n_samples long; None: it
    never ends.
    """

    parts: tuple[int, ...]
    n_samples: int | None = None

    @classmethod
    def of(cls, weights: Sequence[float]) -> Stretch:
        """The stretch without an end in which each source's share is its weight's.

        >>> Stretch.of([1, 3]).parts
        (1073741824, 3221225472)
        """
        return cls(tuple(apportion(weights, RESOLUTION).tolist()))


class Mixture:
    """Samples drawn from several sources, in shares that change from stretch to stretch.

    How many of the first n samples of a stretch are a source's is `prefix_counts`, whole numbers
    in closed form. So block b (BLOCK samples) knows how many samples of each source it holds and
    how many came before it; a permutation keyed by (seed, stretch, b) says in which order they
    come. The samples of one source are counted on through blocks and stretches without a gap, and
    count c is item `shuffled(c)`: each epoch of a source holds each of its items once, and is over
    before the next begins, whatever its shares.

    After the last stretch, if that has an end, its shares go on.

    >>> mixture = Mixture(sizes=[100, 10], stretches=[Stretch((3, 1))], seed=0)
    >>> source, item = mixture(np.arange(2048))
    >>> np.bincount(source).tolist(), mixture.counts(2048).tolist()
    ([1536, 512], [1536, 512])
    >>> bool((mixture(np.array([77]))[1] == item[77]).all())
    True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        stretches: Sequence[Stretch],
        seed: int,
        *,
        shuffle: bool = True,
    ) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes={list(sizes)} must all be at least 1; leave empty sources out")
        _check(stretches, len(sizes))
        self.sizes, self.seed, self.shuffle = tuple(sizes), seed, shuffle
        self.stretches = list(stretches)
        if stretches[-1].n_samples is not None:
            self.stretches.append(Stretch(stretches[-1].parts))
        ends = [stretch.n_samples for stretch in self.stretches if stretch.n_samples is not None]
        self._starts = np.cumsum([0, *ends], dtype=np.int64)
        before = [prefix_counts(s.n_samples, s.parts) for s in self.stretches if s.n_samples]
        self._before = np.cumsum([[0] * len(sizes), *before], axis=0, dtype=np.int64)
        self._table = lru_cache(_TABLES_KEPT)(self._make_table)

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """samples: (n,) -> source of each (n,), and its item within that source (n,)."""
        source, count = self.locate(samples)
        item = np.empty_like(count)
        for index, size in enumerate(self.sizes):
            here = source == index
            if not here.any():
                continue
            if self.shuffle:
                item[here] = shuffled(count[here], size, derive_seed(self.seed, "source", index))
            else:
                item[here] = count[here] % size
        return source, item

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """samples: (n,) -> source of each (n,), and its running count within that source (n,)."""
        if samples.size and int(samples.min()) < 0:
            raise ValueError("samples are counted from 0")
        if len(self.sizes) == 1:
            return np.zeros(samples.shape, dtype=np.int64), samples.astype(np.int64)
        source = np.empty(samples.shape, dtype=np.int64)
        count = np.empty_like(source)
        stretches = np.searchsorted(self._starts, samples, side="right") - 1
        blocks, places = np.divmod(samples - self._starts[stretches], BLOCK)
        for stretch, block in np.unique(np.stack([stretches, blocks]), axis=1).T.tolist():
            here = np.flatnonzero((stretches == stretch) & (blocks == block))
            table = self._table(stretch, block)
            source[here], count[here] = (column[places[here]] for column in table)
        return source, count

    def counts(self, n: int) -> np.ndarray:
        """How many of the samples 0 ... n - 1 are each source's, int64 (n_sources,)."""
        stretch = int(np.searchsorted(self._starts, n, side="right")) - 1
        block, place = divmod(n - int(self._starts[stretch]), BLOCK)
        found = prefix_counts(block * BLOCK, self.stretches[stretch].parts)
        counts = self._before[stretch] + np.array(found, dtype=np.int64)
        if len(self.sizes) == 1:
            counts += place
        elif place:
            source, _ = self._table(stretch, block)
            counts += np.bincount(source[:place], minlength=len(counts))
        return counts

    def _make_table(self, stretch: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The source of each sample of a block, and its running count: (BLOCK,) or fewer, each."""
        length, parts = self.stretches[stretch].n_samples, self.stretches[stretch].parts
        low = block * BLOCK
        high = low + BLOCK if length is None else min(low + BLOCK, length)
        first = np.array(prefix_counts(low, parts), dtype=np.int64)
        counts = np.array(prefix_counts(high, parts), dtype=np.int64) - first
        names = (stretch,) if stretch else ()
        keys = _keys(derive_seed(self.seed, "block", *names), np.full(high - low, block))
        slots = _permute(np.arange(high - low), high - low, keys)
        source = np.searchsorted(np.cumsum(counts), slots, side="right")
        by_source = np.argsort(source, kind="stable")
        count = np.empty_like(source)
        count[by_source] = np.arange(high - low) - np.repeat(np.cumsum(counts) - counts, counts)
        return source, count + (self._before[stretch] + first)[source]


def prefix_counts(n: int, parts: Sequence[int]) -> list[int]:
    """How many of the first `n` samples are each source's; their sum is `n`.

    The sources are halved again and again, and of `m` samples the left half has
    floor(m * left parts / all parts), the right half the rest. Both grow by 0 or 1 when m grows by
    1, so no count ever falls; after sum(parts) samples each source has exactly its parts; and
    before that it is off by fewer samples than there are halvings.

    >>> [prefix_counts(n, [2, 1, 1]) for n in range(5)]
    [[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [2, 1, 1]]
    """
    if len(parts) == 1:
        return [n]
    half = len(parts) // 2
    left, total = sum(parts[:half]), sum(parts)
    n_left = n * left // total if total else 0
    return prefix_counts(n_left, parts[:half]) + prefix_counts(n - n_left, parts[half:])


def apportion(weights: Sequence[float] | np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that sum to `total` in proportion to `weights`, by largest remainder.

    >>> apportion([1, 1, 1], 8).tolist()
    [3, 3, 2]
    """
    values = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(
            f"weights={values.tolist()} must be at least 0 and finite, and not all of them 0"
        )
    exact = values / values.max()
    exact *= total / exact.sum()
    found = np.floor(exact).astype(np.int64)
    remainders = np.argsort(-(exact - found), kind="stable")
    found[remainders[: total - int(found.sum())]] += 1
    return found


def _check(stretches: Sequence[Stretch], n_sources: int) -> None:
    if not stretches:
        raise ValueError("stretches is empty; give at least one")
    for place, stretch in enumerate(stretches):
        if len(stretch.parts) != n_sources:
            raise ValueError(f"got {n_sources} sizes and {len(stretch.parts)} parts; need as many")
        if min(stretch.parts) < 0 or not any(stretch.parts):
            raise ValueError(
                f"parts={list(stretch.parts)} must be at least 0, and not all of them 0"
            )
        is_last = place == len(stretches) - 1
        if stretch.n_samples is None and not is_last:
            raise ValueError("only the last stretch may have no end; give the others n_samples")
        if stretch.n_samples is not None and stretch.n_samples < 1:
            raise ValueError(f"n_samples={stretch.n_samples} must be at least 1")
