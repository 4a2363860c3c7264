"""The laboratory: text divided, vocabularies measured, one chosen, a tokenizer described."""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.model import ModelConfig, count_parameters, training_flops_per_token
from groundup.runtime import Silent, TokenizerError, to_dict
from groundup.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer
from groundup.tokenizer.counts import CountedWords, WordCounts, count_words_in
from groundup.tokenizer.laboratory import (
    Comparison,
    Cost,
    HeldOut,
    Measured,
    ModelShape,
    Question,
    Sample,
    Support,
    Tried,
    compare,
    describe,
    longest_tokens,
    measure,
    recommend,
    replay,
    support,
    train_candidates,
    unreachable_ids,
    uses_in_words,
)
from groundup.tokenizer.laboratory.compare import excerpt
from groundup.tokenizer.laboratory.measure import PartMeasured, uses_within, visible
from groundup.tokenizer.laboratory.text import (
    OTHER,
    SCRIPTS,
    SIGNS,
    count_words,
    script_of,
    stretches,
)
from groundup.tokenizer.pretokenize import PatternCutter
from groundup.tokenizer.wordpiece import WordPiece

from .conftest import SMALL_TEXTS

SHAPE = ModelShape("10M", 256, 8, 8_000_000, 6.0 * 9e6, is_tied=True)


def world(seed: int = 0, n_words: int = 6000) -> str:
    """English-like text whose words follow Zipf's law, in lines."""
    draw = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ren", "sta", "tor", "un", "vel", "wor", "ing", "er", "al"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(800)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    chosen = draw.choices(words, weights, k=n_words)
    return "\n".join(" ".join(chosen[i : i + 12]) for i in range(0, n_words, 12)) + "\n"


@pytest.fixture(scope="module")
def counts() -> WordCounts:
    texts = [world(0), *SMALL_TEXTS]
    return count_words_in(texts, PatternCutter("qwen2"))


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return HeldOut.of([Sample("story", world(1, 1500)), Sample("mixed", "\n".join(SMALL_TEXTS))])


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "unigram"])
def trained(request: pytest.FixtureRequest, counts: WordCounts) -> Tokenizer:
    found = train_candidates(
        counts,
        TokenizerConfig(),
        algorithms=[request.param],
        vocab_sizes=[700],
        listener=Silent(),
    )
    return found[0]


class Heard:
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def progress(self, label: str, done: int, total: int, figures: object) -> None:
        assert 0 <= done <= total

    def message(self, text: str) -> None:
        self.messages.append(text)


# --- text -----------------------------------------------------------------------------------------


@given(st.text(alphabet=st.sampled_from("aé Я中あ한ا1.,\n\r\u2028\t"), max_size=80))
def test_the_stretches_of_a_text_joined_are_the_text(text: str) -> None:
    found = list(stretches(text))
    assert "".join(stretch for _, stretch in found) == text
    assert all(a != b for (a, _), (b, _) in zip(found, found[1:], strict=False))


@pytest.mark.parametrize(
    ("text", "writings"),
    [
        ("plain\nwords\n", ["Latin"]),
        ("1 + 1\n", ["no letters"]),
        ("Привет\n\nмир\nhello\n", ["Cyrillic", "Latin"]),
        ("React 的组件是函数\n", ["Chinese"]),
        ("吾輩は猫である。\n名前無\n", ["Japanese"]),
        ("朴素\n한국어 문장\n", ["Chinese", "Korean"]),
        ("नमस्ते दुनिया\n", ["Devanagari"]),
    ],
)
def test_what_a_text_is_written_in(text: str, writings: list[str]) -> None:
    assert [writing for writing, _ in stretches(text)] == writings


def test_a_script_is_the_one_that_unicode_names() -> None:
    spelled = {"Han": "CJK", "Oriya": "ORIYA", "Myanmar": "MYANMAR"}
    n_seen: Counter[str] = Counter()
    for point in range(0x250, 0x11000):
        character = chr(point)
        if unicodedata.category(character) == "Lo":
            script = script_of(character)
            n_seen[script] += 1
            if script not in (SIGNS, OTHER):
                assert spelled.get(script, script.upper()) in unicodedata.name(character)
    cased = {
        "Latin": "ß",
        "Cyrillic": "ж",
        "Greek": "λ",
        "Georgian": "ჱ",
        "Armenian": "ֆ",
        "Cherokee": "Ꭰ",
    }
    assert {script_of(letter): letter for letter in cased.values()} == cased
    assert set(n_seen) | set(cased) >= set(SCRIPTS)


