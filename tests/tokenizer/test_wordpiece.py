from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import BYTE_OF_ID, CHARACTER_OF_ID
from groundup.tokenizer.wordpiece import (
    UNKNOWN,
    WordPiece,
    train_wordpiece,
)
from groundup.tokenizer.wordpiece.trainer import choose_alphabet, learn_pieces

from .conftest import DATA, Corpus, read_corpus

BYTES = dict(zip(CHARACTER_OF_ID, BYTE_OF_ID, strict=True))
CHARACTERS = {byte: character for character, byte in BYTES.items()}

# Few characters make ties and repetition, `#` makes words that begin with the prefix.
ALPHABETS = st.sampled_from(["ab", "#", "#a", "#ab", "aé語\U0001f600#"])
WORDS = ALPHABETS.flatmap(
    lambda letters: st.dictionaries(
        st.text(letters, min_size=1, max_size=12), st.integers(1, 9), min_size=1, max_size=12
    )
)
BYTE_WORDS = st.dictionaries(
    st.one_of(st.binary(min_size=1, max_size=8), st.text("ab …", min_size=1).map(str.encode)),
    st.integers(1, 9),
    max_size=12,
)


def found_by_hugging_face(
    counts: Mapping[str, int], vocab_size: int, prefix: str = "##", **options: Any
) -> list[str]:
    """The vocabulary of its trainer, in order of id."""
    learner = Tokenizer(models.WordPiece(unk_token=UNKNOWN))  # no cutter: a line is a word
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        continuing_subword_prefix=prefix,
        show_progress=False,
        **{"special_tokens": [], **options},
    )
    lines = (word for word, n_times in counts.items() for _ in range(n_times))
    learner.train_from_iterator(lines, trainer)
    return in_order(learner)


def assert_found(ours: list[str], train: Callable[[], list[str]]) -> None:
    """Ours is what its trainer finds, or what it finds in one of fifty runs that differ.

    Where words begin with the prefix, a pair may stand in its queue twice with the same count, and
    which comes first is left to a hash table: now and then the vocabulary is another in each run.
    """
    for _ in range(50):
        if (theirs := train()) == ours:
            return
    assert ours == theirs


def in_order(learner: Tokenizer) -> list[str]:
    vocab: dict[str, int] = json.loads(learner.to_str())["model"]["vocab"]
    return sorted(vocab, key=vocab.__getitem__)


def beginning_with(first: Sequence[str]) -> dict[str, Any]:
    """Options that give its trainer the order of the first ids, which it leaves to chance."""
    return {"special_tokens": list(first), "limit_alphabet": 0}


def spellings(model: WordPiece) -> list[str]:
    return [model.spelling(i) for i in range(len(model.pieces)) if i != model.unk_id]


def visible(word: bytes) -> str:
    return "".join(CHARACTERS[byte] for byte in word)


def of_hugging_face(strings: Iterable[str], prefix: str, longest: int) -> models.WordPiece:
    return models.WordPiece(
        {string: i for i, string in enumerate(strings)},
        unk_token=UNKNOWN,
        max_input_chars_per_word=longest,
        continuing_subword_prefix=prefix,
    )


# --- training -------------------------------------------------------------------------------------


@given(
    counts=WORDS,
    n_pieces=st.integers(20, 60),
    prefix=st.sampled_from(["##", "##", "…", "#", "a", ""]),
)
@settings(deadline=None, max_examples=50)
def test_whatever_order_hugging_face_begins_with_the_rest_follows(
    counts: dict[str, int], n_pieces: int, prefix: str
) -> None:
    theirs = found_by_hugging_face(counts, n_pieces, prefix)
    starting = sorted(set("".join(counts)))
    inside = {prefix + character for word in counts for character in word[1:]}
    first = theirs[: len(inside.union(starting))]
    assert first[: len(starting)] == starting
    assert set(first) == inside.union(starting)
    ours = learn_pieces(counts, first, n_pieces, prefix)
    options = beginning_with(first)
    if ours != theirs:
        assert_found(ours, lambda: found_by_hugging_face(counts, n_pieces, prefix, **options))


