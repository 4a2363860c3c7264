"""The order of samples: permutations are permutations, shares are exact, access order is free."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.mixture import Mixture, Permutation, block_shares, shuffled

SEEDS = st.integers(0, 2**31)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), seed=SEEDS)
def test_a_permutation_meets_every_number_once(n: int, seed: int) -> None:
    assert sorted(Permutation(n, seed)(np.arange(n)).tolist()) == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 4096, 4097])
def test_a_permutation_holds_at_the_borders_of_its_domain(n: int) -> None:
    assert sorted(Permutation(n, 5)(np.arange(n)).tolist()) == list(range(n))


def test_places_are_computed_on_their_own_even_in_a_huge_range() -> None:
    order = Permutation(10**15, seed=3)
    places = np.array([0, 1, 10**15 - 1, 123456789])
    together = order(places)
    assert together.tolist() == [int(order(places[i : i + 1])[0]) for i in range(4)]
    assert len(set(together.tolist())) == 4
    assert together.max() < 10**15


def test_a_permutation_looks_random() -> None:
    n = 10_000
    order = Permutation(n, seed=1)(np.arange(n))
    assert abs(np.corrcoef(np.arange(n), order)[0, 1]) < 0.05
    assert (order == np.arange(n)).sum() < 10  # a random order leaves about one in place
    assert (np.diff(order) == 1).sum() < 10
    other = Permutation(n, seed=2)(np.arange(n))
    assert (order == other).sum() < 10


def test_all_orders_of_three_come_up() -> None:
    orders = {tuple(Permutation(3, seed)(np.arange(3)).tolist()) for seed in range(200)}
    assert len(orders) == 6


def test_the_order_never_changes_between_versions() -> None:
    assert Permutation(10, seed=0)(np.arange(10)).tolist() == [6, 5, 0, 9, 3, 2, 7, 1, 8, 4]


def test_a_place_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"places must lie in 0\.\.9"):
        Permutation(10, seed=0)(np.array([10]))
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        Permutation(0, seed=0)


@given(n=st.integers(1, 50), n_epochs=st.integers(1, 4), seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_every_epoch_meets_every_item_once(n: int, n_epochs: int, seed: int) -> None:
    seen = shuffled(np.arange(n * n_epochs), n, seed).reshape(n_epochs, n)
    assert (np.sort(seen, axis=1) == np.arange(n)).all()


def test_epochs_differ() -> None:
    seen = shuffled(np.arange(200), 100, seed=0)
    assert seen[:100].tolist() != seen[100:].tolist()


weights_lists = st.lists(st.floats(0.1, 10), min_size=1, max_size=6)


@given(weights=weights_lists, seed=SEEDS, block_number=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_each_source_has_its_exact_share_of_every_block(
    weights: list[float], seed: int, block_number: int
) -> None:
    block = 512  # the least share of `weights_lists`, 0.1 of 50.1, is over one sample of it
    mixture = Mixture([1000] * len(weights), weights, seed, block=block)
    source, _ = mixture(np.arange(block) + block * block_number)
    counts = np.bincount(source, minlength=len(weights))
    assert counts.tolist() == mixture.counts_per_block.tolist()
    exact = np.array(weights) / sum(weights) * block
    assert (abs(counts - exact) < 1).all()


@given(weights=weights_lists, seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_running_counts_of_a_source_have_no_gaps(weights: list[float], seed: int) -> None:
    mixture = Mixture([7] * len(weights), weights, seed, block=512)
    source, count = mixture.locate(np.arange(512 * 3))
    for index in range(len(weights)):
        mine = np.sort(count[source == index])
        assert mine.tolist() == list(range(len(mine)))


@given(seed=SEEDS, order_seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_order_of_access_does_not_matter(seed: int, order_seed: int) -> None:
    mixture = Mixture([50, 200, 3], [1, 2, 0.5], seed, block=64)
    samples = np.arange(500)
    source, item = mixture(samples)
    shuffle = np.random.default_rng(order_seed).permutation(500)
    again_source, again_item = mixture(samples[shuffle])
    np.testing.assert_array_equal(again_source, source[shuffle])
    np.testing.assert_array_equal(again_item, item[shuffle])


def test_one_source_is_its_epochs_one_after_the_other() -> None:
    source, item = Mixture([10], [1], seed=4)(np.arange(30))
    assert not source.any()
    assert (np.sort(item.reshape(3, 10), axis=1) == np.arange(10)).all()


def test_without_shuffling_items_come_in_order() -> None:
    _, item = Mixture([4], [1], seed=4, shuffle=False)(np.arange(6))
    assert item.tolist() == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 0], r"weights=\[1, 0\] must all be above 0"),
        ([1, float("nan")], "must all be above 0"),
        ([1, 1e-9], "leave a source no sample in a block of 2048; raise its weight"),
    ],
)
def test_weights_that_cannot_be_kept_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        block_shares(weights, 2048)


def test_a_tiny_source_beside_a_huge_one_keeps_its_share() -> None:
    mixture = Mixture([3, 1_000_000], [3, 1_000_000], seed=0)
    source, item = mixture(np.arange(mixture.block))
    expected = 3 / 1_000_003 * mixture.block
    assert abs((source == 0).sum() - expected) <= 1
    assert set(item[source == 0].tolist()) == {0, 1, 2}


def test_sizes_and_weights_must_go_together() -> None:
    with pytest.raises(ValueError, match="got 2 sizes and 1 weights"):
        Mixture([1, 2], [1], seed=0)
    with pytest.raises(ValueError, match="must all be at least 1"):
        Mixture([0, 2], [1, 1], seed=0)
