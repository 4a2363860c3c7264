import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.dedup.words import (
    fold,
    hash_runs,
    mix,
    mix_all,
    room_for,
    shingles_of,
    words_of,
)

TEXTS = st.text(
    st.sampled_from("aAbσςΣſ天地のไ0١\u0301 .,\n\U00020000\U0001f642é")
    | st.characters(exclude_categories=["Cs"])
)


def test_words_do_not_depend_on_case_white_space_and_punctuation() -> None:
    plain = words_of("Natalia sold clips to 48 of her friends.")[0]
    assert np.array_equal(plain, words_of("NATALIA  sold\nclips (to 48) of\ther friends")[0])
    assert not np.array_equal(plain, words_of("Natalia sold clips to 47 of her friends.")[0])


def test_scripts_without_spaces_have_a_word_a_character() -> None:
    assert fold("天地玄黄 abc def") == ["天", "地", "玄", "黄", "abc", "def"]
    assert len(words_of("天地玄黄 abc def")[0]) == 6


@given(TEXTS)
def test_the_kernel_finds_the_words_of_the_plain_form(text: str) -> None:
    hashes, places = words_of(text)
    words = fold(text)
    assert len(hashes) == len(words) <= room_for(len(text.encode()))
    assert [hash_of(word) for word in words] == hashes.tolist()
    data = text.encode()
    assert [fold(data[a:b].decode()) for a, b in places.tolist()] == [[word] for word in words]


def hash_of(word: str) -> int:
    """A word's hash, as it is alone."""
    [value] = words_of(word)[0].tolist()
    return int(value)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(1, 8))
def test_a_runs_hash_depends_on_its_words_alone(values: list[int], length: int) -> None:
    words = np.array(values, dtype=np.uint64)
    runs = np.empty_like(words)
    n = hash_runs(words, len(words), length, runs)
    assert n == max(len(words) - length + 1, 0)
    for i in range(n):
        alone = np.empty(length, dtype=np.uint64)
        assert hash_runs(words[i : i + length].copy(), length, length, alone) == 1
        assert alone[0] == runs[i]


def test_runs_may_be_written_over_the_words() -> None:
    words = np.arange(1, 20, dtype=np.uint64)
    apart = np.empty_like(words)
    n = hash_runs(words, len(words), 5, apart)
    assert hash_runs(words, len(words), 5, words) == n
    assert np.array_equal(words[:n], apart[:n])


def test_runs_of_other_words_or_another_order_have_other_hashes() -> None:
    texts = ["a b c d", "a b d c", "b a c d", "a b c", "a b c d e", "a b c c"]
    hashes = {tuple(shingles_of(text, 5).tolist()) for text in texts}
    assert len(hashes) == len(texts)


def test_a_short_text_is_one_shingle_and_one_without_words_none() -> None:
    assert len(shingles_of("to be", 5)) == 1
    assert len(shingles_of(" ... ", 5)) == 0


@given(st.integers(0, 2**64 - 1))
def test_mix_is_the_same_compiled_and_in_numpy(value: int) -> None:
    number = np.array([value], dtype=np.uint64)
    assert mix(number[0]) == mix_all(number)[0]
