from __future__ import annotations

import pytest

from groundup.runtime import TokenizerError
from groundup.tokenizer import PATTERNS, TokenizerConfig, split_text, train_tokenizer
from groundup.tokenizer.bpe import encode_word, rank_merges


@pytest.mark.parametrize("pattern", PATTERNS)
def test_both_trainers_give_the_same_tokenizer(small_texts, pattern, tmp_path) -> None:
    for trainer in ("fast", "readable"):
        config = TokenizerConfig(vocab_size=420, pattern=pattern, trainer=trainer)
        train_tokenizer(small_texts, config).save(tmp_path / trainer)
    for path in (tmp_path / "fast").iterdir():
        assert path.read_bytes() == (tmp_path / "readable" / path.name).read_bytes()


def test_both_trainers_and_both_encoders_agree_on_real_text(real_texts, real_tokenizer) -> None:
    readable = train_tokenizer(real_texts, TokenizerConfig(vocab_size=2048, trainer="readable"))
    assert readable.merges == real_tokenizer.merges
    text = real_texts[-1][:20_000]
    ranks = rank_merges(readable.merges)
    plain = [i for word in split_text(text, "qwen2") for i in encode_word(word, ranks)]
    assert real_tokenizer.encode(text) == plain
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
    with pytest.raises(TokenizerError, match=r"yields 259 tokens.*add text"):
        train_tokenizer([], TokenizerConfig())


def test_the_smallest_vocabulary_has_one_merge() -> None:
    assert TokenizerConfig(vocab_size=260).n_merges == 1
    with pytest.raises(ValueError, match=r"vocab_size=259 must be at least 260 .*try vocab_size"):
        TokenizerConfig(vocab_size=259)


@pytest.mark.parametrize("trainer", ["fast", "readable"])
def test_broken_unicode_can_be_trained_on(trainer) -> None:
    texts = ["a\ud800b a\ud800b"]
    trained = train_tokenizer(texts, TokenizerConfig(vocab_size=261, trainer=trainer))
    assert trained.decode(trained.encode("\ud800")) == "\ufffd"
