"""Baselines: proper distributions, a plain reference, and the values known text reaches."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from groundup.evaluate.baselines import (
    _discounts,
    _last_bytes,
    _split_at_end,
    choose_order,
    ngram_bits_per_byte,
    score_ngrams,
    xz_bits_per_byte,
)
from groundup.runtime import DataError, generator

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare" / "input.txt"


def random_documents(seed: int, n: int, alphabet: bytes = b"abcd ") -> list[bytes]:
    """Documents from a chain in which each byte leans on the one before."""
    rng = generator(seed, "documents")
    documents = []
    for _ in range(n):
        state, letters = 0, []
        for _ in range(int(rng.integers(1, 60))):
            state = (state + int(rng.choice([1, 1, 1, 2, 3]))) % len(alphabet)
            letters.append(alphabet[state])
        documents.append(bytes(letters))
    return documents


def plain_probability(documents: list[bytes], order: int, context: bytes, byte: int) -> float:
    """The same model by dictionaries, one n-gram at a time, as the formulas are written."""
    start = 256
    padded = [[start] * order + list(document) for document in documents]
    grams: dict[int, Counter[tuple[int, ...]]] = {n: Counter() for n in range(1, order + 1)}
    for symbols in padded:
        for end in range(order, len(symbols)):
            for n in range(1, order + 1):
                grams[n][tuple(symbols[end - n + 1 : end + 1])] += 1
    counts: dict[int, dict[tuple[int, ...], int]] = {order: dict(grams[order])}
    for n in range(1, order):
        before = defaultdict(set)
        for gram in grams[n + 1]:
            before[gram[1:]].add(gram[0])
        counts[n] = {gram: len(symbols) for gram, symbols in before.items()}
    p = 1 / 256
    history = ([start] * order + list(context))[-(order - 1) :] if order > 1 else []
    for n in range(1, order + 1):
        h = tuple(history[len(history) - (n - 1) :])
        discounts = _discounts(np.array(list(counts[n].values())))
        followers = {gram[-1]: c for gram, c in counts[n].items() if gram[:-1] == h}
        if not followers:
            continue
        total = sum(followers.values())
        leftover = sum(discounts[min(c, 3)] for c in followers.values()) / total
        count = followers.get(byte, 0)
        p = (count - discounts[min(count, 3)]) / total + leftover * p
    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_model_equals_the_formulas(order: int) -> None:
    documents = random_documents(1, 20)
    for document in [*random_documents(2, 3), b"zzab", b"\x00\xff"]:
        expected = [
            plain_probability(documents, order, document[:place], document[place])
            for place in range(len(document))
        ]
        np.testing.assert_allclose(
            2.0 ** -score_ngrams(documents, [document], order)[0], expected, rtol=1e-12
        )


@pytest.mark.parametrize("order", [1, 2, 4, 9])
def test_probabilities_over_all_bytes_sum_to_one(order: int) -> None:
    train = random_documents(3, 50)
    rng = generator(4, "contexts")
    contexts = [b"", b"a", b"never seen", *(document[:9] for document in random_documents(5, 20))]
    contexts += [rng.integers(0, 256, size=4, dtype=np.uint8).tobytes() for _ in range(20)]
    for context in contexts:
        bits = score_ngrams(train, [context + bytes([byte]) for byte in range(256)], order)
        assert sum(2.0 ** -document[-1] for document in bits) == pytest.approx(1, abs=1e-12)


def test_documents_are_scored_by_themselves() -> None:
    train = random_documents(6, 30)
    documents = random_documents(7, 5)
    together = score_ngrams(train, documents, order=4)
    for document, bits in zip(documents, together, strict=True):
        np.testing.assert_array_equal(score_ngrams(train, [document], order=4)[0], bits)


def test_document_ends_do_not_leak_into_the_next_documents_start() -> None:
    (first,) = score_ngrams([b"xa"] * 50 + [b"xb"] * 50, [b"x"], order=3)
    assert first[0] < 0.1  # every document begins with x, after START, not after a or b


def test_a_longer_order_wins_only_where_there_is_something_to_remember() -> None:
    rng = generator(8, "noise")
    noise = [rng.integers(97, 101, size=4000, dtype=np.uint8).tobytes()]
    phrase = [b"the cat sat on the mat and the dog sat on the log. " * 80]
    assert choose_order(noise, max_order=6) <= 2
    assert choose_order(phrase, max_order=6) >= 4
    assert choose_order([b"a"], max_order=6) == 1


def test_noise_costs_its_entropy() -> None:
    rng = generator(9, "noise")
    train, heldout = (
        rng.integers(97, 101, size=200_000, dtype=np.uint8).tobytes().decode() for _ in range(2)
    )
    assert ngram_bits_per_byte([train], [heldout]).bits_per_byte == pytest.approx(2.0, abs=0.01)


def test_document_bits_add_up() -> None:
    train = [document.decode() for document in random_documents(10, 40)]
    heldout = [document.decode() for document in random_documents(11, 7)]
    baseline = ngram_bits_per_byte(train, ["", *heldout], order=3)
    assert len(baseline.document_bits) == 7
    assert baseline.document_bytes.sum() == sum(map(len, heldout))
    ratio = baseline.document_bits.sum() / baseline.document_bytes.sum()
    assert baseline.bits_per_byte == pytest.approx(ratio)
    assert baseline.train_bytes == sum(map(len, train))
    assert baseline.order == 3


def test_the_cap_keeps_the_end_of_the_training_text() -> None:
    assert _last_bytes(["abc", "def", "gh"], 4) == [b"ef", b"gh"]
    assert _last_bytes(["abc", "def", "gh"], 5) == [b"def", b"gh"]
    assert _last_bytes(["abcdef"], 4) == [b"cdef"]
    assert _last_bytes(["ab", "", "cd"], 100) == [b"ab", b"cd"]
    assert (
        ngram_bits_per_byte(["x" * 50, "ab"], ["ab"], order=2, max_train_bytes=2).train_bytes == 2
    )


def test_the_development_slice_is_cut_from_the_end() -> None:
    assert _split_at_end([b"abc", b"defg", b"hi"], 4) == ([b"abc", b"de"], [b"fg", b"hi"])
    assert _split_at_end([b"abc", b"hi"], 2) == ([b"abc"], [b"hi"])
    assert _split_at_end([b"abc", b"hi"], 9) == ([], [b"abc", b"hi"])


def test_xz_profits_from_training_text_it_has_seen() -> None:
    rng = generator(12, "noise")
    letters = rng.integers(97, 113, size=20_000, dtype=np.uint8).tobytes().decode()
    known = xz_bits_per_byte([letters], [letters[5000:10_000]])
    assert known.after_training_text < 0.05
    assert known.alone == pytest.approx(4, abs=0.6)
    assert known.bits_per_byte == known.after_training_text
    assert known.train_bytes == 20_000
    new = xz_bits_per_byte([], [letters])
    assert new.bits_per_byte == new.alone == new.after_training_text


def test_empty_held_out_text_is_refused() -> None:
    with pytest.raises(DataError, match="hold out at least one document"):
        xz_bits_per_byte(["abc"], [])
    with pytest.raises(DataError, match="one is empty"):
        ngram_bits_per_byte(["abc"], [""])
    with pytest.raises(ValueError, match="order=0 must be at least 1"):
        score_ngrams([b"abc"], [b"a"], 0)


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="needs ../shared/data/tinyshakespeare")
def test_shakespeare() -> None:
    """Measured: 2.19 bits per byte for the n-gram model, 2.52 for xz; far off means a defect."""
    text = SHAKESPEARE.read_text(encoding="utf-8")
    train, heldout = text[:1_000_000], text[1_000_000:]
    assert 2.15 < ngram_bits_per_byte([train], [heldout], order=6).bits_per_byte < 2.25
    assert 2.45 < xz_bits_per_byte([train], [heldout]).bits_per_byte < 2.60
