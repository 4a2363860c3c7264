"""Duplicates and n-grams: the kernels against the plain way."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.repetition import count_duplicates, gram_hashes, n_gram_characters
from groundup.data.cleaning.words import find_words, split_words

few_words = st.lists(st.sampled_from(["a", "to", "fox", "then"]), max_size=60)


def plain_top(words: list[str], n: int) -> int:
    """Characters of the commonest n-gram, spaces within it included, times its count."""
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not grams:
        return 0
    gram, times = grams.most_common(1)[0]
    return len(" ".join(gram)) * times


def plain_repeated(words: list[str], n: int) -> int:
    """Characters of n-grams that came before, none counted twice."""
    seen: set[tuple[str, ...]] = set()
    place = total = 0
    while place + n <= len(words):
        gram = tuple(words[place : place + n])
        if gram in seen:
            total += sum(map(len, gram))
            place += n
        else:
            seen.add(gram)
            place += 1
    return total


@given(few_words)
@settings(max_examples=80, deadline=None)
def test_n_grams_are_counted_as_plainly(words: list[str]) -> None:
    found = find_words(code_points(" ".join(words)))
    expected = [plain_top(words, n) for n in (2, 3, 4)]
    expected += [plain_repeated(words, n) for n in range(5, 11)]
    assert n_gram_characters(found).tolist() == expected


def plain_grams(text: str, n: int) -> list[tuple[int, int, str]]:
    """(begin, end, characters) of the n-gram of words that begins at each letter of a text.

    Its words are runs of one kind cut from there on: two ideographs, three Thai letters, one other.
    """
    letters = split_words(text)
    sizes = [3 if "ก" <= x <= "๙" else 2 if "一" <= x <= "鿿" else 1 for x in letters]
    found = []
    for begin in range(len(letters)):
        end = begin
        for _ in range(n):
            size = sizes[end] if end < len(letters) else 0
            run = letters[end : end + size]
            while len({sizes[end + i] for i in range(len(run))}) > 1:
                run.pop()
            end += len(run)
            if not run:
                break
        else:
            found.append((begin, end, " ".join(letters[begin:end])))
    return found


@given(st.text(st.sampled_from("中文字กขค x,"), max_size=60))
@settings(max_examples=120, deadline=None)
def test_n_grams_of_unspaced_scripts_are_counted_as_plainly(text: str) -> None:
    letters = split_words(text)
    expected = []
    for n in range(5, 11):
        seen: set[str] = set()
        total = done = 0
        for begin, end, gram in plain_grams(text, n):
            if begin < done:
                continue
            if gram in seen:
                total += len("".join(letters[begin:end]))
                done = end
            seen.add(gram)
        expected.append(total)
    assert n_gram_characters(find_words(code_points(text))).tolist()[3:] == expected


def test_the_commonest_chinese_pair_is_of_four_characters_and_no_spaces() -> None:
    found = n_gram_characters(find_words(code_points("关关雎鸠，在河之洲。关关雎鸠，左右流之。")))
    assert found.tolist()[:2] == [2 * 4, 2 * 5]


@given(st.lists(st.integers(0, 9), max_size=40))
@settings(max_examples=100, deadline=None)
def test_duplicates_are_those_seen_before(values: list[int]) -> None:
    hashes = np.array(values, dtype=np.uint64)
    lengths = np.array([value + 1 for value in values], dtype=np.int64)
    n, n_characters = count_duplicates(hashes, lengths)
    assert n == len(values) - len(set(values))
    assert n_characters == sum(v + 1 for v in values) - sum(v + 1 for v in set(values))


def test_the_order_of_words_counts() -> None:
    one, other = (find_words(code_points(text)).hashes for text in ("a b", "b a"))
    assert gram_hashes(one, 2)[0] != gram_hashes(other, 2)[0]
    assert len(gram_hashes(one, 3)) == 0
