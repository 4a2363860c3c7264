"""The compiled path gives what the readable one gives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import Bpe, byte_level_bpe, train_bpe
from groundup.tokenizer.compiled import CompiledEncoder
from groundup.tokenizer.compiled.bpe import train_bpe_compiled
from groundup.tokenizer.compiled.count import count_compiled
from groundup.tokenizer.compiled.scan import SCANNED, scan_texts
from groundup.tokenizer.compiled.unigram import train_unigram_compiled
from groundup.tokenizer.compiled.word_table import WordTable
from groundup.tokenizer.compiled.wordpiece import train_wordpiece_compiled
from groundup.tokenizer.counts import CountedWords, count_plainly
from groundup.tokenizer.normalize import Nfkc
from groundup.tokenizer.pretokenize import PatternCutter, WholeText, well_formed
from groundup.tokenizer.unigram import Unigram, train_unigram
from groundup.tokenizer.wordpiece import WordPiece, train_wordpiece

SETTINGS = settings(deadline=None, max_examples=200)
# what the patterns tell apart, and what lies near their borders
SCRAPS = [
    "'s", "'S", "'ſ", "'ll", "'LL", "'re", "'vE", "'m", "'d", "'", "ſ", " ", "  ", "\n", "\r", "\t",
    "\u00a0", "\u3000", "\u0085", "a", "B", "É", "日", "ǅ", "ʰ", "\u0301", "1", "²", "½", "٣", "!",
    "/", "\U0001f642", "\u0558", "\U0001f1e6", "x", "Zz", "中文", "\u200d", "\x00", "\U0010ffff",
]  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(SCRAPS), max_size=14).map("".join), st.text(max_size=30))
WORDS = st.dictionaries(
    st.binary(min_size=1, max_size=14) | st.text("ab#", min_size=1, max_size=9).map(str.encode),
    st.integers(1, 9),
    min_size=1,
    max_size=12,
)


def table_of(counts: dict[bytes, int]) -> CountedWords:
    return CountedWords.of(counts, counts.values())


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", SCANNED)
@given(texts=st.lists(TEXTS, max_size=3))
@SETTINGS
def test_words_are_found_where_the_pattern_finds_them(pattern: str, texts: list[str]) -> None:
    text, ends, n_words = scan_texts(texts, pattern)
    places = [0, *ends.tolist()]
    found = [text[a:b].tobytes() for a, b in zip(places, places[1:], strict=False)]
    cut = [PatternCutter(pattern).cut(well_formed(one)) for one in texts]
    assert found == [word for words in cut for word in words]
    assert n_words.tolist() == np.cumsum([len(words) for words in cut]).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("pattern", SCANNED)
def test_every_character_is_of_the_class_that_the_pattern_gives_it(pattern: str) -> None:
    cutter = PatternCutter(pattern)
    codes = [*range(0x3400), *range(0x3400, 0x110000, 11)]
    for start in range(0, len(codes), 2000):
        known = [chr(c) for c in codes[start : start + 2000] if not 0xD800 <= c < 0xE000]
        text = "|".join(f"a{c}a 1{c}1 !{c}! {c}\n{c} '{c}A" for c in known)
        found, ends, _ = scan_texts([text], pattern)
        places = [0, *ends.tolist()]
        words = [found[a:b].tobytes() for a, b in zip(places, places[1:], strict=False)]
        assert words == cutter.cut(text)


@given(words=st.lists(st.binary(min_size=1, max_size=40), max_size=60))
@SETTINGS
def test_a_table_tells_all_words_apart(words: list[bytes]) -> None:
    words = words + words[::2]
    table = WordTable(capacity=2)  # which has to grow
    text = np.frombuffer(b"".join(words) + bytes(16), dtype=np.uint8)
    ends = np.cumsum([len(word) for word in words], dtype=np.int64)
    numbers = table.intern(text, 0, ends)
    found = table.words()
    assert [found[number] for number in numbers] == words
    assert len(set(found)) == len(found) == table.n_words


def test_long_words_with_one_hash_are_still_two() -> None:
    table = WordTable()
    words = [b"a" * 40, b"a" * 39 + b"b", b"a" * 41]
    text = np.frombuffer(b"".join(words) + bytes(16), dtype=np.uint8)
    numbers = table.intern(text, 0, np.cumsum([40, 40, 41]))
    assert numbers.tolist() == [0, 1, 2]
    # the same keys for another word, as if its hash were the same
    table._keys[2] = table._keys[1]
    assert table.words() == words


@given(texts=st.lists(TEXTS, max_size=5), cap=st.none() | st.integers(1, 4))
@SETTINGS
def test_counts_are_those_of_the_plain_loop(texts: list[str], cap: int | None) -> None:
    texts = [well_formed(text) for text in texts]
    ours, n_ours = count_compiled(texts, PatternCutter("qwen2"), cap)
    plain, n_plain = count_plainly(texts, PatternCutter("qwen2"), cap)
    assert n_ours == n_plain
    found = dict(zip(ours.words(), ours.counts.tolist(), strict=True))
    assert {word: n for word, n in found.items() if n} == dict(
        zip(plain.words(), plain.counts.tolist(), strict=True)
    )


# --- training -------------------------------------------------------------------------------------


@given(counts=WORDS)
@SETTINGS
def test_byte_pairs_are_learnt_alike(counts: dict[bytes, int]) -> None:
    assert train_bpe_compiled(table_of(counts), 40) == train_bpe(counts, 40)


def test_byte_pairs_are_learnt_alike_where_all_arrays_have_to_grow() -> None:
    chooser = np.random.default_rng(0)
    counts: Counter[bytes] = Counter()
    for _ in range(12_000):
        counts[chooser.integers(0, 256, chooser.integers(2, 9), dtype=np.uint8).tobytes()] += 1
    merges = train_bpe_compiled(table_of(counts), 3000)
    assert merges == train_bpe(counts, 3000)
    assert len(merges) == 3000


@given(counts=WORDS)
@SETTINGS
def test_word_pieces_are_learnt_alike(counts: dict[bytes, int]) -> None:
    assert train_wordpiece_compiled(table_of(counts), 540) == train_wordpiece(counts, 540)


@given(counts=WORDS)
@settings(deadline=None, max_examples=60)
def test_unigrams_are_learnt_alike(counts: dict[bytes, int]) -> None:
    ours, plain = train_unigram_compiled(table_of(counts), 270), train_unigram(counts, 270)
    assert set(ours.pieces) == set(plain.pieces)
    scores = dict(zip(plain.pieces, plain.scores, strict=True))
    assert ours.scores == pytest.approx([scores[piece] for piece in ours.pieces], rel=1e-9)


# --- encoding -------------------------------------------------------------------------------------


@given(counts=WORDS, words=st.lists(st.binary(max_size=300), max_size=5), n=st.integers(0, 40))
@SETTINGS
def test_byte_pairs_are_spelled_alike(counts: dict[bytes, int], words: list[bytes], n: int) -> None:
    model = byte_level_bpe(train_bpe(counts, n))
    words = [word for word in (*words, *counts, b"".join(counts) * 5) if word]
    assert spelled(model, words) == [model.encode_word(word) for word in words]


def spelled(model: Bpe | WordPiece | Unigram, words: list[bytes]) -> list[list[int]]:
    encoder = CompiledEncoder(model, WholeText(), None)
    return [ids.tolist() for ids in encoder.encode_words(words)]


@given(
    word=st.text("abéxy", min_size=1, max_size=150),
    fuse=st.booleans(),
    whole=st.booleans(),
    fallback=st.booleans(),
    ending=st.sampled_from([b"", b"$"]),
)
@SETTINGS
def test_pairs_of_characters_are_spelled_alike(
    word: str, fuse: bool, whole: bool, fallback: bool, ending: bytes
) -> None:
    pieces = (*(b"" for _ in range(257)), b"a", b"b", "é".encode(), b"a$", b"ab", b"ba", b"aba$")
    model = Bpe(
        pieces,
        ((257, 258, 261), (258, 257, 262), (261, 260, 263)),
        units="characters",
        byte_ids=tuple(range(256)) if fallback else None,
        unk_id=256,
        fuse_unk=fuse,
        whole_words=whole,
        end_of_word=ending,
    )
    words = [word.encode(), b"ba", b"ab"]
    assert spelled(model, words) == [model.encode_word(one) for one in words]


@given(counts=WORDS, words=st.lists(st.binary(min_size=1, max_size=40), max_size=5))
@SETTINGS
def test_word_pieces_are_spelled_alike(counts: dict[bytes, int], words: list[bytes]) -> None:
    model = train_wordpiece(counts, 530)
    words = [*words, *counts]
    assert spelled(model, words) == [model.encode_word(word) for word in words]


@given(words=st.lists(st.text("abcé#", min_size=1, max_size=12).map(str.encode), max_size=5))
@SETTINGS
def test_unknown_words_are_unknown_alike(words: list[bytes]) -> None:
    strings = ["[UNK]", "a", "ab", "##b", "##bc", "##é", "#", "##c"]
    model = WordPiece.from_spellings(strings, units="characters", unk_id=0, max_word_chars=9)
    assert spelled(model, words) == [model.encode_word(word) for word in words]


@given(
    scores=st.lists(st.integers(-6, -1), min_size=8, max_size=8),
    words=st.lists(st.text("abéxy", min_size=1, max_size=30).map(str.encode), max_size=5),
    fuse=st.booleans(),
    fallback=st.booleans(),
)
@SETTINGS
def test_unigrams_are_spelled_alike(
    scores: list[int], words: list[bytes], fuse: bool, fallback: bool
) -> None:
    pieces = [b"a", b"b", b"ab", b"ba", b"aab", "é".encode(), "éa".encode(), b"xyx"]
    model = Unigram(
        (*(b"" for _ in range(257)), *pieces),
        (*(-9.0 for _ in range(257)), *map(float, scores)),
        unk_id=256,
        byte_ids=tuple(range(256)) if fallback else None,
        fuse_unk=fuse,
    )
    assert spelled(model, words) == [model.encode_word(word) for word in words]


def test_what_cannot_be_spelled_is_said_by_both() -> None:
    for model in (
        Bpe((b"a",), (), units="characters"),
        WordPiece.from_spellings(["a"], units="characters"),
        Unigram((b"a",), (-1.0,), unk_id=None),
    ):
        with pytest.raises(TokenizerError, match=r"no unknown token|no token for unknown"):
            spelled(model, [b"ax"])
        with pytest.raises(TokenizerError, match=r"no unknown token|no token for unknown"):
            model.encode_word(b"ax")


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("pattern", ["qwen2", r"\w+"])
def test_batches_come_back_in_order(
    pattern: str, n_threads: int, small_texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundup.tokenizer.compiled._CHUNK_BYTES", 100)  # many chunks
    cutter = PatternCutter(pattern)
    model = byte_level_bpe([(71, 72), (220, 64)])
    texts = ["", *small_texts, "x\ud800", *small_texts * 20, ""]
    found = CompiledEncoder(model, cutter, Nfkc()).encode_batch(texts, n_threads)
    assert len(found) == len(texts)
    for text, ids in zip(texts, found, strict=True):
        words = cutter.cut(Nfkc()(well_formed(text)))
        assert ids.tolist() == [i for word in words for i in model.encode_word(word)]
    assert CompiledEncoder(model, cutter, None).encode_batch([], n_threads) == []


def test_a_full_table_of_words_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundup.tokenizer.compiled._KEPT_WORDS", 3)
    encoder = CompiledEncoder(byte_level_bpe([]), PatternCutter("qwen2"), None)
    for text in ("a b c d e", "a b", "f g h i"):
        [ids] = encoder.encode_batch([text], 1)
        assert len(ids) == len(text)
