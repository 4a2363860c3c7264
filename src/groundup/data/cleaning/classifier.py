"""A quality classifier that a person trains on examples: logistic regression over words and pairs.

As GPT-3's and fastText's quality filters are (Brown et al. 2020, appendix A; Joulin et al. 2016),
but small enough to read: the file is JSON and names the words that speak for and against a text.
Called by `scores.py`; trained from the command line.

    logit = bias + sum of weight[f] / sqrt(n)   over the n distinct features f of the text

A feature is a word in lower case, or two words that follow each other, by its hash (Weinberger et
al. 2009, "Feature Hashing"). Trained by AdaGrad (Duchi et al. 2011), each class weighing the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.repetition import gram_hashes
from groundup.data.cleaning.words import find_words
from groundup.data.split import content_hash, falls_in_heldout
from groundup.runtime import DataError, config, generator, read_json, to_dict, write_json

FORMAT = 1
_EPSILON = 1e-8
_Z = 1.959964  # 95% of a normal distribution


class TooFewExamplesError(DataError):
    """Of one side, "good" or "bad", there are too few texts to train on, or to hold out.

    >>> print(TooFewExamplesError("good", 1, "to hold out"))
    1 good example leaves none to hold out; give some 50 of each side or more, each a file or a row
    """

    def __init__(self, side: str, n: int, part: str) -> None:
        self.side = side
        leave = "example leaves" if n == 1 else "examples leave"
        super().__init__(
            f"{n} {side} {leave} none {part}; give some 50 of each side or more, each a file or a "
            "row"
        )


@config
class ClassifierConfig:
    """How a classifier is trained.

    n_bits: features are hashed to 2^n_bits weights
    n_weights: as many are kept, those farthest from zero
    max_characters: of a text's beginning that are looked at
    heldout: share of the examples that are not trained on, by the hash of their text
    epochs, lr: of AdaGrad
    """

    n_bits: int = 18
    n_weights: int = 20_000
    max_characters: int = 20_000
    heldout: float = 0.2
    epochs: int = 8
    lr: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 8 <= self.n_bits <= 26:
            raise ValueError(f"n_bits={self.n_bits} must be from 8 to 26")
        if not 0 < self.heldout < 1:
            raise ValueError(f"heldout={self.heldout} must lie between 0 and 1")


@dataclass(frozen=True)
class HeldoutReport:
    """What a classifier does on examples it was not trained on, at a probability of 0.5.

    precision: share of the texts it calls good that are; with Wilson's 95% interval (1927)
    recall: share of the good texts that it calls good
    accuracy: share of all that it names rightly; chance is that of the commoner class
    """

    n_good: int
    n_bad: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    accuracy: float
    chance: float


@dataclass(frozen=True)
class QualityClassifier:
    """Weights by feature, and what they did on held-out examples.

    weights: (2^n_bits,) float64; names: a feature's number to a word or pair that has it
    """

    config: ClassifierConfig
    bias: float
    weights: np.ndarray
    names: dict[int, str]
    report: HeldoutReport

    def probability(self, text: str) -> float:
        """The probability that a text is good."""
        features = _features(text, self.config)
        logit = self.bias + _mean(self.weights[features])
        return float(1 / (1 + math.exp(-max(min(logit, 700.0), -700.0))))

    def explain(self, text: str) -> dict[str, float]:
        """What each word or pair adds to the logit, the strongest first; the rest is `bias`.

        Features without a weight are left out.
        """
        lowered, features, places, lengths = _named_features(text, self.config)
        share = 1 / math.sqrt(max(len(np.unique(features)), 1))
        found: dict[str, float] = {}
        seen: set[int] = set()
        for feature, place, length in zip(
            features.tolist(), places.tolist(), lengths.tolist(), strict=True
        ):
            weight = float(self.weights[feature])
            if weight and feature not in seen:
                seen.add(feature)
                name = " ".join(lowered[place : place + length].split())
                found[name] = found.get(name, 0.0) + weight * share
        return dict(sorted(found.items(), key=lambda item: (-abs(item[1]), item[0])))

    def strongest(self, n: int) -> list[tuple[str, float]]:
        """The n features with the largest weights, for or against."""
        order = sorted(self.names, key=lambda feature: (-abs(self.weights[feature]), feature))
        return [(self.names[feature], float(self.weights[feature])) for feature in order[:n]]

    @staticmethod
    def train(
        good: Iterable[str], bad: Iterable[str], config: ClassifierConfig | None = None
    ) -> QualityClassifier:
        """Learn from examples of good and bad texts; all features are held in memory, no text is.

        Raises TooFewExamplesError if either side has no text to train on or none to hold out.

        >>> good = [f"The {w} came home and slept." for w in map(str, range(40))]
        >>> bad = [f"BUY {w} NOW click here" for w in map(str, range(40))]
        >>> made = QualityClassifier.train(good, bad)
        >>> made.probability("She came home and slept") > 0.5 > made.probability("click NOW")
        True
        """
        config = config or ClassifierConfig()
        examples = _Examples.read(good, bad, config)
        bias, weights = _descend(examples, config)
        weights = _pruned(weights, config.n_weights)
        bias = round(bias, 4)
        report = _report(examples, bias, weights)
        names = {f: name for f, name in examples.names.items() if weights[f]}
        return QualityClassifier(config, bias, weights, names, report)

    def save(self, path: Path) -> None:
        """Write JSON: the config, the report, and each weight with a word or pair that has it."""
        kept = np.flatnonzero(self.weights).tolist()
        kept.sort(key=lambda feature: (-abs(self.weights[feature]), feature))
        weights = [[f, self.names.get(f, ""), float(self.weights[f])] for f in kept]
        header = {"format": FORMAT, "config": to_dict(self.config), "report": to_dict(self.report)}
        write_json(path, {**header, "bias": self.bias, "weights": weights})

    @staticmethod
    def load(path: Path) -> QualityClassifier:
        """Read what `save` wrote. Raises DataError if it is not that."""
        try:
            read: dict[str, Any] = read_json(Path(path))
            if read["format"] != FORMAT:
                raise ValueError(f"format {read['format']}, this version reads {FORMAT}")
            made = ClassifierConfig(**read["config"])
            weights = np.zeros(1 << made.n_bits)
            names = {}
            for feature, name, weight in read["weights"]:
                weights[feature], names[feature] = weight, name
            report = HeldoutReport(**read["report"])
            return QualityClassifier(made, float(read["bias"]), weights, names, report)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"classifier={path} is no quality classifier ({error}); train one anew"
            ) from error


@dataclass(frozen=True)
class _Examples:
    """Features of each example, whether it is good, whether it is held out, and features' names."""

    features: list[np.ndarray]
    is_good: np.ndarray
    is_heldout: np.ndarray
    names: dict[int, str]

    @staticmethod
    def read(good: Iterable[str], bad: Iterable[str], config: ClassifierConfig) -> _Examples:
        features: list[np.ndarray] = []
        is_good: list[bool] = []
        is_heldout: list[bool] = []
        names: dict[int, str] = {}
        for label, texts in ((True, good), (False, bad)):
            for text in texts:
                lowered, numbers, places, lengths = _named_features(text, config)
                distinct, first = np.unique(numbers, return_index=True)
                features.append(distinct.astype(np.int32))
                is_good.append(label)
                is_heldout.append(falls_in_heldout(content_hash(text), config.heldout))
                for feature, at in zip(distinct.tolist(), first.tolist(), strict=True):
                    if feature not in names:
                        span = lowered[places[at] : places[at] + lengths[at]]
                        names[feature] = " ".join(span.split())
        found = _Examples(features, np.array(is_good), np.array(is_heldout), names)
        for label, name in ((True, "good"), (False, "bad")):
            for held, part in ((False, "to train on"), (True, "to hold out")):
                if not np.any((found.is_good == label) & (found.is_heldout == held)):
                    raise TooFewExamplesError(name, int((found.is_good == label).sum()), part)
        return found


