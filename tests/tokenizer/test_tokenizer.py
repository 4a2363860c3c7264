from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.runtime import TokenizerError
from groundup.tokenizer import (
    CHAT_FORMATS,
    StreamDecoder,
    Tokenizer,
    TokenizerConfig,
    train_tokenizer,
)
from groundup.tokenizer.bpe import byte_level_bpe, train_bpe
from groundup.tokenizer.normalize import Nfc
from groundup.tokenizer.pretokenize import LibraryCutter, PatternCutter
from groundup.tokenizer.tokenizer import Roles

SPECIAL_TOKENS = CHAT_FORMATS["chatml"].special_tokens

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
    plain = [i for word in tokenizer.cutter.cut(text) for i in tokenizer.model.encode_word(word)]
    assert tokenizer.encode(text) == plain
    assert tokenizer.encode_batch([text, text]) == [plain, plain]


def test_special_tokens_are_the_last_three_ids(tokenizer: Tokenizer) -> None:
    specials = tuple(tokenizer.special_tokens.values())
    assert specials == (397, 398, 399)
    assert tuple(tokenizer.token_bytes(i).decode() for i in specials) == SPECIAL_TOKENS
    assert tokenizer.vocab_size == 400


def test_decoding_leaves_special_tokens_out(tokenizer: Tokenizer) -> None:
    ids = [
        tokenizer.special_id("<|im_start|>"),
        *tokenizer.encode("home"),
        tokenizer.end_of_text_id,
    ]
    assert tokenizer.decode(ids) == "home"
    assert tokenizer.decode_bytes(iter(ids)) == b"home"


def test_half_a_character_decodes_to_the_replacement_character(tokenizer: Tokenizer) -> None:
    bare = Tokenizer.byte_level([])
    assert bare.decode(bare.encode("é")[:1]) == "\ufffd"


def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer) -> None:
    for token_id in (-1, 400):
        with pytest.raises(ValueError, match=rf"token id {token_id} is outside .* of 400; use"):
            tokenizer.decode([token_id])


def test_empty_text_and_broken_unicode(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.encode_batch(["", "a"]) == [[], tokenizer.encode("a")]
    assert tokenizer.decode(tokenizer.encode("x\ud83dy")) == "x\ufffdy"


def test_a_million_spaces_are_encoded() -> None:
    n_spaces = 1_000_000
    spaces = Tokenizer.byte_level(train_bpe({b" " * 64: 1}, 6))
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


# --- offsets --------------------------------------------------------------------------------------


@given(text=NASTY_TEXTS)
@SETTINGS
def test_offsets_cut_the_text_into_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    found = tokenizer.encode_with_offsets(text)
    assert [token_id for token_id, _, _ in found] == tokenizer.encode(text)
    data = text.encode()
    assert [data[a:b] for _, a, b in found] == [tokenizer.token_bytes(i) for i, _, _ in found]
    assert [a for _, a, _ in found] == [0, *(b for _, _, b in found)][: len(found)]


def test_offsets_are_those_of_the_normalised_text() -> None:
    tokenizer = Tokenizer.with_chat_format(
        byte_level_bpe([]), PatternCutter("qwen2"), normalizer=Nfc()
    )
    assert [(a, b) for _, a, b in tokenizer.encode_with_offsets("e\u0301")] == [(0, 1), (1, 2)]
    assert not tokenizer.is_lossless
    assert tokenizer.decode(tokenizer.encode("e\u0301")) == "é"


def test_a_cutter_that_rewrites_words_has_no_offsets() -> None:
    cutter = LibraryCutter('{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}')
    tokenizer = Tokenizer.with_chat_format(byte_level_bpe([]), cutter)
    with pytest.raises(TokenizerError, match="LibraryCutter rewrites words"):
        tokenizer.encode_with_offsets("a b")


# --- special tokens -------------------------------------------------------------------------------


def test_a_tokenizer_without_a_token_for_something_says_so() -> None:
    bare = Tokenizer(byte_level_bpe([]), PatternCutter("gpt2"), special_tokens={}, roles=Roles())
    assert bare.stop_ids == frozenset()
    with pytest.raises(TokenizerError, match="no token for end of text, which training needs"):
        _ = bare.end_of_text_id
    with pytest.raises(TokenizerError, match=r"no special token '<s>', only none at all"):
        bare.special_id("<s>")


def test_tokens_are_written_as_tokenizer_json_has_them(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_string(i) for i in (0, 220, 397)] == ["!", "Ġ", "<|endoftext|>"]