@given(counts=WORDS, vocab_size=st.integers(20, 60))
@settings(deadline=None, max_examples=50)
def test_characters_as_hugging_face(counts: dict[str, int], vocab_size: int) -> None:
    encoded = {word.encode(): n_times for word, n_times in counts.items()}
    model = train_wordpiece(encoded, vocab_size + 1, units="characters")
    starting = sorted(set("".join(counts)))
    inside = sorted({"##" + character for word in counts for character in word[1:]})
    options = beginning_with(starting + inside)
    assert_found(spellings(model), lambda: found_by_hugging_face(counts, vocab_size, **options))
    assert model.unk_id == len(model.pieces) - 1
    again = train_wordpiece(dict(reversed(encoded.items())), vocab_size + 1, units="characters")
    assert again == model


@given(counts=BYTE_WORDS, n_learnt=st.integers(0, 40))
@settings(deadline=None, max_examples=30)
def test_bytes_as_hugging_face(counts: dict[bytes, int], n_learnt: int) -> None:
    model = train_wordpiece(counts, 512 + n_learnt)
    words = {visible(word): n_times for word, n_times in counts.items()}
    first = [*CHARACTER_OF_ID, *("…" + character for character in CHARACTER_OF_ID)]
    assert spellings(model) == found_by_hugging_face(
        words, 512 + n_learnt, "…", **beginning_with(first)
    )
    assert model.unk_id is None
    assert model.max_word_chars is None


@given(counts=WORDS, limit=st.integers(1, 4), wanted=st.sets(st.sampled_from("abx#")))
@settings(deadline=None, max_examples=30)
def test_a_limited_alphabet_as_hugging_face(
    counts: dict[str, int], limit: int, wanted: set[str]
) -> None:
    occurs = Counter(c for word, n_times in counts.items() for c in word * n_times)
    by_count = sorted([*({**occurs, **dict.fromkeys(wanted, 10**6)}).values(), 0, 0, 0, 0, 0])
    last, next_one = by_count[-limit], by_count[-limit - 1]
    assume(last > next_one or last == 0)  # it leaves ties to chance
    kept = choose_alphabet(counts, wanted, limit)
    theirs = found_by_hugging_face(
        counts, 60, limit_alphabet=limit, initial_alphabet=sorted(wanted)
    )
    assert theirs[: len(kept)] == kept
    first = theirs[: len(kept) + len({c for word in counts for c in word[1:] if c in kept})]
    ours = learn_pieces(counts, first, 60, "##")
    assert_found(ours, lambda: found_by_hugging_face(counts, 60, **beginning_with(first)))


def test_of_equally_frequent_characters_the_first_in_unicode_are_kept() -> None:
    assert choose_alphabet({"dcba": 2, "e": 3}, limit=3) == ["a", "b", "e"]


def test_characters_out_of_the_alphabet_are_unknown_and_wanted_ones_known() -> None:
    model = train_wordpiece(
        {b"abz": 5, b"ba": 5}, 20, units="characters", alphabet=[b"q"], limit_alphabet=3
    )
    assert model.encode_word(b"ab") == [spellings(model).index("ab")]
    assert model.encode_word(b"q") == [spellings(model).index("q")]
    assert model.encode_word(b"abz") == [model.unk_id]


def test_pieces_end_when_every_word_is_one() -> None:
    model = train_wordpiece({b"abc": 2, b"x": 5}, 100, units="characters")
    assert spellings(model) == ["a", "b", "c", "x", "##b", "##c", "ab", "abc"]
    assert spellings(train_wordpiece({}, 1, units="characters")) == []
    assert len(train_wordpiece({}, 600).pieces) == 512


# --- spelling a word ------------------------------------------------------------------------------


