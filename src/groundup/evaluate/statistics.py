"""Confidence intervals: how far a score on a few documents or questions can be trusted.

Evaluation calls these for every figure it reports, so that no score stands without its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its confidence interval.

    The bounds are `None` when the data cannot say how uncertain the estimate is (one document has
    no spread to measure): claiming a zero-width interval there would be a claim of certainty.
    """

    value: float
    lo: float | None
    hi: float | None


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The share of successes among n trials, with Wilson's score interval.

    With p = successes / n and z the normal quantile, the bounds are

        (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)

    that is, every true share that a z-test would not reject. Unlike p ± z √(p(1-p)/n) it stays
    within 0 and 1 and keeps a width at 0 and n successes. Wilson, "Probable inference, the law of
    succession, and statistical inference", JASA 22 (1927).

    Eight right answers of ten, z = 1.96: centre (0.8 + 0.192) / 1.384 = 0.717, half width
    1.96 √(0.016 + 0.0096) / 1.384 = 0.227.

    >>> interval = wilson_interval(8, 10)
    >>> interval.value, round(interval.lo, 3), round(interval.hi, 3)
    (0.8, 0.49, 0.943)
    """
    if n < 1:
        raise ValueError(f"n={n} must be at least 1: a share of no trials has no value")
    if not 0 <= successes <= n:
        raise ValueError(f"successes={successes} must be between 0 and n={n}")
    z = _normal_quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    half_width = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and n successes the bound is exactly 0 and 1; rounding must not move it past the value.
    lo = min(share, max(0.0, (centre - half_width) / scale))
    hi = max(share, min(1.0, (centre + half_width) / scale))
    return Interval(share, lo, hi)


def ratio_interval(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
) -> Interval:
    """A ratio of sums over documents, as bits per byte is, with its delta-method interval.

    Documents are the independent draws; bytes within one are not. For n documents with numerator
    y and denominator x, the ratio R = Σy / Σx has to first order the variance of the mean of the
    residuals y - Rx over the mean of x:

        R = Σy / Σx,   s² = n/(n-1) · Σ(y - Rx)² / (Σx)²,   R ± t(n-1) · s

    (Cochran, "Sampling Techniques", 3rd edition 1977, section 6.4, with an unlimited population;
    Student's t for the few documents that small held-out sets have.) With equal denominators this
    is exactly the t-interval of a mean. A ratio of non-negative sums is not bounded below zero.
    One document has no spread: the bounds are `None`.

    Two documents of 100 bytes, 90 and 110 bits: R = 1, s = √(2 · 200) / 200 = 0.1, t(1) = 12.706.

    >>> interval = ratio_interval([90, 110], [100, 100])
    >>> interval.value, interval.lo, round(interval.hi, 3)
    (1.0, 0.0, 2.271)
    """
    y = np.asarray(numerators, dtype=np.float64)
    x = np.asarray(denominators, dtype=np.float64)
    if y.ndim != 1 or y.shape != x.shape:
        raise ValueError(f"numerators {y.shape} and denominators {x.shape} must be equal lists")
    if (x < 0).any() or x.sum() <= 0:
        raise ValueError(
            "denominators must be non-negative with a positive sum; leave out empty documents"
        )
    n = len(y)
    ratio = float(y.sum() / x.sum())
    if n == 1:
        return Interval(ratio, None, None)
    spread = math.sqrt(n / (n - 1) * float(np.square(y - ratio * x).sum())) / float(x.sum())
    half_width = student_quantile(confidence, n - 1) * spread
    lo = ratio - half_width
    return Interval(ratio, max(0.0, lo) if (y >= 0).all() else lo, ratio + half_width)


def student_quantile(confidence: float, degrees: int) -> float:
    """The t beyond which Student's distribution leaves 1 - confidence, both tails together.

    One and two degrees of freedom have closed forms; from three on, the Cornish-Fisher expansion
    about the normal quantile (Abramowitz & Stegun 1964, 26.7.5), at 95% within 0.2% of the truth.

    >>> [round(student_quantile(0.95, degrees), 2) for degrees in (1, 2, 4, 30)]
    [12.71, 4.3, 2.78, 2.04]
    """
    if degrees < 1:
        raise ValueError(f"degrees={degrees} must be at least 1")
    z = _normal_quantile(confidence)
    if degrees == 1:
        return math.tan(math.pi * confidence / 2)
    if degrees == 2:
        return confidence * math.sqrt(2 / (1 - confidence**2))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def intervals_overlap(a: Interval, b: Interval) -> bool:
    """Whether two intervals share a point; an interval without bounds overlaps everything.

    Intervals apart show a difference; intervals that overlap do not show that there is none.

    >>> intervals_overlap(Interval(0.5, 0.4, 0.6), Interval(0.7, 0.55, 0.8))
    True
    >>> intervals_overlap(Interval(0.5, 0.4, 0.6), Interval(0.9, 0.7, 1.0))
    False
    """
    if a.lo is None or a.hi is None or b.lo is None or b.hi is None:
        return True
    return a.lo <= b.hi and b.lo <= a.hi


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} must lie between 0 and 1, as 0.95 does")
    return NormalDist().inv_cdf((1 + confidence) / 2)
