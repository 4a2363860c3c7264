"""Which share of the samples each source has, and when: weights, temperature, epochs and stages.

`MixingConfig` stands in a recipe. `plan_mixture` turns it, with the sources' sizes and the length
of a run, into the stretches that `mixture.py` follows, and into figures that tell what came of it.

    s stages, k sources         tables are (s, k)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groundup.data.mixture import Stretch, apportion
from groundup.runtime import DataError, config

_SMALLEST_FACTOR = 2.0**-60  # what a source is lowered to where another can take all of a stage
_HALVINGS = 60  # of the exponent: to the last bits of a factor
_SWEEPS = 100
_TOLERANCE = 1e-9


@config
class MixingStageConfig:
    """A stage of the mixture, from where the one before it ends.

    until: the tokens of training (as `tokens` counts them) at which it ends; None: it has no end
    weights: of the sources whose weight is another than their own here, by name; 0 leaves one out
    """

    until: int | None = None
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.until is not None and self.until < 1:
            raise ValueError(f"until={self.until} must be at least 1")
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"weights.{name}={weight} must be at least 0 and finite")


@config
class MixingConfig:
    """How the sources share the samples of training, beside their own weight and max_epochs.

    temperature: T of share ∝ weight · size^(1/T). At 1 sources of equal weight are seen in
        proportion to their sizes; above 1 small ones are seen more often
    stages: what changes on the way; after the last, if that has an end, each source has its own
        weight again
    """

    temperature: float = 1.0
    stages: tuple[MixingStageConfig, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"temperature={self.temperature} must be above 0; 1 keeps the sizes' proportions, "
                "5 nearly evens them"
            )
        ends = [stage.until for stage in self.stages]
        if None in ends[:-1]:
            raise ValueError("stages: all but the last need `until`, the token count they end at")
        for before, after in zip(ends, ends[1:], strict=False):
            if after is not None and before is not None and after <= before:
                raise ValueError(f"stages: until={after} must be above the one before it, {before}")

    def check_names(self, names: Iterable[str]) -> None:
        """Raise DataError if a stage weighs a source that is none of `names`."""
        known = list(names)
        for stage in self.stages:
            for name in stage.weights:
                if name not in known:
                    nearest = difflib.get_close_matches(name, known, n=1)
                    hint = f"did you mean {nearest[0]}?" if nearest else f"use {', '.join(known)}"
                    raise DataError(f"mixing.stages weighs {name!r}, which is no source; {hint}")


@dataclass(frozen=True)
class MixtureSource:
    """A source as the mixture sees it; `size` counts its samples."""

    name: str
    size: int
    weight: float = 1.0
    max_epochs: float | None = None

    @property
    def limit(self) -> float:
        """How many samples it may give."""
        if self.max_epochs is None:
            return float("inf")
        return float(int(self.max_epochs * self.size))


@dataclass(frozen=True)
class MixturePlan:
    """The stretches of a run, and the samples of each source in each: asked for by the weights,
    and given where max_epochs is kept, int64 (s, k) both."""

    sources: tuple[MixtureSource, ...]
    stretches: tuple[Stretch, ...]
    asked: np.ndarray
    given: np.ndarray

    def figures(self) -> dict[str, Any]:
        """For each source its samples and epochs, asked for and given, and its shares by stage."""
        n_samples = int(self.given.sum())
        shares = self.given / self.given.sum(axis=1, keepdims=True)
        return {
            source.name: {
                "rows": source.size,
                "max_epochs": source.max_epochs,
                "asked_epochs": round(int(self.asked[:, k].sum()) / source.size, 4),
                "epochs": round(int(self.given[:, k].sum()) / source.size, 4),
                "share": round(int(self.given[:, k].sum()) / n_samples, 6),
                "stage_shares": [round(float(share), 6) for share in shares[:, k]],
            }
            for k, source in enumerate(self.sources)
        }

    def messages(self) -> list[str]:
        """A line for each source that max_epochs holds back."""
        n_samples = int(self.given.sum())
        lines = []
        for source, asked, given in zip(
            self.sources, self.asked.sum(axis=0), self.given.sum(axis=0), strict=True
        ):
            if given < asked and asked > source.limit:
                lines.append(
                    f"{source.name}: {asked / source.size:.2f} epochs by its weight, "
                    f"max_epochs={source.max_epochs:g}; has {given / n_samples:.1%} of the rows "
                    f"and not {asked / n_samples:.1%}, the others have the rest"
                )
        return lines


def plan_mixture(
    config: MixingConfig, sources: Sequence[MixtureSource], *, n_samples: int, sample_tokens: int
) -> MixturePlan:
    """Lay out the mixture of a run of `n_samples` samples of `sample_tokens` tokens each.

    In a stage, source i has the share

        share_i  ∝  weight_i · size_i^(1/T)

    with T the temperature (Arivazhagan et al. 2019, "Massively Multilingual Neural Machine
    Translation in the Wild"; Devlin et al. 2018 for BERT, with the exponent 0.7). A source that
    would then give more than max_epochs · size_i samples has its weight lowered, by one factor in
    all stages, until it gives just so many (an epoch cap as in UniMax, Chung et al. 2023; its
    samples go to the others of its stages in their proportions). Counts are exact in each stage
    that ends; where a source has a max_epochs the last one ends with the run, so that the order
    then follows from the length of the run too.

    Raises DataError if in a stage no source has a weight, or if all may not give what is asked.

    >>> sources = [MixtureSource("web", 900), MixtureSource("books", 100, 9.0, max_epochs=2)]
    >>> plan = plan_mixture(MixingConfig(), sources, n_samples=1000, sample_tokens=1)
    >>> plan.asked.tolist(), plan.given.tolist()
    ([[500, 500]], [[800, 200]])
    """
    weights, lengths = _stages(config, sources, n_samples, sample_tokens)
    sizes = np.array([source.size for source in sources], dtype=np.float64)
    weights = weights * (sizes / sizes.max()) ** (1 / config.temperature)
    rows = zip(weights, lengths, strict=True)
    asked = given = np.array([apportion(row, length) for row, length in rows])
    limits = np.array([source.limit for source in sources])
    if (asked.sum(axis=0) > limits).any():
        lowered = weights * _factors(weights, np.array(lengths, dtype=np.float64), limits)
        given = _whole(lowered, lengths, limits, sources)
    stretches = [Stretch(tuple(row), n) for row, n in zip(given.tolist(), lengths, strict=True)]
    if all(source.max_epochs is None for source in sources):
        stretches[-1] = Stretch.of(weights[-1].tolist())
    return MixturePlan(tuple(sources), tuple(stretches), asked, given)


def _stages(
    config: MixingConfig, sources: Sequence[MixtureSource], n_samples: int, sample_tokens: int
) -> tuple[np.ndarray, list[int]]:
    """The weights in each stage (s, k), and how many samples each stage has."""
    stages = list(config.stages)
    if not stages or stages[-1].until is not None:
        stages.append(MixingStageConfig())
    weights = np.array(
        [[stage.weights.get(source.name, source.weight) for source in sources] for stage in stages],
        dtype=np.float64,
    )
    ends = [-(-stage.until // sample_tokens) for stage in stages[:-1] if stage.until is not None]
    lengths = np.diff([0, *ends, n_samples]).tolist()
    for place, (row, length) in enumerate(zip(weights, lengths, strict=True), start=1):
        if length < 1:
            raise DataError(
                f"stage {place} of the mixture has no row of {sample_tokens} tokens: the run has "
                f"{n_samples} rows, the stages end after {ends}; change mixing.stages[].until"
            )
        if not row.any():
            names = ", ".join(source.name for source in sources)
            raise DataError(
                f"in stage {place} of the mixture the weights of all sources that hold text "
                f"({names}) are 0; raise one in mixing.stages[].weights"
            )
    return weights, lengths


def _factors(weights: np.ndarray, lengths: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """What each weight is multiplied with so that no source gives more than its limit.

    weights: (s, k), lengths: (s,), limits: (k,) -> (k,) from 2^-60 to 1. One source after the
    other is lowered to its limit with the others as they are. That raises the others, so it is
    done again until all keep theirs; factors only fall, so this ends.
    """
    factors = np.ones(len(limits))
    for _ in range(_SWEEPS):
        values = weights * factors
        totals = lengths @ (values / values.sum(axis=1, keepdims=True))
        over = np.flatnonzero((totals > limits * (1 + _TOLERANCE)) & (factors > _SMALLEST_FACTOR))
        if not len(over):
            break
        for source in over.tolist():
            factors[source] = _lower(weights * factors, source, lengths, limits) * factors[source]
    return np.maximum(factors, _SMALLEST_FACTOR)


def _lower(values: np.ndarray, source: int, lengths: np.ndarray, limits: np.ndarray) -> float:
    """By how much to lower one column of `values` (s, k) for its source to keep its limit."""
    own = values[:, source]
    others = values.sum(axis=1) - own
    active = own > 0
    own, others, lengths = own[active], np.maximum(others[active], 0.0), lengths[active]

    def total(exponent: float) -> float:
        lowered = own * 2.0**exponent
        return float((lengths * lowered / (lowered + others)).sum())

    low, high = -60.0, 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if total(middle) > limits[source]:
            high = middle
        else:
            low = middle
    return float(2.0**low)


def _whole(
    weights: np.ndarray,
    lengths: Sequence[int],
    limits: np.ndarray,
    sources: Sequence[MixtureSource],
) -> np.ndarray:
    """Whole samples in proportion to weights (s, k) with the limits kept, int64 (s, k).

    Raises DataError where the limits leave too little.
    """
    given = np.array([apportion(row, length) for row, length in zip(weights, lengths, strict=True)])
    left = np.where(np.isinf(limits), np.iinfo(np.int64).max // 2, limits).astype(np.int64)
    for row in given:
        np.minimum(row, left, out=row)
        left -= row
    for place, (row, length) in enumerate(zip(given, lengths, strict=True)):
        while missing := length - int(row.sum()):
            able = (weights[place] > 0) & (left > 0)
            if not able.any():
                raise _too_little(place, missing, length, weights[place], sources)
            more = np.minimum(apportion(np.where(able, weights[place], 0.0), missing), left)
            row += more
            left -= more
    return given


def _too_little(
    place: int, missing: int, length: int, weights: np.ndarray, sources: Sequence[MixtureSource]
) -> DataError:
    named = ", ".join(
        f"{source.name} {source.max_epochs:g} x {source.size}"
        for source, weight in zip(sources, weights, strict=True)
        if weight > 0 and source.max_epochs is not None
    )
    return DataError(
        f"stage {place + 1} of the mixture needs {length} rows and max_epochs leaves "
        f"{length - missing} ({named}); raise max_epochs of a source, lower pretrain.tokens or add "
        "text"
    )
