"""Intervals: published values, closed forms, and the share of times they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from groundup.evaluate.statistics import (
    Interval,
    intervals_overlap,
    ratio_interval,
    student_quantile,
    wilson_interval,
)
from groundup.runtime import generator


@pytest.mark.parametrize(
    ("successes", "n", "lo", "hi"),
    [  # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_published_values(successes: int, n: int, lo: float, hi: float) -> None:
    interval = wilson_interval(successes, n)
    assert interval.value == successes / n
    assert interval.lo == pytest.approx(lo, abs=5e-5)
    assert interval.hi == pytest.approx(hi, abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 50, 1000])
def test_wilson_holds_its_value_within_zero_and_one(n: int) -> None:
    for successes in range(n + 1):
        interval = wilson_interval(successes, n)
        assert interval.lo is not None
        assert interval.hi is not None
        assert 0 <= interval.lo <= interval.value <= interval.hi <= 1
        assert interval.hi - interval.lo > 0
        mirrored = wilson_interval(n - successes, n)
        assert mirrored.lo == pytest.approx(1 - interval.hi)


def test_wilson_covers_the_truth_about_as_often_as_it_says() -> None:
    n, share = 40, 0.3
    chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    held = [wilson_interval(k, n) for k in range(n + 1)]
    coverage = sum(chance for chance, i in zip(chances, held, strict=True) if i.lo <= share <= i.hi)
    assert coverage == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("successes", "n", "message"),
    [(0, 0, "n=0 must be at least 1"), (5, 4, "successes=5"), (-1, 4, "successes=-1")],
)
def test_wilson_refuses_impossible_counts(successes: int, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wilson_interval(successes, n)


def test_confidence_is_a_share() -> None:
    with pytest.raises(ValueError, match="confidence=95 must lie between 0 and 1"):
        wilson_interval(1, 2, confidence=95)


@pytest.mark.parametrize(
    ("degrees", "quantile"),  # printed tables of Student's distribution, two tails of 5% together
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (9, 2.262), (29, 2.045), (120, 1.980)],
)
def test_student_quantiles_match_the_tables(degrees: int, quantile: float) -> None:
    assert student_quantile(0.95, degrees) == pytest.approx(quantile, rel=2e-3)


def test_equal_denominators_give_the_t_interval_of_the_mean() -> None:
    values = generator(1, "values").normal(3, 1, size=12)
    interval = ratio_interval(values * 7, np.full(12, 7.0))
    half_width = student_quantile(0.95, 11) * values.std(ddof=1) / math.sqrt(12)
    assert interval.value == pytest.approx(values.mean())
    assert interval.lo == pytest.approx(values.mean() - half_width)
    assert interval.hi == pytest.approx(values.mean() + half_width)


@pytest.mark.parametrize("n_documents", [8, 30, 200])
def test_the_ratio_interval_covers_the_truth_about_as_often_as_it_says(n_documents: int) -> None:
    """Documents of very different lengths, each with its own bits per byte: truth E[y] / E[x]."""
    rng = generator(2, "coverage", n_documents)
    n_trials = 1500
    lengths = rng.gamma(2.0, 500.0, size=(n_trials, n_documents))
    rates = rng.normal(1.5, 0.3, size=lengths.shape)
    covered = 0
    for x, rate in zip(lengths, rates, strict=True):
        interval = ratio_interval(x * rate, x)
        covered += interval.lo <= 1.5 <= interval.hi
    assert 0.91 < covered / n_trials < 0.975


def test_scaling_both_sums_changes_nothing() -> None:
    y, x = [30.0, 50.0, 40.0], [10.0, 30.0, 20.0]
    plain = ratio_interval(y, x)
    scaled = ratio_interval([4 * v for v in y], [4 * v for v in x])
    assert scaled.lo == pytest.approx(plain.lo)
    assert scaled.hi == pytest.approx(plain.hi)
    assert plain.value == 2.0


def test_one_document_has_a_value_and_no_bounds() -> None:
    assert ratio_interval([12.0], [8.0]) == Interval(1.5, None, None)


def test_ratios_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="must be equal lists"):
        ratio_interval([1.0, 2.0], [1.0])
    for denominators in ([], [0.0, 0.0], [-1.0, 3.0]):
        with pytest.raises(ValueError, match="positive sum"):
            ratio_interval([1.0] * len(denominators), denominators)


def test_overlap() -> None:
    low, high = Interval(0.2, 0.1, 0.3), Interval(0.5, 0.4, 0.6)
    assert not intervals_overlap(low, high)
    assert not intervals_overlap(high, low)
    assert intervals_overlap(low, Interval(0.35, 0.3, 0.4))
    assert intervals_overlap(low, Interval(0.9, None, None))