def test_words_are_counted_as_people_count_them() -> None:
    assert count_words("It's 12 o'clock, naïvely.") == 4
    assert count_words("ภาษาไทย") == len("ภาษาไทย")  # where there are no spaces, characters
    assert count_words("नमस्ते दुनिया") == 2
    assert count_words("...\n") == 0


def test_the_parts_of_held_out_text_add_up(held_out: HeldOut) -> None:
    for parts in (held_out.sources, held_out.writings):
        for figure in ("n_bytes", "n_characters", "n_words"):
            total = sum(getattr(part, figure) for part in parts)
            assert total == getattr(held_out.whole, figure)
        assert [p.n_bytes for p in parts] == sorted((p.n_bytes for p in parts), reverse=True)
    assert sum(held_out.characters.values()) == held_out.whole.n_characters
    assert {part.name for part in held_out.sources} == {"story", "mixed"}


# --- measuring ------------------------------------------------------------------------------------


def test_what_is_measured_is_what_encoding_gives(trained: Tokenizer, held_out: HeldOut) -> None:
    measured, uses = measure(trained, held_out)
    ids = [i for passage in held_out.passages for i in trained.encode(passage.text)]
    assert measured.whole.n_tokens == len(ids)
    assert measured.whole.bytes_per_token == held_out.whole.n_bytes / len(ids)
    assert measured.whole.tokens_per_word == len(ids) / held_out.whole.n_words
    assert measured.n_used == len(set(ids))
    assert {i: int(uses[i]) for i in np.flatnonzero(uses)} == Counter(ids)
    for parts in (measured.sources, measured.writings):
        assert sum(part.n_tokens for part in parts) == len(ids)
    chinese = next(part for part in measured.writings if part.name == "Chinese")
    texts = [p.text for p in held_out.passages if p.writing == "Chinese"]
    assert chinese.n_tokens == sum(len(trained.encode(text)) for text in texts)
    assert measured.n_text_tokens == trained.vocab_size - len(trained.special_tokens)


def test_uses_in_counted_words_are_those_of_the_text(
    trained: Tokenizer, counts: WordCounts
) -> None:
    uses = uses_in_words(trained, counts.table)
    found: Counter[int] = Counter()
    for word, count in counts.as_dict().items():
        for token_id in trained.model.encode_word(word):
            found[token_id] += count
    assert {i: int(uses[i]) for i in np.flatnonzero(uses)} == found


def test_support_counts_tokens_that_are_seen_often() -> None:
    tokenizer = Tokenizer.byte_level([(72, 84), (256, 82), (257, 82)])  # i u, iu s, ius s
    pieces = tokenizer.model.pieces
    uses = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    uses[[256, 257]] = 99, 100
    found = support(tokenizer, uses)
    assert (found.n_learnt, found.n_inner, found.n_often, found.share_often) == (3, 1, 1, 0.5)
    assert [(use.id, use.count) for use in found.rarest] == [(258, 0), (256, 99), (257, 100)]
    assert found.rarest[0].text == pieces[258].decode()
    # where the text is the hundredth part of what there will be, 1 occurrence is as good as 100
    assert support(tokenizer, uses, n_often=1).n_often == 2


def test_steps_on_the_way_to_longer_tokens_do_not_count_as_rare() -> None:
    tokenizer = Tokenizer.byte_level([(72, 84), (256, 82), (257, 82)])  # i u, iu s, ius s
    uses = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    uses[[256, 257, 258]] = 3, 60, 40
    assert uses_within(tokenizer, uses)[[256, 257, 258]].tolist() == [103, 100, 40]
    found = support(tokenizer, uses)
    assert (found.n_learnt, found.n_inner, found.n_often, found.share_often) == (3, 2, 0, 0.0)


def test_a_piece_that_begins_a_word_is_not_within_one_that_goes_on() -> None:
    tokenizer = train_tokenizer(
        ["abcab"] * 9, TokenizerConfig(vocab_size=519, algorithm="wordpiece")
    )
    model = tokenizer.model
    assert isinstance(model, WordPiece)
    starts, inside = model.start_ids, model.inside_ids
    long = max(range(len(model.pieces)), key=lambda i: len(model.pieces[i]))
    uses = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    uses[long] = 5
    within = uses_within(tokenizer, uses)
    for table, is_inside in ((starts, False), (inside, True)):
        for piece, token_id in table.items():
            if len(piece) < 2:
                continue
            begins = [i for i in range(5) if model.pieces[long][i:].startswith(piece)]
            allowed = [i for i in begins if (i > 0 or model.continuing[long]) == is_inside]
            assert within[token_id] == (5 if allowed else 0), piece


