"""The order of training samples as a function: which row is sample g, from (seed, g) alone.

Nothing is shuffled in memory and nothing but a step number is saved: a run that stops and goes on,
on another number of processes, sees the same samples in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundup.runtime import derive_seed

MIN_BLOCK = 2048
MIN_SHARE = 8  # samples of the rarest source in a block: rounding moves its share by 1/16 at most
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


class Mixture:
    """Samples drawn from several sources in fixed shares.

    Samples come in blocks. In every block each source has the same whole number of samples, its
    share rounded by largest remainder, and a permutation keyed by (seed, block) says in which
    order they come. So sample g knows its source, and how many samples of that source came before
    its block, without counting. Within a source, items are gone through epoch by epoch. Blocks
    are as long as `choose_block` says unless `block` is given.

    >>> mixture = Mixture(sizes=[100, 10], weights=[3, 1], seed=0, block=8)
    >>> mixture.counts_per_block.tolist()
    [6, 2]
    >>> source, item = mixture(np.arange(8))
    >>> int((source == 0).sum()), int((source == 1).sum())
    (6, 2)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float],
        seed: int,
        *,
        block: int | None = None,
        shuffle: bool = True,
    ) -> None:
        if len(sizes) != len(weights) or not sizes:
            raise ValueError(f"got {len(sizes)} sizes and {len(weights)} weights; need as many")
        if min(sizes) < 1:
            raise ValueError(f"sizes={list(sizes)} must all be at least 1; leave empty sources out")
        self.sizes, self.seed, self.shuffle = tuple(sizes), seed, shuffle
        self.block = choose_block(weights) if block is None else block
        self.counts_per_block = block_shares(weights, self.block)
        self._ends = np.cumsum(self.counts_per_block)

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
        if len(self.sizes) == 1:
            return np.zeros(samples.shape, dtype=np.int64), samples.astype(np.int64)
        blocks, places = np.divmod(samples, self.block)
        slots = _permute(places, self.block, _keys(derive_seed(self.seed, "block"), blocks))
        source = np.searchsorted(self._ends, slots, side="right")
        per_block = self.counts_per_block[source]
        within = slots - (self._ends[source] - per_block)
        return source, blocks * per_block + within


def choose_block(weights: Sequence[float]) -> int:
    """The smallest power of two, from MIN_BLOCK, where each source has MIN_SHARE samples or more.

    >>> choose_block([1, 1]), choose_block([1, 9999])
    (2048, 131072)
    """
    block = MIN_BLOCK
    smallest = _checked(weights).min() / sum(weights)
    while smallest * block < MIN_SHARE:
        block *= 2
    return block


def block_shares(weights: Sequence[float], block: int) -> np.ndarray:
    """Whole numbers that sum to `block` in proportion to `weights`, by largest remainder.

    >>> block_shares([1, 1, 1], 8).tolist()
    [3, 3, 2]
    """
    values = _checked(weights)
    exact = values / values.sum() * block
    shares = np.floor(exact).astype(np.int64)
    remainders = np.argsort(-(exact - shares), kind="stable")
    shares[remainders[: block - int(shares.sum())]] += 1
    if (shares == 0).any():
        raise ValueError(
            f"weights={list(weights)} leave a source no sample in a block of {block}; "
            f"raise its weight to at least {1 / block:.2g} of the sum, or leave it out"
        )
    return shares


def _checked(weights: Sequence[float]) -> np.ndarray:
    values = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"weights={list(weights)} must all be above 0; leave other sources out")
    return values
