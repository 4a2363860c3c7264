from __future__ import annotations

import pytest

from groundup.runtime import TokenizerError
from groundup.tokenizer import PATTERNS, TokenizerConfig, train_tokenizer


@pytest.mark.parametrize("pattern", [*PATTERNS, r" ?\p{L}+| ?[^\s\p{L}]+|\s+"])
@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece"])
def test_both_trainers_give_the_same_tokenizer(small_texts, pattern, algorithm, tmp_path) -> None:
    for trainer in ("fast", "readable"):
        config = TokenizerConfig(
            algorithm=algorithm, vocab_size=540, pattern=pattern, trainer=trainer
        )
        train_tokenizer(small_texts, config).save(tmp_path / trainer)
    for path in (tmp_path / "fast").iterdir():
        assert path.read_bytes() == (tmp_path / "readable" / path.name).read_bytes()


def test_both_trainers_and_both_encoders_agree_on_real_text(real_texts, real_tokenizer) -> None:
    readable = train_tokenizer(real_texts, TokenizerConfig(vocab_size=1024, trainer="readable"))
    assert readable.model == real_tokenizer.model
    text = real_texts[-1][:5_000]
    plain = [i for word in readable.cutter.cut(text) for i in readable.model.encode_word(word)]
    assert real_tokenizer.encode(text) == real_tokenizer.encode_batch([text])[0] == plain
    assert real_tokenizer.decode(plain) == text


def test_training_twice_or_in_another_order_gives_the_same(small_texts) -> None:
    config = TokenizerConfig(vocab_size=420)
    first = train_tokenizer(small_texts, config)
    again = train_tokenizer(iter(small_texts), config)
    backwards = train_tokenizer(small_texts[::-1], config)
    assert first.fingerprint == again.fingerprint == backwards.fingerprint


@pytest.mark.parametrize("trainer", ["fast", "readable"])
def test_a_vocabulary_the_text_cannot_fill_is_refused_with_the_size_it_can(trainer) -> None:
    texts = ["abcd abcd"]  # ab, abc, abcd, and Ġabcd: as many merges as the words have pairs
    with pytest.raises(TokenizerError) as caught:
        train_tokenizer(texts, TokenizerConfig(vocab_size=50_000, trainer=trainer))
    assert str(caught.value) == (
        "tokenizer.vocab_size=50000 is more than the text supports (it yields 263 tokens); "
        "use --set tokenizer.vocab_size=263 or add text"
    )
    assert train_tokenizer(texts, TokenizerConfig(vocab_size=263)).encode(" abcd") == [259]


def test_no_text_at_all_says_to_add_text() -> None:
    with pytest.raises(TokenizerError, match=r"add text"):
        train_tokenizer([], TokenizerConfig())


def test_the_smallest_vocabulary_has_one_merge() -> None:
    assert TokenizerConfig(vocab_size=260).n_pieces == 257
    with pytest.raises(ValueError, match=r"vocab_size=259 must be at least 260 .*try vocab_size"):
        TokenizerConfig(vocab_size=259)


@pytest.mark.parametrize("trainer", ["fast", "readable"])
def test_broken_unicode_can_be_trained_on(trainer) -> None:
    texts = ["a\ud800b a\ud800b"]
    trained = train_tokenizer(texts, TokenizerConfig(vocab_size=261, trainer=trainer))
    assert trained.decode(trained.encode("\ud800")) == "\ufffd"


def test_a_pattern_that_could_not_be_saved_is_refused_before_anything_is_counted() -> None:
    with pytest.raises(ValueError, match=r"cannot be written into tokenizer.json: .*take one of"):
        TokenizerConfig(pattern=r"\w+|\W+")
