"""The order of samples: permutations are permutations, shares are exact, access order is free."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.mixture import (
    BLOCK,
    RESOLUTION,
    Mixture,
    Permutation,
    Stretch,
    apportion,
    prefix_counts,
    shuffled,
)

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


# --- shares ---------------------------------------------------------------------------------------

parts_lists = st.lists(st.integers(0, 20), min_size=1, max_size=9).filter(any)


@settings(deadline=None)
@given(parts=parts_lists)
def test_prefix_counts_rise_one_at_a_time_and_end_exactly(parts: list[int]) -> None:
    total = sum(parts)
    counts = np.array([prefix_counts(n, parts) for n in range(2 * total + 1)])
    steps = np.diff(counts, axis=0)
    assert (np.sort(steps, axis=1)[:, :-1] == 0).all()  # each sample belongs to one source
    assert (steps.sum(axis=1) == 1).all()
    assert (steps.min(axis=0) >= 0).all()
    assert counts[total].tolist() == parts
    assert counts[2 * total].tolist() == [2 * part for part in parts]


@settings(deadline=None)
@given(parts=parts_lists, n=st.integers(0, 10**12))
def test_prefix_counts_stay_near_the_shares(parts: list[int], n: int) -> None:
    exact = n * np.array(parts) / sum(parts)
    halvings = max(1, (len(parts) - 1).bit_length())
    assert (abs(np.array(prefix_counts(n, parts)) - exact) < halvings + 1e-3).all()


def test_prefix_counts_of_a_run_beyond_64_bits_of_product_are_exact() -> None:
    parts = [10**13, 2 * 10**13, 1]
    assert prefix_counts(sum(parts), parts) == parts


@settings(deadline=None)
@given(
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(any),
    total=st.integers(1, 10**9),
)
def test_apportioned_numbers_sum_up_and_are_off_by_less_than_one(
    weights: list[float], total: int
) -> None:
    found = apportion(weights, total)
    assert found.sum() == total
    values = np.array(weights) / max(weights)
    assert (abs(found - values / values.sum() * total) < 1 + 1e-6).all()


@pytest.mark.parametrize("weights", [[0, 0], [1, float("nan")], [1, -1], [1, float("inf")]])
def test_weights_that_cannot_be_kept_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="must be at least 0 and finite, and not all of them 0"):
        Stretch.of(weights)


# --- the order of a mixture -----------------------------------------------------------------------


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    """Up to four sources and four stretches, some shorter than a block, some without a source."""
    n_sources = draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, 700), min_size=n_sources, max_size=n_sources))
    parts = st.lists(st.integers(0, 9), min_size=n_sources, max_size=n_sources).filter(any)
    lengths = draw(st.lists(st.integers(1, 3 * BLOCK), min_size=0, max_size=3))
    last = draw(st.none() | st.integers(1, 3 * BLOCK))
    stretches = [Stretch(tuple(draw(parts)), n) for n in [*lengths, last]]
    return Mixture(sizes, stretches, draw(SEEDS))


@settings(max_examples=15, deadline=None)
@given(mixture=mixtures())
def test_no_item_comes_again_before_its_epoch_is_over(mixture: Mixture) -> None:
    """In the order of the samples, over the borders of blocks and stretches."""
    source, item = mixture(np.arange(9 * BLOCK))
    for index, size in enumerate(mixture.sizes):
        mine = item[source == index]
        whole = mine[: len(mine) // size * size].reshape(-1, size)
        assert (np.sort(whole, axis=1) == np.arange(size)).all()
        rest = mine[whole.size :]
        assert len(set(rest.tolist())) == len(rest)


@settings(max_examples=15, deadline=None)
@given(mixture=mixtures(), order_seed=SEEDS)
def test_the_order_of_access_does_not_matter(mixture: Mixture, order_seed: int) -> None:
    samples = np.random.default_rng(order_seed).permutation(8 * BLOCK)
    source, item = mixture(np.arange(8 * BLOCK))
    some = samples[:50]
    again_source, again_item = mixture(some)
    np.testing.assert_array_equal(again_source, source[some])
    np.testing.assert_array_equal(again_item, item[some])
    fresh = Mixture(mixture.sizes, mixture.stretches, mixture.seed)
    far = samples[:1]
    assert fresh(far)[1].tolist() == item[far].tolist()  # known without the samples before it


@settings(max_examples=15, deadline=None)
@given(mixture=mixtures(), n=st.integers(0, 9 * BLOCK))
def test_counts_are_those_of_counting(mixture: Mixture, n: int) -> None:
    source, count = mixture.locate(np.arange(n))
    counted = np.bincount(source, minlength=len(mixture.sizes))
    assert mixture.counts(n).tolist() == counted.tolist()
    for index in range(len(mixture.sizes)):
        mine = count[source == index]
        assert mine.tolist() == list(range(len(mine)))


@settings(max_examples=15, deadline=None)
@given(mixture=mixtures())
def test_each_stretch_has_its_parts(mixture: Mixture) -> None:
    start = 0
    for stretch in mixture.stretches[:-1]:
        assert stretch.n_samples is not None
        source, _ = mixture.locate(np.arange(start, start + stretch.n_samples))
        counted = np.bincount(source, minlength=len(mixture.sizes))
        assert counted.tolist() == prefix_counts(stretch.n_samples, stretch.parts)
        start += stretch.n_samples


def test_a_stretch_that_ends_goes_on_with_its_shares() -> None:
    mixture = Mixture([10, 10], [Stretch((1, 3), 100)], seed=0)
    source, _ = mixture(np.arange(100, 100 + BLOCK))
    assert (source == 1).sum() == BLOCK * 3 // 4


def test_sources_come_mixed() -> None:
    source, _ = Mixture([10, 10], [Stretch((1, 1))], seed=0)(np.arange(BLOCK))
    assert abs(source[: BLOCK // 2].mean() - 0.5) < 0.05
    assert abs(np.corrcoef(source[:-1], source[1:])[0, 1]) < 0.08  # a coin is at 0, turns at -1
    other, _ = Mixture([10, 10], [Stretch((1, 1))], seed=1)(np.arange(BLOCK))
    assert abs((source == other).mean() - 0.5) < 0.05


def test_the_mixture_never_changes_between_versions() -> None:
    """Change MIXTURE_VERSION where this has to change."""
    stretches = [Stretch((1, 2), 9), Stretch((3, 1))]
    source, item = Mixture([4, 5], stretches, seed=0)(np.arange(14))
    assert source.tolist() == [1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    assert item.tolist() == [3, 0, 4, 0, 1, 2, 3, 3, 1, 2, 3, 2, 0, 1]


def test_one_source_is_its_epochs_one_after_the_other() -> None:
    mixture = Mixture([10], [Stretch((1,), 7), Stretch((5,))], seed=4)
    source, item = mixture(np.arange(30))
    assert not source.any()
    assert (np.sort(item.reshape(3, 10), axis=1) == np.arange(10)).all()
    assert mixture.counts(17).tolist() == [17]


def test_without_shuffling_items_come_in_order() -> None:
    _, item = Mixture([4], [Stretch((1,))], seed=4, shuffle=False)(np.arange(6))
    assert item.tolist() == [0, 1, 2, 3, 0, 1]


def test_a_tiny_source_beside_a_huge_one_keeps_its_share() -> None:
    mixture = Mixture([3, 1_000_000], [Stretch.of([3, 1_000_000])], seed=0)
    assert sum(mixture.stretches[0].parts) == RESOLUTION
    assert abs(int(mixture.counts(10_000_030)[0]) - 30) <= 1


def test_what_cannot_be_mixed_is_refused() -> None:
    one = Stretch((1, 1))
    for sizes, stretches, message in (
        ([1, 2, 3], [one], "got 3 sizes and 2 parts"),
        ([0, 2], [one], "must all be at least 1"),
        ([1, 2], [], "stretches is empty"),
        ([1, 2], [one, one], "only the last stretch may have no end"),
        ([1, 2], [Stretch((1, 1), 0)], "n_samples=0 must be at least 1"),
        ([1, 2], [Stretch((0, 0))], r"parts=\[0, 0\] must be at least 0, and not all of them 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Mixture(sizes, stretches, seed=0)
    with pytest.raises(ValueError, match="samples are counted from 0"):
        Mixture([1, 2], [one], seed=0)(np.array([-1]))