def test_the_longest_tokens_are_those_of_most_characters() -> None:
    spelled = ["ab", "é", "中", "abc"]
    tokenizer = train_tokenizer(
        [f" {word}" * 50 for word in spelled], TokenizerConfig(vocab_size=267)
    )
    lengths = [len(use.text) for use in longest_tokens(tokenizer) if "⟨" not in use.text]
    assert lengths == sorted(lengths, reverse=True)
    assert longest_tokens(tokenizer)[0].text == " abc"


@given(st.binary(max_size=12))
def test_visible_bytes_are_whole_characters_or_hex(spelled: bytes) -> None:
    shown = visible(spelled)
    plain = spelled.decode(errors="ignore")
    assert shown == plain or "⟨" in shown
    assert all(character in shown for character in plain)


# --- candidates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece"])
def test_a_vocabulary_cut_from_a_larger_one_is_the_one_that_training_gives(algorithm: str) -> None:
    texts = [world(0, 2000), *SMALL_TEXTS]
    counts = count_words_in(texts, PatternCutter("llama3"))
    config = TokenizerConfig(pattern="llama3", chat_format="alpaca", normalization="none")
    sizes = [540, 600, 701]
    found = train_candidates(
        counts, config, algorithms=[algorithm], vocab_sizes=sizes, listener=Silent()
    )
    assert [one.vocab_size for one in found] == sizes
    for one in found:
        alone = replace(config, algorithm=algorithm, vocab_size=one.vocab_size)
        assert one.fingerprint == train_tokenizer(texts, alone).fingerprint


def test_what_the_text_does_not_support_is_left_out_and_said(counts: WordCounts) -> None:
    heard = Heard()
    found = train_candidates(
        counts,
        TokenizerConfig(),
        algorithms=["bpe", "wordpiece"],
        vocab_sizes=[300, 600, 60_000],
        listener=heard,
    )
    assert [(one.algorithm, one.vocab_size) for one in found] == [
        ("bpe", 300), ("bpe", 600), ("wordpiece", 600),
    ]  # fmt: skip
    told = "\n".join(heard.messages)
    assert "bpe of 60,000 tokens is left out: vocab_size=60000 is more than the text" in told
    assert "wordpiece of 300 tokens is left out: vocab_size=300 must be at least 516" in told
    assert "--set" not in told
    with pytest.raises(TokenizerError, match="no vocabulary of 60000 tokens can be learnt"):
        train_candidates(
            counts, TokenizerConfig(), algorithms=["bpe"], vocab_sizes=[60_000], listener=heard
        )


# --- the choice -----------------------------------------------------------------------------------


def tried(
    vocab_size: int,
    bytes_per_token: float,
    *,
    share_often: float | None = 1.0,
    algorithm: str = "bpe",
    name: str = "",
) -> Tried:
    """A vocabulary with the figures that a choice looks at."""
    n_tokens = round(1e6 / bytes_per_token)
    whole = PartMeasured("all", n_tokens, bytes_per_token, 1.5)
    measured = Measured(whole, (), (), vocab_size, vocab_size, 1.0, 0)
    found = None
    if share_often is not None:
        found = Support(1000, 0, round(1000 * share_often), share_often, ())
    cost = Cost.of(SHAPE, vocab_size, bytes_per_token)
    name = name or f"{algorithm} {vocab_size:,}"
    return Tried(name, algorithm, vocab_size, True, measured, cost, found)


KNEE = [tried(1024, 2.5), tried(4096, 3.2), tried(16384, 4.0), tried(65536, 4.4)]


def test_the_choice_is_the_least_arithmetic_for_a_byte() -> None:
    flops = [SHAPE.flops_per_token(one.vocab_size) for one in KNEE]
    per_byte = [f / one.measured.whole.bytes_per_token for f, one in zip(flops, KNEE, strict=True)]
    best = KNEE[per_byte.index(min(per_byte))]
    found = recommend(KNEE, SHAPE)
    assert (found.name, found.vocab_size) == (best.name, best.vocab_size) == ("bpe 4,096", 4096)
    assert found.least == found.name
    assert not found.is_at_edge
    larger, smaller = found.reasons[:2]
    dearer = flops[2] / flops[1] - 1
    assert f"20.0% shorter, and each token {dearer:.1%} dearer" in larger
    assert larger.endswith("more than it saves.")
    assert "With 1,024 the text would be 28.0% longer" in smaller


