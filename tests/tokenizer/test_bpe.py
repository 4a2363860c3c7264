from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import (
    BYTE_OF_ID,
    CHARACTER_OF_ID,
    ID_OF_BYTE,
    N_BYTES,
    Bpe,
    byte_ids,
    byte_level_bpe,
    join_pair,
    token_bytes,
    train_bpe,
)

LETTERS = st.text("abc", min_size=1, max_size=12).map(str.encode)
WORDS = st.dictionaries(LETTERS, st.integers(1, 9), max_size=12)


def merge_pair(word: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The definition: one look at each place, from left to right."""
    if len(word) < 2:
        return word
    if (word[0], word[1]) == pair:
        return [new_id, *merge_pair(word[2:], pair, new_id)]
    return [word[0], *merge_pair(word[1:], pair, new_id)]


def by_recounting(counts: dict[bytes, int], n_merges: int) -> list[tuple[int, int]]:
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
        assert string == "".join(CHARACTER_OF_ID[i] for i in byte_ids(character.encode()))


@given(counts=WORDS)
@settings(deadline=None, max_examples=50)
def test_bookkeeping_changes_nothing(counts: dict[bytes, int]) -> None:
    assert train_bpe(counts, 30) == by_recounting(counts, 30)


@given(st.lists(st.integers(0, 2), max_size=12), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_what_a_word_loses_and_gains_is_what_has_changed(
    word: list[int], pair: tuple[int, int]
) -> None:
    joined, lost, gained = join_pair(word, pair, 9)
    assert joined == merge_pair(word, pair, 9)
    assert [i for token_id in joined for i in (pair if token_id == 9 else [token_id])] == word
    before, after = Counter(pairwise(word)), Counter(pairwise(joined))
    before.update(gained)
    before.subtract(lost)
    before[pair] -= joined.count(9)
    assert {key: n_times for key, n_times in before.items() if n_times} == after


def test_a_tie_goes_to_the_smallest_ids() -> None:
    [first] = train_bpe({b"zy": 3, b"ab": 3}, 1)
    assert first == (ID_OF_BYTE[ord("a")], ID_OF_BYTE[ord("b")])


def test_merges_end_when_every_word_is_one_token() -> None:
    merges = train_bpe({b"abc": 2, b"x": 5}, 100)
    assert [spelling.decode() for spelling in token_bytes(merges)[N_BYTES:]] == ["ab", "abc"]
    assert train_bpe({}, 100) == []
    assert train_bpe({b"abc": 0}, 100) == []  # no text has it


@given(counts=WORDS, word=st.text("abc", max_size=20).map(str.encode))
@settings(deadline=None, max_examples=50)
def test_a_trained_word_is_spelled_as_training_left_it(
    counts: dict[bytes, int], word: bytes
) -> None:
    merges = train_bpe(counts, 30)
    model = byte_level_bpe(merges)
    assert b"".join(model.pieces[i] for i in model.encode_word(word)) == word
    for trained in counts:
        ids = byte_ids(trained)
        for rank, pair in enumerate(merges):
            ids = merge_pair(ids, pair, N_BYTES + rank)
        assert model.encode_word(trained) == ids


@given(counts=WORDS)
@settings(deadline=None, max_examples=50)
def test_every_token_spells_itself_and_no_two_are_spelled_alike(counts: dict[bytes, int]) -> None:
    model = byte_level_bpe(train_bpe(counts, 60))
    assert len(set(model.pieces)) == len(model.pieces)
    for token_id in range(N_BYTES, len(model.pieces)):
        assert model.encode_word(model.pieces[token_id]) == [token_id]


# --- vocabularies that are not ours ---------------------------------------------------------------

PIECES = [*"abcé", "ab", "bc", "abc", "aa", "éa"]
MERGES = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "a"), ("é", "a")]


def of_characters(**options: bool) -> tuple[Bpe, models.BPE]:
    """The same vocabulary as ours and as the library's."""
    id_of = {piece: i for i, piece in enumerate([*PIECES, "<unk>"])}
    merges = tuple((id_of[a], id_of[b], id_of[a + b]) for a, b in MERGES)
    ours = Bpe(
        (*(piece.encode() for piece in PIECES), b""),
        merges,
        units="characters",
        unk_id=id_of["<unk>"],
        fuse_unk=options.get("fuse_unk", False),
        whole_words=options.get("ignore_merges", False),
    )
    return ours, models.BPE(id_of, MERGES, unk_token="<unk>", **options)


@given(word=st.text("abcéxy", min_size=1, max_size=12), fuse=st.booleans(), whole=st.booleans())
@settings(deadline=None, max_examples=50)
def test_characters_are_merged_as_in_hugging_face_tokenizers(
    word: str, fuse: bool, whole: bool
) -> None:
    ours, theirs = of_characters(fuse_unk=fuse, ignore_merges=whole)
    assert ours.encode_word(word.encode()) == [token.id for token in theirs.tokenize(word)]


def test_an_unknown_character_without_an_unknown_token_is_an_error() -> None:
    model = Bpe((b"a",), (), units="characters")
    with pytest.raises(TokenizerError, match="b'x' is not in this vocabulary"):
        model.encode_word(b"ax")


def test_an_unknown_character_falls_back_to_its_bytes() -> None:
    model = Bpe((*(b"" for _ in range(256)), b"a"), (), units="characters", byte_ids=(*range(256),))
    assert model.encode_word("aé".encode()) == [256, 0xC3, 0xA9]


def test_the_end_of_a_word_is_written_into_its_last_character() -> None:
    model = Bpe((b"a", b"a</w>", b"aa</w>"), ((0, 1, 2),), units="characters", end_of_word=b"</w>")
    assert model.encode_word(b"aaa") == [0, 2]
