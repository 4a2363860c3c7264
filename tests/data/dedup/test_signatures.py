import math

import numpy as np
import pyarrow as pa
import pytest

from groundup.data.dedup.config import NearConfig
from groundup.data.dedup.shingles import jaccard
from groundup.data.dedup.signatures import band_keys, sign_texts
from groundup.data.dedup.texts import as_texts
from groundup.data.dedup.words import shingles_of
from groundup.runtime import generator

N_PAIRS = 1500
WORDS = 120


def signed(texts: list[str], config: NearConfig) -> np.ndarray:
    return np.concatenate([sign_texts(t, config)[0] for t in as_texts(pa.array(texts))])


def pairs_of_similarity(similarity: float) -> tuple[list[str], list[str], float]:
    """Pairs of texts that share their beginning, and the similarity of their sets of words.

    Of two texts of n words that share the first m: m / (2n - m).
    """
    shared = round(2 * WORDS * similarity / (1 + similarity))
    draw = generator(7, "pairs", shared)
    left, right = [], []
    for _ in range(N_PAIRS):
        numbers = draw.choice(1 << 40, size=2 * WORDS, replace=False)
        words = [f"w{number:x}" for number in numbers.tolist()]
        left.append(" ".join(words[:WORDS]))
        right.append(" ".join(words[:shared] + words[WORDS : 2 * WORDS - shared]))
    return left, right, shared / (2 * WORDS - shared)


@pytest.mark.parametrize(("bands", "rows"), [(20, 6), (14, 8), (5, 3)])
@pytest.mark.parametrize("similarity", [0.3, 0.55, 0.65, 0.8])
def test_candidates_come_as_often_as_the_s_curve_says(
    bands: int, rows: int, similarity: float
) -> None:
    config = NearConfig(shingle_words=1, bands=bands, rows=rows)
    left, right, true = pairs_of_similarity(similarity)
    a, b = signed(left, config), signed(right, config)
    agree = (a == b).mean()
    n_numbers = N_PAIRS * config.n_hashes
    assert agree == pytest.approx(true, abs=4 * math.sqrt(true * (1 - true) / n_numbers))
    share = (band_keys(a, config) == band_keys(b, config)).any(axis=1).mean()
    p = config.candidate_probability(true)
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / N_PAIRS) + 1 / N_PAIRS)


def test_the_similarity_of_sets_is_the_one_that_was_planted() -> None:
    left, right, true = pairs_of_similarity(0.65)
    found = jaccard(shingles_of(left[0], 1), shingles_of(right[0], 1))
    assert found == pytest.approx(true)


def test_a_signature_does_not_depend_on_its_neighbours_or_on_repetitions() -> None:
    config = NearConfig()
    text = "the quick brown fox jumps over the lazy dog and goes to sleep"
    together = signed(["", text, "x y z " * 50, f"{text} . {text[:40]}"], config)
    assert np.array_equal(together[1], signed([text], config)[0])
    assert not np.array_equal(together[1], together[2])


def test_the_seed_makes_other_signatures() -> None:
    one, other = (signed(["to be or not to be"], NearConfig(seed=seed)) for seed in (1, 2))
    assert (one != other).all()


def test_configs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="bands=0 must be at least 1"):
        NearConfig(bands=0)
    with pytest.raises(ValueError, match=r"threshold=1\.5 must lie above 0 and at most at 1"):
        NearConfig(threshold=1.5)