def test_a_larger_model_bears_a_larger_vocabulary() -> None:
    large = replace(SHAPE, name="7B", d_model=4096, n_body=6_500_000_000, body_flops=6 * 6.5e9)
    again = [
        replace(one, cost=Cost.of(large, one.vocab_size, one.measured.whole.bytes_per_token))
        for one in KNEE
    ]
    assert recommend(again, large).vocab_size == 65536


def test_a_vocabulary_that_the_text_is_too_small_for_is_not_chosen() -> None:
    small = [tried(1024, 2.5, share_often=0.99), tried(2048, 3.0, share_often=0.94)]
    found = recommend(small, SHAPE)
    assert found.vocab_size == 1024
    assert "that would pay, but the text is too small for it" in found.reasons[0]
    assert "Only 94% of its tokens would occur 100 times" in found.reasons[0]
    none = [tried(1024, 2.5, share_often=0.7), tried(512, 2.0, share_often=0.8)]
    found = recommend(none, SHAPE)
    assert found.vocab_size == 512
    assert found.is_at_edge
    assert any("The text is small even for this one: 80%" in reason for reason in found.reasons)


def test_a_shorter_text_by_rarer_tokens_is_no_equal() -> None:
    tokens = [
        tried(1024, 2.63, share_often=1.0),
        tried(1024, 2.70, algorithm="unigram", share_often=0.66),
    ]
    told = " ".join(recommend(tokens, SHAPE).reasons)
    assert "of Unigram's only 66% would occur 100 times" in told
    assert "among equals" not in told


def test_among_equals_bpe_is_taken_and_then_the_smallest() -> None:
    alike = [
        tried(4096, 3.2),
        tried(4096, 3.22, algorithm="unigram"),
        tried(4096, 3.1, algorithm="wordpiece"),
    ]
    found = recommend(alike, SHAPE)
    assert (found.name, found.least) == ("bpe 4,096", "unigram 4,096")
    told = " ".join(found.reasons)
    assert "WordPiece needs 3.2% more tokens" in told
    assert "BPE is taken among equals" in told
    better = [tried(4096, 3.2), tried(4096, 3.4, algorithm="unigram")]
    assert recommend(better, SHAPE).algorithm == "unigram"
    flat = [tried(4096, 3.2), tried(8192, 3.2 * (1 + 6 * 4096 * 256 / 6 / 10.1e6))]
    assert recommend(flat, SHAPE).vocab_size == 4096


def test_a_reference_is_never_chosen_but_told_of() -> None:
    dear = tried(50_257, 3.0, share_often=None, name="gpt2")
    assert "gpt2 +" in recommend([*KNEE, dear], SHAPE).reasons[-1]
    cheap = tried(4096, 6.0, share_often=None, name="ready")
    found = recommend([*KNEE, cheap], SHAPE)
    assert found.name == "bpe 4,096"
    assert "take ready, which is there already" in found.reasons[-1]


def test_costs_are_those_of_the_model() -> None:
    small, large = (
        ModelConfig(vocab_size=size, d_model=256, n_layers=8, n_heads=4, tied_embeddings=False)
        for size in (1000, 9000)
    )
    counted = count_parameters(large)
    shape = ModelShape(
        "x", 256, 8, counted.total - counted.embedding - counted.head,
        training_flops_per_token(small, 64) - 6 * 1000 * 256, is_tied=False,
    )  # fmt: skip
    assert shape.embedding_parameters(9000) == counted.embedding + counted.head
    assert shape.flops_per_token(9000) == training_flops_per_token(large, 64)
    cost = Cost.of(shape, 9000, 4.0)
    assert cost.embedding_share == (counted.embedding + counted.head) / counted.total
    assert cost.flops_per_byte == training_flops_per_token(large, 64) / 4


def test_tao_et_al_found_about_forty_thousand_for_three_billion() -> None:
    shape = ModelShape("3B", 3200, 26, 2_870_000_000, 1.0, is_tied=False)
    assert 39_000 < shape.tao_vocab_size < 43_500  # their three approaches: 39, 43 and 37 thousand


# --- the comparison -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison(counts: WordCounts, held_out: HeldOut) -> Comparison:
    question = Question(["bpe", "wordpiece"], [600, 900], SHAPE, TokenizerConfig())
    reference = Tokenizer.byte_level([])
    return compare(counts, held_out, question, references={"bytes": reference}, listener=Silent())


