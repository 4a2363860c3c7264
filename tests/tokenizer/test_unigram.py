from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import CHARACTER_OF_ID, ID_OF_BYTE
from groundup.tokenizer.unigram import Lattice, Unigram, UnigramTraining, train_unigram
from groundup.tokenizer.unigram.lattice import best_path, expected_counts, losses
from groundup.tokenizer.unigram.trainer import digamma, find_seeds, maximise

# Few values, so that many cuts tie; 100 makes unknown characters dearer than nothing.
SCORES = [-9.0, -4.0, -3.0, -2.5, -2.0, -1.0, -0.1, 0.0, 0.3, 100.0]
BYTES = [bytes([byte]) for byte in range(256)]
BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]
STORY = (
    "the miller had three sons and the three sons had one mill, one ass and one cat; "
    "the eldest took the mill, the second the ass, and the youngest the cat. "
)


def visible(word: bytes) -> str:
    """Each byte as the character that stands for it in Hugging Face's byte-level tokenizers."""
    return "".join(CHARACTER_OF_ID[ID_OF_BYTE[byte]] for byte in word)


def their_ids(model: models.Unigram, word: str) -> list[int] | None:
    """What Hugging Face gives; None where it raises for want of an unknown token."""
    try:
        return [token.id for token in model.tokenize(word)]
    except Exception as error:
        if "unk_id" not in str(error):
            raise
        return None


def our_ids(model: Unigram, word: bytes) -> list[int] | None:
    try:
        return model.encode_word(word)
    except TokenizerError as error:
        if "give it unk_id" not in str(error):
            raise
        return None


@st.composite
def vocabularies(draw: st.DrawFn, alphabet: str) -> tuple[list[tuple[str, float]], int | None]:
    """Scored pieces, some twice, and the unknown's id, if there is one."""
    pieces = draw(st.lists(st.text(alphabet, min_size=1, max_size=4), min_size=1, max_size=16))
    scores = random.Random(draw(st.integers(0, 99))).choices(SCORES, k=len(pieces))
    vocabulary = list(zip(pieces, scores, strict=True))
    unk_id = draw(st.none() | st.integers(0, len(vocabulary)))
    if unk_id is not None:
        vocabulary.insert(
            unk_id, (draw(st.sampled_from(["<unk>", "a"])), draw(st.sampled_from(SCORES)))
        )
    return vocabulary, unk_id


@given(drawn=vocabularies("abé雪🙂"), words=st.lists(st.text("abé雪🙂<unk>", max_size=14)))
@settings(deadline=None, max_examples=60)
def test_ids_by_characters_are_those_of_hugging_face(drawn, words: list[str]) -> None:
    vocabulary, unk_id = drawn
    theirs = models.Unigram(vocabulary, unk_id)
    pieces, scores = zip(*vocabulary, strict=True)
    ours = Unigram(tuple(piece.encode() for piece in pieces), scores, unk_id)
    for word in ["<unk>", "a<unk><unk>é", *words]:
        assert our_ids(ours, word.encode()) == their_ids(theirs, word)


@given(
    drawn=vocabularies("aé雪"),
    words=st.lists(st.lists(st.sampled_from(["a", "é", "雪", "<0xC3>", "<", "🙂"])).map("".join)),
)
@settings(deadline=None, max_examples=50)
def test_ids_with_byte_fallback_are_those_of_hugging_face(drawn, words: list[str]) -> None:
    vocabulary, unk_id = drawn
    byte_ids = tuple(range(len(vocabulary), len(vocabulary) + 256))
    vocabulary = vocabulary + [(piece, -5.0) for piece in BYTE_PIECES]
    theirs = models.Unigram(vocabulary, unk_id, byte_fallback=True)
    pieces, scores = zip(*vocabulary, strict=True)
    ours = Unigram(tuple(piece.encode() for piece in pieces), scores, unk_id, byte_ids)
    for word in ["é<0xC3>🙂", *words]:
        assert our_ids(ours, word.encode()) == their_ids(theirs, word)