@given(
    strings=st.sets(st.text("#ab語", min_size=1, max_size=5), max_size=25),
    words=st.lists(st.text("#ab語é", min_size=1, max_size=12), min_size=1),
    prefix=st.sampled_from(["##", "##", "a", ""]),
    longest=st.integers(0, 14),
)
@settings(deadline=None, max_examples=100)
def test_words_are_spelled_as_by_hugging_face(
    strings: set[str], words: list[str], prefix: str, longest: int
) -> None:
    vocabulary = [*sorted(strings), UNKNOWN]
    model = WordPiece.from_spellings(
        vocabulary,
        units="characters",
        prefix=prefix,
        unk_id=len(strings),
        max_word_chars=longest,
    )
    theirs = of_hugging_face(vocabulary, prefix, longest)
    for word in words:
        assert model.encode_word(word.encode()) == [t.id for t in theirs.tokenize(word)]
    assert spellings(model) == vocabulary[:-1]


@given(
    strings=st.sets(st.text("#aéĠ", min_size=1, max_size=5), max_size=25),
    words=st.lists(st.text("#aéĠĢ", min_size=1, max_size=12), min_size=1),
    prefix=st.sampled_from(["…", "##", "Ġ"]),
    longest=st.integers(1, 14),
)
@settings(deadline=None, max_examples=50)
def test_words_of_bytes_are_spelled_as_by_hugging_face(
    strings: set[str], words: list[str], prefix: str, longest: int
) -> None:
    """With any prefix, also one that bytes may spell, which we do not make but may be given."""
    vocabulary = [*sorted(strings | {prefix + string for string in strings}), UNKNOWN]
    vocabulary = list(dict.fromkeys(vocabulary))
    model = WordPiece.from_spellings(
        vocabulary,
        units="bytes",
        prefix=prefix,
        unk_id=len(vocabulary) - 1,
        max_word_chars=longest,
    )
    theirs = of_hugging_face(vocabulary, prefix, longest)
    for word in words:
        encoded = bytes(BYTES[character] for character in word)
        assert model.encode_word(encoded) == [t.id for t in theirs.tokenize(word)]


@given(counts=BYTE_WORDS, word=st.binary(max_size=40))
@settings(deadline=None, max_examples=40)
def test_bytes_spell_every_word(counts: dict[bytes, int], word: bytes) -> None:
    model = train_wordpiece(counts, 540)
    for any_word in [word, *counts]:
        ids = model.encode_word(any_word)
        assert b"".join(model.pieces[i] for i in ids) == any_word
        assert [model.continuing[i] for i in ids] == [place > 0 for place in range(len(ids))]


@given(text=st.text(st.sampled_from("#…a é語\u2026\U0001f600"), min_size=1))
@settings(deadline=None)
def test_hugging_face_gives_a_text_of_bytes_back(text: str) -> None:
    model = train_wordpiece({b" ##": 3, "…a".encode(): 4, b"###": 5}, 530)
    tokenizer = Tokenizer(of_hugging_face(spellings(model), model.prefix, 2**31 - 1))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("…", ""), decoders.ByteLevel()])
    encoding = tokenizer.encode(text)
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    encoded = [bytes(BYTES[character] for character in word) for word in words]
    assert encoding.ids == [i for word in encoded for i in model.encode_word(word)]
    assert tokenizer.decode(encoding.ids) == text


def test_no_word_spells_a_special_id() -> None:
    strings = ["[UNK]", "[CLS]", "##[SEP]", "a", "##["]
    model = WordPiece.from_spellings(strings, units="characters", unk_id=0, special_ids={0, 1, 2})
    assert model.encode_word(b"[UNK]") == model.encode_word(b"[CLS]") == [0]
    assert model.encode_word(b"a[SEP]") == model.encode_word(b"##[SEP]") == [0]
    assert model.encode_word(b"a[") == [3, 4]
    assert [model.spelling(i) for i in range(5)] == ["", "", "", "a", "##["]


def test_a_word_of_a_hundred_thousand_characters_is_spelled_at_once() -> None:
    model = train_wordpiece({b"ab" * 8: 3}, 520)
    word = b"ab" * 50_000
    assert b"".join(model.pieces[i] for i in model.encode_word(word)) == word


# --- what a user may get wrong --------------------------------------------------------------------


