from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from groundup.tokenizer.bpe import (
    BYTE_OF_ID,
    CHARACTER_OF_ID,
    ID_OF_BYTE,
    N_BYTES,
    byte_ids,
    encode_word,
    merge_pair,
    rank_merges,
    token_bytes,
    train_bpe,
)

WORDS = st.dictionaries(st.text("abc", min_size=1, max_size=12), st.integers(1, 9), max_size=12)


def by_recounting(counts: dict[str, int], n_merges: int) -> list[tuple[int, int]]:
    """The definition, with no bookkeeping: count all pairs anew before each merge."""
    words = {word: byte_ids(word) for word in counts}
    merges: list[tuple[int, int]] = []
    while len(merges) < n_merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, count in counts.items():
            for pair in pairwise(words[word]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        words = {word: merge_pair(ids, best, N_BYTES + len(merges)) for word, ids in words.items()}
        merges.append(best)
    return merges


def test_the_alphabet_is_that_of_hugging_face_in_order_of_its_characters() -> None:
    assert sorted(pre_tokenizers.ByteLevel.alphabet()) == list(CHARACTER_OF_ID)
    assert sorted(BYTE_OF_ID) == list(range(256))
    assert all(BYTE_OF_ID[ID_OF_BYTE[byte]] == byte for byte in range(256))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for character in "a \n\t~é\u07ff\uffff\U0001f600":
        [(string, _)] = byte_level.pre_tokenize_str(character)
        assert string == "".join(CHARACTER_OF_ID[i] for i in byte_ids(character))


@given(counts=WORDS)
@settings(deadline=None)
def test_bookkeeping_changes_nothing(counts: dict[str, int]) -> None:
    assert train_bpe(counts, 30) == by_recounting(counts, 30)


def test_a_tie_goes_to_the_smallest_ids() -> None:
    [first] = train_bpe({"zy": 3, "ab": 3}, 1)
    assert first == (ID_OF_BYTE[ord("a")], ID_OF_BYTE[ord("b")])


def test_merges_end_when_every_word_is_one_token() -> None:
    merges = train_bpe({"abc": 2, "x": 5}, 100)
    assert [spelling.decode() for spelling in token_bytes(merges)[N_BYTES:]] == ["ab", "abc"]
    assert train_bpe({}, 100) == []


@given(counts=WORDS, word=st.text("abc", max_size=20))
@settings(deadline=None)
def test_a_trained_word_is_spelled_as_training_left_it(counts: dict[str, int], word: str) -> None:
    merges = train_bpe(counts, 30)
    ranks, spelled = rank_merges(merges), token_bytes(merges)
    assert b"".join(spelled[i] for i in encode_word(word, ranks)) == word.encode()
    for trained in counts:
        ids = byte_ids(trained)
        for rank, pair in enumerate(merges):
            ids = merge_pair(ids, pair, N_BYTES + rank)
        assert encode_word(trained, ranks) == ids


@given(counts=WORDS)
@settings(deadline=None)
def test_every_token_spells_itself_and_no_two_are_spelled_alike(counts: dict[str, int]) -> None:
    merges = train_bpe(counts, 60)
    ranks, spelled = rank_merges(merges), token_bytes(merges)
    assert len(set(spelled)) == len(spelled)
    for token_id in range(N_BYTES, len(spelled)):
        assert encode_word(spelled[token_id].decode(), ranks) == [token_id]
