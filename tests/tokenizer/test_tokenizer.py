from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.tokenizer import (
    SPECIAL_TOKENS,
    StreamDecoder,
    Tokenizer,
    TokenizerConfig,
    split_text,
    train_bpe,
    train_tokenizer,
)
from groundup.tokenizer.bpe import encode_word, rank_merges

SPELLINGS = st.one_of(st.text(), st.sampled_from(SPECIAL_TOKENS), st.sampled_from(["<|", "|>"]))
NASTY_TEXTS = st.lists(SPELLINGS, max_size=6).map("".join)
SETTINGS = settings(deadline=None)


@given(text=NASTY_TEXTS)
@SETTINGS
def test_round_trip(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=NASTY_TEXTS)
@SETTINGS
def test_special_tokens_cannot_be_spelled(tokenizer: Tokenizer, text: str) -> None:
    assert not any(tokenizer.is_special(token_id) for token_id in tokenizer.encode(text))


@given(text=st.text("ab \n'sA1é天🙂", max_size=60))
@SETTINGS
def test_encoding_is_that_of_the_readable_encoder(tokenizer: Tokenizer, text: str) -> None:
    ranks = rank_merges(tokenizer.merges)
    plain = [i for word in split_text(text, tokenizer.pattern) for i in encode_word(word, ranks)]
    assert tokenizer.encode(text) == plain


def test_special_tokens_are_the_last_three_ids(tokenizer: Tokenizer) -> None:
    specials = (tokenizer.end_of_text_id, tokenizer.im_start_id, tokenizer.im_end_id)
    assert specials == (397, 398, 399)
    assert tuple(tokenizer.token_bytes(i).decode() for i in specials) == SPECIAL_TOKENS
    assert tokenizer.vocab_size == 400


def test_decoding_leaves_special_tokens_out(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.im_start_id, *tokenizer.encode("home"), tokenizer.end_of_text_id]
    assert tokenizer.decode(ids) == "home"
    assert tokenizer.decode_bytes(iter(ids)) == b"home"


def test_half_a_character_decodes_to_the_replacement_character(tokenizer: Tokenizer) -> None:
    bare = Tokenizer([], "qwen2")
    assert bare.decode(bare.encode("é")[:1]) == "\ufffd"


def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer) -> None:
    for token_id in (-1, 400):
        with pytest.raises(ValueError, match=rf"token id {token_id} is outside .* of 400; use"):
            tokenizer.decode([token_id])


def test_empty_text_and_broken_unicode(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.encode_batch(["", "a"]) == [[], tokenizer.encode("a")]
    assert tokenizer.decode(tokenizer.encode("x\ud83dy")) == "x\ufffdy"


def test_a_million_spaces_are_encoded() -> None:  # where tiktoken alone panics
    n_spaces = 1_000_000
    spaces = Tokenizer(train_bpe({" " * 64: 1}, 6), "qwen2")
    [longest] = spaces.encode(" " * 64)
    ids = spaces.encode(" " * n_spaces + "x")
    n_longest, rest = divmod(n_spaces - 1, 64)  # the last space goes with the x
    assert ids == [longest] * n_longest + spaces.encode(" " * rest) + spaces.encode(" x")


@given(data=st.data())
@SETTINGS
def test_a_stream_never_gives_half_a_character(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    stream = StreamDecoder(tokenizer)
    assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids)


@given(text=st.text())
@SETTINGS
def test_a_stream_of_text_needs_no_replacement(tokenizer: Tokenizer, text: str) -> None:
    stream = StreamDecoder(tokenizer)
    parts = [stream.push(token_id) for token_id in tokenizer.encode(text)]
    assert "".join(parts) == text
    assert all(part in text for part in parts)
    assert stream.flush() == ""


def test_the_fingerprint_tells_tokenizers_apart(small_texts: list[str]) -> None:
    trained = [
        train_tokenizer(small_texts, TokenizerConfig(vocab_size=300)),
        train_tokenizer(small_texts, TokenizerConfig(vocab_size=301)),
        train_tokenizer(small_texts, TokenizerConfig(vocab_size=300, pattern="llama3")),
        train_tokenizer(small_texts[1:], TokenizerConfig(vocab_size=300)),
    ]
    assert len({tokenizer.fingerprint for tokenizer in trained}) == len(trained)


def test_a_worker_process_gets_an_equal_tokenizer(tokenizer: Tokenizer) -> None:
    # what multiprocessing sends to a spawned process
    copy = ForkingPickler.loads(ForkingPickler.dumps(tokenizer))
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.encode("home") == tokenizer.encode("home")