def test_a_comparison_has_every_vocabulary_and_chooses_one(comparison: Comparison) -> None:
    names = ["bpe 600", "bpe 900", "wordpiece 600", "wordpiece 900", "bytes"]
    assert [one.name for one in comparison.tried] == names
    by_bytes = comparison.tried[-1]
    assert by_bytes.support is None
    assert by_bytes.measured.whole.bytes_per_token == 1
    assert comparison.recommended.name in names[:4]
    larger, smaller = comparison.tried[1], comparison.tried[0]
    assert larger.measured.whole.n_tokens < smaller.measured.whole.n_tokens
    assert json.loads(json.dumps(to_dict(comparison)))["recommendation"]["name"] in names


def test_examples_are_cut_by_each_vocabulary(comparison: Comparison) -> None:
    assert comparison.examples
    for example in comparison.examples:
        whole = example.cuts["bytes"]
        assert comparison.recommendation.name in example.cuts
        for tokens in example.cuts.values():
            assert len(tokens) <= len(whole)
        if example.writing == "Latin":
            assert len(set(map("".join, example.cuts.values()))) == 1


@given(st.text(max_size=900))
def test_an_excerpt_is_a_part_of_a_line_and_short(text: str) -> None:
    found = excerpt(text)
    assert found in text
    assert len(found.encode(errors="replace")) <= 300


def test_a_sample_of_more_text_bears_more(counts: WordCounts, held_out: HeldOut) -> None:
    def shares(corpus_bytes: float | None) -> list[float]:
        question = Question(["bpe"], [600, 900], SHAPE, TokenizerConfig(), corpus_bytes)
        found = compare(counts, held_out, question, references={}, listener=Silent())
        return [one.support.share_often for one in found.tried if one.support]

    alone, in_more = shares(None), shares(1e9)
    assert alone[1] < 0.9 < in_more[1] == 1.0
    assert alone == shares(10.0)  # less text than there is counts as what there is


# --- what a tokenizer is --------------------------------------------------------------------------


def test_a_description_says_what_was_trained() -> None:
    config = TokenizerConfig(
        vocab_size=300, pattern="gpt2", normalization="nfkc", chat_format="llama3"
    )
    found = describe(train_tokenizer(SMALL_TEXTS, config))
    assert (found.algorithm, found.vocab_size, found.units) == ("bpe", 300, "bytes")
    assert found.cutter == "gpt2's pattern"
    assert (found.normalization, found.chat_format) == ("Nfkc", "llama3")
    assert "superscripts" in found.loses
    assert not found.is_lossless
    assert found.roles["end_of_text"] in found.special_tokens
    assert sum(found.scripts.values()) == found.n_text_tokens
    assert found.n_unreachable == 0


def test_no_text_gives_a_token_that_is_called_unreachable(trained: Tokenizer) -> None:
    unreachable = set(unreachable_ids(trained))
    given_ids = {i for text in [*SMALL_TEXTS, world(2)] for i in trained.encode(text)}
    assert not given_ids & unreachable
    for token_id, piece in enumerate(trained.model.pieces):
        if piece and token_id not in unreachable and trained.algorithm != "wordpiece":
            assert trained.model.encode_word(piece) == [token_id]


def test_tokens_that_the_cutter_parts_are_unreachable() -> None:
    spelled = [{"a": 64, " ": 220, "1": 16, "2": 17}[c] for c in "a a12"]
    merges = [(spelled[0], spelled[1]), (spelled[3], spelled[4])]  # "a " and "12"
    assert unreachable_ids(Tokenizer.byte_level(merges, "qwen2")) == [256, 257]
    assert unreachable_ids(Tokenizer.byte_level(merges, "llama3")) == [256]


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=20))
def test_a_replay_ends_in_the_ids_of_the_word(trained: Tokenizer, text: str) -> None:
    for word in trained.cutter.cut(text.encode(errors="replace").decode()):
        steps = replay(trained, word)
        assert list(steps[-1].ids) == trained.model.encode_word(word)
        for step in steps:
            spelled = b"".join(trained.model.pieces[i] for i in step.ids)
            assert spelled + step.rest == word


def test_a_word_that_is_a_token_needs_no_merges() -> None:
    tokenizer = Tokenizer.byte_level([(75, 78), (256, 86)])
    whole = replace(tokenizer.model, whole_words=True)  # type: ignore[type-var]
    again = Tokenizer(whole, tokenizer.cutter, special_tokens={}, roles=tokenizer.roles)
    told = [step.told for step in replay(again, b"low")]
    assert told == ["begins as 3 bytes", "is a token as a whole"]
    assert [step.told for step in replay(tokenizer, b"low")][1:] == [
        "merge 1: l + o",
        "merge 2: lo + w",
    ]


def test_counted_words_of_no_table_give_no_uses(trained: Tokenizer) -> None:
    assert not uses_in_words(trained, CountedWords.of([], [])).any()