def _descend(examples: _Examples, config: ClassifierConfig) -> tuple[float, np.ndarray]:
    """AdaGrad on the logistic loss, an example at a time, each class with the same total weight."""
    trained = np.flatnonzero(~examples.is_heldout)
    n_good = int(examples.is_good[trained].sum())
    importance = {
        True: len(trained) / (2 * n_good),
        False: len(trained) / 2 / (len(trained) - n_good),
    }
    weights, squares = np.zeros(1 << config.n_bits), np.full(1 << config.n_bits, _EPSILON)
    bias, bias_squares = 0.0, _EPSILON
    for epoch in range(config.epochs):
        order = generator(config.seed, "quality-classifier", epoch).permutation(trained)
        for example in order.tolist():
            features, label = examples.features[example], bool(examples.is_good[example])
            logit = bias + _mean(weights[features])
            slope = (1 / (1 + math.exp(-max(min(logit, 700.0), -700.0))) - label) * importance[
                label
            ]
            step = slope / math.sqrt(max(len(features), 1))
            squares[features] += step * step
            weights[features] -= config.lr * step / np.sqrt(squares[features])
            bias_squares += slope * slope
            bias -= config.lr * slope / math.sqrt(bias_squares)
    return bias, weights


def _pruned(weights: np.ndarray, n_weights: int) -> np.ndarray:
    """The weights farthest from zero, rounded as they are written; the others are zero."""
    order = np.argsort(-np.abs(weights), kind="stable")
    kept = np.zeros_like(weights)
    kept[order[:n_weights]] = np.round(weights[order[:n_weights]], 4)
    return kept


def _report(examples: _Examples, bias: float, weights: np.ndarray) -> HeldoutReport:
    held = np.flatnonzero(examples.is_heldout).tolist()
    is_good = examples.is_good[held]
    called = np.array([bias + _mean(weights[examples.features[i]]) > 0 for i in held])
    n_called, n_right = int(called.sum()), int((called & is_good).sum())
    low, high = wilson(n_right, n_called)
    n_good = int(is_good.sum())
    return HeldoutReport(
        n_good=n_good,
        n_bad=len(held) - n_good,
        precision=n_right / n_called if n_called else 0.0,
        precision_low=low,
        precision_high=high,
        recall=n_right / n_good,
        accuracy=float((called == is_good).mean()),
        chance=max(n_good, len(held) - n_good) / len(held),
    )


def wilson(n_right: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval (1927) of a share; from 0 to 1 where there is nothing to count.

    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = n_right / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _mean(values: np.ndarray) -> float:
    return float(values.sum()) / math.sqrt(max(len(values), 1))


def _features(text: str, config: ClassifierConfig) -> np.ndarray:
    """The distinct features of a text, sorted."""
    return np.unique(_named_features(text, config)[1])


def _named_features(
    text: str, config: ClassifierConfig
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """The text in lower case; of each word and pair its feature, place and characters."""
    lowered = text[: config.max_characters].lower()
    words = find_words(code_points(lowered))
    shift = np.uint64(64 - config.n_bits)
    singles, pairs = words.hashes >> shift, gram_hashes(words.hashes, 2) >> shift
    ends = words.starts + words.lengths
    return (
        lowered,
        np.concatenate([singles, pairs]).astype(np.int64),
        np.concatenate([words.starts, words.starts[: len(pairs)]]),
        np.concatenate([words.lengths, ends[1 : len(pairs) + 1] - words.starts[: len(pairs)]]),
    )
