"""The quality classifier: what it learns, what it says of itself, its file."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from groundup.data.cleaning import ClassifierConfig, QualityClassifier
from groundup.runtime import DataError
from tests.data.cleaning.conftest import data_folder

ANIMALS = ["fox", "hen", "owl", "cat", "dog", "hare", "crow", "mole", "toad", "swan"]
GOOD = [f"The {a} and the {b} walked home along the river." for a in ANIMALS for b in ANIMALS]
BAD = [f"CHEAP {a} {b} click here to buy now!!!" for a in ANIMALS for b in ANIMALS]


@pytest.fixture(scope="module")
def trained() -> QualityClassifier:
    return QualityClassifier.train(GOOD, BAD)


def test_it_tells_them_apart(trained: QualityClassifier) -> None:
    assert trained.probability("They walked along the river.") > 0.9
    assert trained.probability("click now to buy") < 0.1
    report = trained.report
    assert report.precision == report.recall == report.accuracy == 1
    assert report.precision_low < 1 == report.precision_high
    assert report.n_good + report.n_bad == pytest.approx(40, abs=16)


def test_it_explains_itself(trained: QualityClassifier) -> None:
    text = "Click here: the river"
    weights = trained.explain(text)
    assert weights["click"] < 0 < weights["the river"]
    logit = trained.bias + sum(weights.values())
    assert trained.probability(text) == pytest.approx(1 / (1 + math.exp(-logit)))
    assert {name for name, _ in trained.strongest(40)} >= {"river", "click here"}


def test_the_same_examples_give_the_same_file(tmp_path: Path, trained: QualityClassifier) -> None:
    trained.save(tmp_path / "one.json")
    QualityClassifier.train(GOOD, BAD).save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    loaded = QualityClassifier.load(tmp_path / "one.json")
    for text in (GOOD[7], BAD[7], "", "neither of both"):
        assert loaded.probability(text) == trained.probability(text)
        assert loaded.explain(text) == trained.explain(text)
    loaded.save(tmp_path / "three.json")
    assert (tmp_path / "three.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_it_does_not_learn_from_noise() -> None:
    texts = [f"{a} {b} {c}" for a in ANIMALS for b in ANIMALS for c in ANIMALS]
    report = QualityClassifier.train(texts[::2], texts[1::2]).report
    assert report.precision_low < 0.8


def test_few_weights_are_kept() -> None:
    made = QualityClassifier.train(GOOD, BAD, ClassifierConfig(n_weights=5))
    assert len(made.names) == 5
    assert made.report.accuracy == 1


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [([], BAD, "0 good examples leave none"), (GOOD, BAD[:1], "1 bad example leaves none")],
)
def test_too_few_examples_are_refused(good: list[str], bad: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        QualityClassifier.train(good, bad)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 9}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="no quality classifier"):
        QualityClassifier.load(tmp_path / "x.json")


def test_messages_and_spam_are_told_apart() -> None:
    """Of 4,458 real messages, of which one in seven is spam."""
    path = data_folder("sms_spam") / "share_train.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    sides = {label: [row[1] for row in rows if row[0] == label] for label in ("ham", "spam")}
    report = QualityClassifier.train(sides["ham"], sides["spam"]).report
    assert report.precision_low > 0.97
    assert report.recall > 0.97
    assert report.accuracy > report.chance + 0.08