@given(
    pieces=st.lists(st.text("ab\x00é\xff ", min_size=1, max_size=4), min_size=1, max_size=12),
    all_bytes=st.booleans(),
    words=st.lists(st.binary(max_size=9) | st.text("ab\x00é\xff ").map(str.encode), max_size=9),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_byte_level_ids_are_those_of_hugging_face(pieces, all_bytes, words, seed) -> None:
    spelled = [piece.encode("latin-1") for piece in pieces]
    spelled = [*BYTES, *spelled] if all_bytes else [b"", *spelled]
    scores = random.Random(seed).choices(SCORES, k=len(spelled))
    unk_id = None if all_bytes else 0
    names = [visible(piece) if piece else "<unk>" for piece in spelled]
    theirs = models.Unigram(list(zip(names, scores, strict=True)), unk_id)
    ours = Unigram(tuple(spelled), tuple(scores), unk_id, units="bytes")
    for word in [b"", bytes(range(256)), "aé".encode(), *words]:
        assert ours.encode_word(word) == their_ids(theirs, visible(word))


def test_of_cuts_that_tie_the_one_with_the_longest_last_piece_is_taken() -> None:
    model = Unigram((b"a", b"b", b"ab", b"ba"), (-1.0, -2.0, -3.0, -3.0), None)
    assert model.encode_word(b"abab") == [2, 2]  # not a ba b, nor a b a b
    assert model.encode_word(b"aba") == [0, 3]  # not ab a


@pytest.mark.parametrize(("score_of_a", "ids"), [(9.9, [2]), (10.1, [1, 0])])
def test_an_unknown_costs_ten_more_than_the_least_probable_piece(score_of_a, ids) -> None:
    model = Unigram((b"", b"a", b"ab"), (0.0, score_of_a, -5.0), 0)
    assert model.encode_word(b"ab") == ids  # -5, or score_of_a - 15


def test_unknown_neighbours_are_one_unknown_unless_told_otherwise() -> None:
    pieces, scores = (b"", b"a"), (0.0, -1.0)
    word = "xyaz東京".encode()
    assert Unigram(pieces, scores, 0).encode_word(word) == [0, 1, 0]
    assert Unigram(pieces, scores, 0, fuse_unk=False).encode_word(word) == [0, 0, 1, 0, 0, 0]


def test_unknown_characters_may_spell_a_piece() -> None:
    model = Unigram((b"", b"xy"), (100.0, 100.0), 0)  # an unknown has 90, two have more than xy
    assert model.encode_word(b"xy") == [1]
    assert model.encode_word(b"xyz") == [0]


def all_cuts(word: bytes, pieces: Mapping[bytes, float]) -> Iterator[list[bytes]]:
    if not word:
        yield []
    for end in range(1, len(word) + 1):
        if word[:end] in pieces:
            for rest in all_cuts(word[end:], pieces):
                yield [word[:end], *rest]


PIECES = st.dictionaries(
    st.text("abc", min_size=2, max_size=4).map(str.encode), st.floats(-9, -0.1), max_size=10
).map(lambda some: some | {b"a": -2.0, b"b": -2.1, b"c": -3.0})
WORDS = st.dictionaries(
    st.text("abc", min_size=1, max_size=8).map(str.encode), st.integers(1, 9), min_size=1
)


@given(pieces=PIECES, word=st.text("abc", min_size=1, max_size=9).map(str.encode))
@settings(deadline=None, max_examples=50)
def test_no_cut_is_more_probable(pieces: dict[bytes, float], word: bytes) -> None:
    model = Unigram(tuple(pieces), tuple(pieces.values()), None)
    found = model.encode_word(word)
    assert b"".join(model.pieces[i] for i in found) == word
    best = max(sum(pieces[piece] for piece in cut) for cut in all_cuts(word, pieces))
    assert sum(model.scores[i] for i in found) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (((b"a",), (0.0, 1.0), None), "one score for each piece; got 1 pieces and 2 scores"),
        (((b"a", b"b"), (0.0, -math.inf), None), "score of piece 1 is -inf; .*finite"),
        (((b"a",), (0.0,), 1), r"id 1 \(unk_id or byte_ids\) is not among 1 pieces"),
        (((b"a",), (0.0,), 0, (0,) * 255), "byte_ids needs 256 ids, one a byte; got 255"),
        (((b"a",), (0.0,), 0, (7,) * 256), "id 7 .*not among 1 pieces"),
    ],
)
def test_a_vocabulary_that_does_not_hold_together_is_refused(fields, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        Unigram(*fields)


def test_what_cannot_be_spelled_is_said() -> None:
    with pytest.raises(TokenizerError) as caught:
        Unigram((b"a",), (-1.0,), None).encode_word("aé".encode())
    assert str(caught.value) == (
        r"no piece matches b'\xc3\xa9' in b'a\xc3\xa9', and this Unigram vocabulary has no unknown "
        "token; give it unk_id"
    )


# Training: seeds


def spell(texts: Sequence[str], lattice: Lattice) -> list[str]:
    flat = "".join(text + "|" for text in texts)
    ends = lattice.piece_starts + lattice.piece_lengths
    return [flat[a:b] for a, b in zip(lattice.piece_starts, ends, strict=True)]


def seeds_by_definition(
    counts: Mapping[str, int], max_length: int, least_count: int
) -> dict[str, int]:
    """Every substring of two units or more that repeats, and not always before the same unit."""
    totals: Counter[str] = Counter()
    following: dict[str, set[str]] = {}
    for word, count in counts.items():
        for start in range(len(word)):
            for end in range(start + 2, min(start + max_length, len(word)) + 1):
                totals[word[start:end]] += count
                following.setdefault(word[start:end], set()).add(word[end : end + 1])
    return {
        string: total
        for string, total in totals.items()
        if total >= least_count and (len(following[string]) > 1 or following[string] == {""})
    }


@given(counts=WORDS, max_length=st.integers(1, 5), least_count=st.integers(2, 4))
@settings(deadline=None, max_examples=50)
def test_seeds_are_the_substrings_that_repeat(
    counts: dict[bytes, int], max_length: int, least_count: int
) -> None:
    by_text = {word.decode(): count for word, count in counts.items()}
    texts = sorted(by_text)
    lattice, scores = find_seeds(
        texts,
        np.array([by_text[text] for text in texts]),
        UnigramTraining(max_piece_length=max_length, least_count=least_count),
    )
    spelled = spell(texts, lattice)
    expected: dict[str, int] = {
        unit: sum(count * word.count(unit) for word, count in by_text.items())
        for unit in set("".join(texts))
    }
    expected |= {
        string: total * len(string)
        for string, total in seeds_by_definition(by_text, max_length, least_count).items()
    }
    assert len(set(spelled)) == len(spelled)
    assert dict(zip(spelled, np.exp(scores) * sum(expected.values()), strict=True)) == (
        pytest.approx(expected)
    )


def test_seeds_of_distinct_words_are_those_of_hugging_face() -> None:
    """The example of the test in its trainer.rs, whose scores are log(count / 26)."""
    texts = sorted(["This is a", "こんにちは友達"])
    lattice, scores = find_seeds(texts, np.array([1, 1]), UnigramTraining(like="hugging_face"))
    found = dict(zip(spell(texts, lattice), np.exp(scores) * 26, strict=True))
    theirs = dict.fromkeys("達友んはにちこhaT", 1.0) | dict.fromkeys("si ", 2.0)
    assert found == pytest.approx(theirs | {"is ": 6.0, "s ": 4.0})


# Training: estimation


def seeds_of(counts: Mapping[bytes, int]) -> tuple[Lattice, dict[bytes, int]]:
    """The lattice of the seeds, and the number of each."""
    texts = sorted(word.decode() for word in counts)
    lattice, _ = find_seeds(
        texts, np.array([counts[text.encode()] for text in texts]), UnigramTraining()
    )
    return lattice, {piece.encode(): i for i, piece in enumerate(spell(texts, lattice))}


def test_an_estimate_by_hand() -> None:
    """`ab` three times and `a` once; a and b have 1/4, ab has 1/2.

    `ab` is a b with 1/16 or ab with 8/16: one ninth and eight ninths. So ab is expected 3 * 8/9
    times, b 3/9 times and a 3/9 + 1 times, and the words' probability is (9/16)**3 * 1/4.
    """
    lattice, number = seeds_of({b"ab": 3, b"a": 1})
    scores = np.empty(3)
    scores[[number[b"a"], number[b"b"], number[b"ab"]]] = np.log([1 / 4, 1 / 4, 1 / 2])
    expected, log_likelihood = expected_counts(lattice, scores)
    assert expected[number[b"ab"]] == pytest.approx(24 / 9, rel=1e-14)
    assert expected[number[b"b"]] == pytest.approx(3 / 9, rel=1e-14)
    assert expected[number[b"a"]] == pytest.approx(12 / 9, rel=1e-14)
    assert log_likelihood == pytest.approx(3 * math.log(9 / 16) + math.log(1 / 4), rel=1e-14)
    # digamma(n) of whole n is 1 + 1/2 + ... + 1/(n - 1) - 0.5772...
    by_hand = maximise(np.array([3.0, 0.5, 2.0]))
    half = -np.euler_gamma - 2 * math.log(2)
    sum_of_all = torch.digamma(torch.tensor(5.5, dtype=torch.float64)).item()
    assert by_hand == pytest.approx(
        np.array([1.5 - np.euler_gamma, half, 1 - np.euler_gamma]) - sum_of_all, rel=1e-12
    )


@given(counts=WORDS, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_expected_counts_are_those_of_all_cuts(counts: dict[bytes, int], seed: int) -> None:
    lattice, number = seeds_of(counts)
    scores = np.random.default_rng(seed).uniform(-9, 0, len(number))
    pieces = {piece: scores[i] for piece, i in number.items()}
    by_cuts, log_likelihood = np.zeros(len(number)), 0.0
    for word, count in counts.items():
        weights = [
            (cut, math.exp(sum(pieces[piece] for piece in cut))) for cut in all_cuts(word, pieces)
        ]
        total = sum(weight for _, weight in weights)
        log_likelihood += count * math.log(total)
        for cut, weight in weights:
            for piece in cut:
                by_cuts[number[piece]] += count * weight / total
    expected, found = expected_counts(lattice, scores)
    assert expected == pytest.approx(by_cuts, rel=1e-9, abs=1e-12)
    assert found == pytest.approx(log_likelihood, rel=1e-9, abs=1e-12)


def test_a_word_of_many_units_does_not_underflow() -> None:
    texts = ["ab" * 20_000]
    lattice, scores = find_seeds(texts, np.array([1]), UnigramTraining(max_piece_length=2))
    expected, log_likelihood = expected_counts(lattice, scores)
    assert expected @ lattice.piece_lengths == pytest.approx(40_000)
    assert -1e6 < log_likelihood < -1e4


@given(counts=WORDS, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_the_likelihood_never_falls_over_plain_steps(counts: dict[bytes, int], seed: int) -> None:
    lattice, number = seeds_of(counts)
    weights = np.random.default_rng(seed).uniform(0.01, 1, len(number))
    scores = np.log(weights / weights.sum())
    likelihoods = []
    for _ in range(8):
        expected, log_likelihood = expected_counts(lattice, scores)
        likelihoods.append(log_likelihood)
        expected = np.maximum(expected, 1e-300)
        scores = np.log(expected / expected.sum())
    for before, after in pairwise(likelihoods):
        assert after >= before - 1e-9 * abs(before)


def free_energy(log_likelihood: float, counted: np.ndarray) -> float:
    """What the digamma step raises, up to a constant.

    The probabilities are known only as a Dirichlet distribution with parameters `counted`, of
    prior 0; the bound on the evidence is the log likelihood under exp(digamma(c) - digamma(sum c))
    less the divergence of that distribution from the prior.
    """
    total = counted.sum()
    divergence = math.lgamma(total) - sum(map(math.lgamma, counted))
    divergence += counted @ (digamma(counted) - digamma(total))
    return log_likelihood - divergence


@given(counts=WORDS)
@settings(deadline=None, max_examples=50)
def test_what_the_digamma_step_is_for_never_falls(counts: dict[bytes, int]) -> None:
    lattice, scores = seeds_of(counts)[0], None
    counted = np.bincount(lattice.edge_pieces, minlength=len(lattice.piece_lengths)).astype(float)
    energies = []
    for _ in range(8):
        scores = digamma(counted) - digamma(counted.sum())
        expected, log_likelihood = expected_counts(lattice, scores)
        energies.append(free_energy(log_likelihood, counted))
        if expected.min() < 1e-3:  # the bound has no floor: a piece that dies out takes it to -inf
            break
        counted = expected
    for before, after in pairwise(energies):
        assert after >= before - 1e-9 * abs(before)


def test_digamma_is_that_of_torch() -> None:
    x = np.concatenate([np.linspace(0.5, 30, 500), [1e3, 1e6, 1e12]])
    assert digamma(x) == pytest.approx(torch.digamma(torch.from_numpy(x)).numpy(), rel=1e-13)


# Training: pruning


def test_a_loss_by_hand() -> None:
    """`ab` eight times, `a` and `b` once each; without ab there are 9 of each among 18.

    8 log(8/10) - 16 log(9/18).
    """
    lattice, number = seeds_of({b"ab": 8, b"a": 1, b"b": 1})
    scores = np.empty(3)
    scores[[number[b"a"], number[b"b"], number[b"ab"]]] = np.log([1 / 4, 1 / 4, 1 / 2])
    found = losses(lattice, scores)
    assert found[number[b"ab"]] == pytest.approx(8 * math.log(0.8) - 16 * math.log(0.5))
    scores[number[b"ab"]] = -3.0  # dearer than a b: no word's best cut has it
    assert losses(lattice, scores)[number[b"ab"]] == -math.inf


@given(counts=WORDS, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_training_cuts_as_encoding_does(counts: dict[bytes, int], seed: int) -> None:
    lattice, number = seeds_of(counts)
    # Whole numbers, so that cuts tie and every order of summing them gives the same.
    scores = np.random.default_rng(seed).integers(-6, 0, len(number)).astype(float)
    by_number = sorted(number, key=number.__getitem__)
    model = Unigram(tuple(by_number), tuple(scores.tolist()), None)
    for word, (first, after) in zip(sorted(counts), pairwise(lattice.word_starts), strict=True):
        edges, into, starts = lattice.stretch(first, after - 1)
        pieces = lattice.edge_pieces[edges]
        path = best_path(into, starts, scores[pieces].tolist())
        assert pieces[path].tolist() == model.encode_word(word)


# Training: what comes out


@pytest.fixture(scope="module")
def story_counts() -> dict[bytes, int]:
    words = [word.encode() for word in STORY.replace(" ", " |").split("|")]
    return dict(Counter(words))


@pytest.mark.parametrize("like", ["sentencepiece", "hugging_face"])
def test_byte_level_has_every_byte_and_nothing_is_unknown(story_counts, like) -> None:
    model = train_unigram(story_counts, 264, training=UnigramTraining(like=like))
    assert len(model.pieces) == len(set(model.pieces)) == 264
    assert model.unk_id is None
    assert set(BYTES) <= set(model.pieces)
    assert list(model.scores) == sorted(model.scores, reverse=True)
    for word in [bytes(range(256)), "雪".encode(), b"\xff\x00", *story_counts]:
        assert b"".join(model.pieces[i] for i in model.encode_word(word)) == word
    assert sum(map(math.exp, model.scores)) <= 1 + 256 * math.exp(model.scores[-1])


@given(counts=WORDS, vocab_size=st.integers(256, 300), word=st.binary(max_size=12))
@settings(deadline=None, max_examples=50)
def test_any_bytes_come_back(counts: dict[bytes, int], vocab_size: int, word: bytes) -> None:
    model = train_unigram(counts, vocab_size)
    assert len(model.pieces) <= vocab_size
    assert b"".join(model.pieces[i] for i in model.encode_word(word)) == word


def test_characters_have_the_unknown_first_and_every_character(story_counts) -> None:
    counts = story_counts | {"naïve 東京".encode(): 1}
    model = train_unigram(counts, 60, units="characters", alphabet=["é".encode()])
    assert len(model.pieces) == 60
    assert (model.pieces[0], model.scores[0], model.unk_id) == (b"", 0.0, 0)
    characters = set(b"".join(counts).decode()) | {"é"}
    assert characters <= {piece.decode() for piece in model.pieces}
    assert model.encode_word("雪é".encode()) == [0, model.pieces.index("é".encode())]


@pytest.mark.parametrize("units", ["bytes", "characters"])
def test_the_order_of_the_counts_changes_nothing(story_counts, units) -> None:
    first = train_unigram(story_counts, 300 if units == "bytes" else 70, units=units)
    items = list(story_counts.items())
    for seed in range(3):
        random.Random(seed).shuffle(items)
        again = train_unigram(dict(items), len(first.pieces), units=units)
        assert again == first


def test_words_that_no_text_has_change_nothing(story_counts) -> None:
    plain = train_unigram(story_counts, 290)
    assert train_unigram(story_counts | {b"": 5, b"zzz": 0}, 290) == plain


def test_pieces_are_no_longer_than_asked(story_counts) -> None:
    counts = {word: 50 * count for word, count in story_counts.items()}
    longest = {
        n: max(map(len, train_unigram(counts, 330, training=UnigramTraining(n)).pieces))
        for n in (1, 2, 5)
    }
    assert longest == {1: 1, 2: 2, 5: 5}


def test_few_seeds_are_the_units_and_what_covers_most() -> None:
    lattice, _ = find_seeds(["abab", "xyz"], np.array([9, 2]), UnigramTraining(n_seeds=6))
    assert spell(["abab", "xyz"], lattice) == ["a", "b", "x", "y", "z", "ab"]


def test_text_that_runs_out_gives_what_it_has() -> None:
    assert train_unigram({b"ab": 2}, 5000).pieces[0] == b"ab"
    assert len(train_unigram({b"ab": 2}, 5000).pieces) == 257
    assert len(train_unigram({b"ab": 1}, 5000).pieces) == 256
    assert len(train_unigram({}, 5000).pieces) == 256
    assert train_unigram({}, 9, units="characters", alphabet=[b"a"]).pieces == (b"", b"a")


def test_what_occurs_twice_is_taken_where_the_rest_does_not_fill_the_vocabulary() -> None:
    counts = {b"ab": 3, b"cd": 2}
    assert b"cd" not in train_unigram(counts, 257).pieces
    assert {b"ab", b"cd"} <= set(train_unigram(counts, 258).pieces)
    twice = UnigramTraining(least_count=2)
    assert train_unigram(counts, 258, training=twice) == train_unigram(counts, 258)


def test_a_vocabulary_too_small_for_the_units_is_refused() -> None:
    with pytest.raises(TokenizerError) as caught:
        train_unigram({b"ab": 2}, 255)
    assert str(caught.value) == "vocab_size=255 must be at least 256: every byte is a piece"
    with pytest.raises(TokenizerError) as caught:
        train_unigram({b"abc": 2}, 3, units="characters")
    assert str(caught.value) == (
        "vocab_size=3 must be at least 4: the 3 different characters are pieces, and the unknown "
        "has an id; or use units='bytes', which needs 256"
    )
    assert len(train_unigram({b"abc": 2}, 4, units="characters").pieces) == 4
    assert len(train_unigram({b"abc": 2}, 256).pieces) == 256


def test_mistakes_are_said() -> None:
    with pytest.raises(TokenizerError, match=r"b'\\xff' is not UTF-8.*use units='bytes'"):
        train_unigram({b"\xff": 1}, 99, units="characters")
    with pytest.raises(TokenizerError, match=r"alphabet.*b'ab'.*one byte"):
        train_unigram({b"a": 1}, 999, alphabet=[b"ab"])
    with pytest.raises(TokenizerError, match=r"keep_share=1 must lie between 0 and 1; try 0\.75"):
        UnigramTraining(keep_share=1)
    with pytest.raises(TokenizerError, match="n_em_steps=0 must be at least 1"):
        UnigramTraining(n_em_steps=0)