def test_too_small_a_vocabulary_says_what_it_needs() -> None:
    with pytest.raises(TokenizerError, match=r"vocab_size=4 .* 5 tokens .* limit_alphabet"):
        train_wordpiece({b"ab": 1, b"ba": 1}, 4, units="characters")
    with pytest.raises(TokenizerError, match=r"use vocab_size=512 or more$"):
        train_wordpiece({b"ab": 1}, 300)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit_alphabet": 9}, "go with units='characters'"),
        ({"alphabet": [b"a"]}, "go with units='characters'"),
        ({"units": "characters", "limit_alphabet": 0}, "limit_alphabet=0 leaves no character"),
        ({"units": "characters", "alphabet": [b"a", b"bc"]}, "'bc'; each entry must be one"),
        ({"units": "characters", "alphabet": [b"\xff"]}, "not UTF-8"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        train_wordpiece({b"ab": 1}, 1000, **options)


def test_words_that_are_not_utf_8_have_no_characters() -> None:
    with pytest.raises(TokenizerError, match=r"b'\\xff' is not UTF-8.*units='bytes'"):
        train_wordpiece({b"\xff": 1}, 100, units="characters")


def test_a_text_that_spells_the_unknown_token_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"spells \[UNK\] so often"):
        train_wordpiece({b"[UNK]": 9}, 100, units="characters")


def test_without_an_unknown_token_a_word_that_cannot_be_spelled_is_an_error() -> None:
    model = WordPiece.from_spellings(["a"], units="characters")
    with pytest.raises(TokenizerError, match="the word b'ab' cannot be spelled"):
        model.encode_word(b"ab")
    with pytest.raises(TokenizerError, match=r"\(1000 bytes\) cannot be spelled"):
        model.encode_word(b"b" * 1000)


def test_a_vocabulary_that_does_not_hold_together_is_refused() -> None:
    with pytest.raises(TokenizerError, match="2 pieces and 1 marks"):
        WordPiece((b"a", b"b"), (False,))
    with pytest.raises(TokenizerError, match="unk_id=-1 is no id"):
        WordPiece((b"a",), (False,), unk_id=-1)
    with pytest.raises(TokenizerError, match="'語', which stands for no byte"):
        WordPiece.from_spellings(["a語"], units="bytes")


# --- real text ------------------------------------------------------------------------------------


def bert_cutter(*, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def count_words(texts: Iterable[str], cut_by: Tokenizer) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        text = cut_by.normalizer.normalize_str(text)
        counts.update(word for word, _ in cut_by.pre_tokenizer.pre_tokenize_str(text))
    return counts


@pytest.mark.parametrize("kind", ["japanese", "russian"])
def test_real_text_whatever_order_hugging_face_begins_with(kind: str) -> None:
    """Cut by a cutter that leaves Markdown's `##` whole, so that words begin with the prefix."""
    cutter = pre_tokenizers.Whitespace()
    text = "".join(read_corpus(kind).held_out)[:30_000] + "\n## a ### b ####\n" * 9
    counts = Counter(word for word, _ in cutter.pre_tokenize_str(text))
    theirs = found_by_hugging_face(counts, 2500)
    first = theirs[: sum(len(string.removeprefix("##")) == 1 for string in theirs)]
    ours = learn_pieces(counts, first, 2500, "##")
    if ours != theirs:
        assert_found(ours, lambda: found_by_hugging_face(counts, 2500, **beginning_with(first)))


@pytest.mark.parametrize("case", ["cased", "uncased"])
def test_the_vocabularies_of_bert_spell_as_in_hugging_face(corpus: Corpus, case: str) -> None:
    lines = (DATA / "tok_bert" / f"bert_base_{case}_vocab.txt").read_text(encoding="utf-8")
    strings = lines.removesuffix("\n").split("\n")
    special = [strings.index(name) for name in ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")]
    model = WordPiece.from_spellings(
        strings,
        units="characters",
        unk_id=special[1],
        max_word_chars=100,
        special_ids=special,
    )
    theirs = of_hugging_face(strings, "##", 100)
    words = count_words(corpus.held_out, bert_cutter(lowercase=case == "uncased"))
    assert len(words) > 1000
    for word in words:
        assert model.encode_word(word.encode()) == [t.id for t in theirs.tokenize(word)]
    assert [model.spelling(i) for i in range(len(strings)) if i not in special] == [
        string for i, string in enumerate(strings) if i not in special
    ]
