"""Random Unicode through every byte-level tokenizer that can be made or read here, and back.

Strings are drawn from all planes: unassigned code points, combining marks, controls, runs of white
space, emoji sequences, the characters at which UTF-8 grows longer, pieces of special tokens' names;
most are short, some long. What is no Unicode, lone surrogates and halves of characters, has tests
of its own below.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.tokenizer import StreamDecoder, Tokenizer, TokenizerConfig, train_tokenizer
from groundup.tokenizer.pretokenize import well_formed

from .conftest import DATA, SMALL_TEXTS

SETTINGS = settings(deadline=None)
N_STRINGS = 20_000
BATCH_SIZE = 2_000
N_SLOW_STRINGS = 1_000_000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

ALGORITHMS = {"bpe": 400, "wordpiece": 620, "unigram": 370}
# every published pattern, and one of one's own, which no compiled scanner knows
PATTERNS = {
    "gpt2": "bpe",
    "llama3": "wordpiece",
    "cl100k": "bpe",
    "o200k": "unigram",
    r"[\p{L}\p{N}_]+|\s": "bpe",
}
READ = {
    "GPT-2": "tok_gpt2",
    "r50k": "tok_tiktoken/r50k_base.tiktoken",
    "cl100k": "tok_tiktoken/cl100k_base.tiktoken",
    "o200k": "tok_tiktoken/o200k_base.tiktoken",
}
NOT_BYTE_LEVEL = {
    "BERT": "tok_bert/bert_base_uncased_vocab.txt",
    "CLIP": "tok_bert/clip_encoder.json",
    "T5": "tok_bert/t5_tokenizer_base.model",
    "Mistral": "tok_mistral/tokenizer.model.v1",
}
MADE = [*ALGORITHMS, *(f"{algorithm} {pattern}" for pattern, algorithm in PATTERNS.items())]


@cache
def tokenizer_called(name: str) -> Tokenizer:
    """A tokenizer of ours, or one that was read; the test is skipped where it is not there."""
    if name in READ | NOT_BYTE_LEVEL:
        path = DATA / (READ | NOT_BYTE_LEVEL)[name]
        if not path.exists():
            pytest.skip(f"no reference tokenizer at {path}")
        return Tokenizer.load(path)
    algorithm, _, pattern = name.partition(" ")
    config = TokenizerConfig(
        algorithm=algorithm,  # type: ignore[arg-type]
        vocab_size=ALGORITHMS[algorithm],
        pattern=pattern or "qwen2",
    )
    return train_tokenizer(SMALL_TEXTS, config)


# --- random strings -------------------------------------------------------------------------------


@cache
def kinds_of_characters() -> list[np.ndarray]:
    """Code points by what they are; a kind is drawn first, so that rare ones are frequent."""
    places = [place for place in range(sys.maxunicode + 1) if not 0xD800 <= place < 0xE000]
    by_category: dict[str, list[int]] = {}
    for place in places:
        by_category.setdefault(unicodedata.category(chr(place)), []).append(place)
    grows = [0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF]
    spoken = "".join(SMALL_TEXTS) + "<|endoftext|><|im_start|><|im_end|>"
    emoji = "\U0001f469\U0001f3fd\u200d\u2764\ufe0f\U0001f1e9\U0001f1ea\U0001f9d1\U000e0041"
    space = [place for place in places if chr(place).isspace()]
    chosen = [places, range(128), map(ord, spoken), map(ord, emoji), grows, space, b" \n\r\t"]
    return [np.fromiter(kind, dtype=np.uint32) for kind in (*chosen, *by_category.values())]


def random_strings(seed: int) -> Iterator[list[str]]:
    """Batches of strings without end; each string mixes up to four kinds, and repeats some."""
    generator = np.random.default_rng(seed)
    kinds = kinds_of_characters()
    sizes = np.array([len(kind) for kind in kinds])
    starts = np.cumsum(sizes) - sizes
    characters = np.concatenate(kinds)
    while True:
        lengths = generator.choice([0, 1, 1, 2, 2, 3, 4, 5, 8, 12, 24], size=BATCH_SIZE)
        lengths[generator.integers(BATCH_SIZE)] = 4000
        owners = np.repeat(np.arange(BATCH_SIZE), lengths)
        palettes = generator.integers(len(kinds), size=(BATCH_SIZE, 4))
        drawn = palettes[owners, generator.integers(4, size=len(owners))]
        points = characters[starts[drawn] + generator.integers(sizes[drawn])]
        is_run = generator.random(len(points)) < 0.03
        repeats = np.where(is_run, generator.integers(2, 40, size=len(points)), 1)
        text = np.repeat(points, repeats).astype("<u4").tobytes().decode("utf-32-le")
        grown = np.bincount(owners, weights=repeats, minlength=BATCH_SIZE)
        ends = np.cumsum(grown).astype(int).tolist()
        yield [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def check_round_trip(tokenizer: Tokenizer, n_strings: int, seed: int) -> None:
    """Each of so many strings comes back from the compiled path, and holds no special id."""
    special = [*tokenizer.special_tokens.values()]
    n_done = 0
    for texts in random_strings(seed):
        arrays = tokenizer.encode_arrays(texts, n_threads=1)
        assert not np.isin(np.concatenate(arrays), special).any()
        for text, array in zip(texts, arrays, strict=True):
            assert tokenizer.decode(array.tolist()) == text
        n_done += len(texts)
        if n_done >= n_strings:
            return


def test_the_random_strings_are_what_they_should_be() -> None:
    texts = [text for batch in islice(random_strings(1), 20) for text in batch]
    text = "".join(texts)
    assert min(map(len, texts)) == 0
    assert max(map(len, texts)) > 4000
    assert {ord(character) >> 16 for character in text} == {*range(17)}
    categories = {unicodedata.category(chr(place)) for place in range(sys.maxunicode + 1)}
    assert {unicodedata.category(character) for character in text} == categories - {"Cs"}
    assert any(run in text for run in (" " * 10, "\n" * 10, "\u0301" * 10))
    assert text.encode().decode() == text


@pytest.mark.parametrize("name", [*MADE, *READ])
def test_random_strings_come_back(name: str) -> None:
    tokenizer = tokenizer_called(name)
    assert tokenizer.is_lossless
    check_round_trip(tokenizer, N_STRINGS, seed=len(name))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_million_random_strings_come_back(name: str) -> None:
    check_round_trip(tokenizer_called(name), N_SLOW_STRINGS, seed=7)


@pytest.mark.parametrize("name", [*MADE, *READ])
def test_the_ways_to_encode_and_decode_agree_on_random_strings(name: str) -> None:
    tokenizer = tokenizer_called(name)
    texts = next(random_strings(3))[:200]
    batch = tokenizer.encode_batch(texts)
    assert [array.tolist() for array in tokenizer.encode_arrays(texts, n_threads=2)] == batch
    for text, ids in zip(texts, batch, strict=True):
        assert tokenizer.encode(text) == ids  # the readable path
        data = text.encode()
        assert tokenizer.decode_bytes(ids) == data
        found = tokenizer.encode_with_offsets(text)
        assert [token_id for token_id, _, _ in found] == ids
        assert b"".join(data[a:b] for _, a, b in found) == data
        assert all(data[a:b] == tokenizer.token_bytes(token_id) for token_id, a, b in found)


@pytest.mark.parametrize("name", [*NOT_BYTE_LEVEL])
def test_others_read_random_strings_alike_on_both_paths(name: str) -> None:
    tokenizer = tokenizer_called(name)
    assert not tokenizer.is_lossless
    texts = next(random_strings(4))[:200]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


# --- special tokens -------------------------------------------------------------------------------

SPELLED = st.sampled_from([0, 1, 2, 3, 4, "<|", "|>", "<", ">", "[", " ", "▁", "</s", "endoftext"])


ANOTHERS = ["GPT-2", pytest.param("cl100k", marks=pytest.mark.exhaustive), *NOT_BYTE_LEVEL]


@pytest.fixture(scope="module", params=ANOTHERS)
def read_and_saved(request, tmp_path_factory) -> tuple[Tokenizer, Tokenizer]:
    """Another's tokenizer, and what is read again when groundup has saved it."""
    tokenizer, folder = tokenizer_called(request.param), tmp_path_factory.mktemp("saved")
    tokenizer.save(folder)
    return tokenizer, Tokenizer.load(folder)


@given(parts=st.lists(st.one_of(SPELLED, st.text(max_size=4)), max_size=8))
@SETTINGS
def test_no_text_gives_anothers_special_token(read_and_saved, parts: list[int | str]) -> None:
    tokenizer, saved = read_and_saved
    names = list(tokenizer.special_tokens)
    text = "".join(names[part % len(names)] if isinstance(part, int) else part for part in parts)
    ids = tokenizer.encode(text)
    assert not any(tokenizer.is_special(i) for i in ids if i != tokenizer.model.unk_id)
    assert tokenizer.encode_batch([text])[0] == saved.encode(text) == ids


# --- what is no Unicode ---------------------------------------------------------------------------

BROKEN_TEXTS = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=12)


@given(text=BROKEN_TEXTS)
@SETTINGS
def test_a_surrogate_pair_is_its_character_and_a_lone_one_u_fffd(text: str) -> None:
    whole = well_formed(text)
    whole.encode()  # which no surrogate survives
    joined = text.encode("utf-16-le", "surrogatepass")
    assert whole == joined.decode("utf-16-le", "replace")
    if not any(0xD800 <= ord(character) < 0xE000 for character in text):
        assert whole == text


@pytest.mark.parametrize(
    "name", [*ALGORITHMS, r"bpe [\p{L}\p{N}_]+|\s", "GPT-2", "cl100k", *NOT_BYTE_LEVEL]
)
def test_every_way_to_encode_reads_surrogates_alike(name: str) -> None:
    tokenizer = tokenizer_called(name)
    for text in ("\ud800", "a\udfffb", "\ud83d\ude00", "\ude00\ud83d", "x " * 15_000 + "\ud83d"):
        ids = tokenizer.encode(well_formed(text))
        assert tokenizer.encode(text) == ids
        assert tokenizer.encode_batch([text, "a"])[0] == ids
        assert tokenizer.encode_arrays([text])[0].tolist() == ids
        if tokenizer.is_lossless:
            assert [token_id for token_id, _, _ in tokenizer.encode_with_offsets(text)] == ids
            assert tokenizer.decode(ids) == well_formed(text)


@pytest.mark.parametrize("name", ALGORITHMS)
@given(word=st.binary(max_size=24))
@SETTINGS
def test_bytes_that_are_no_utf_8_are_kept(name: str, word: bytes) -> None:
    tokenizer = tokenizer_called(name)
    ids = tokenizer.model.encode_word(word)
    assert tokenizer.decode_bytes(ids) == word
    assert tokenizer.decode(ids) == word.decode(errors="replace")


@pytest.mark.parametrize("name", [*ALGORITHMS, "GPT-2", "cl100k"])
def test_half_a_character_decodes_to_u_fffd(name: str) -> None:
    tokenizer = tokenizer_called(name)
    id_of = {tokenizer.token_bytes(i): i for i in reversed(range(tokenizer.vocab_size))}
    for data in (
        b"ab\xe2\x82",
        b"\xe2\x82b",
        b"\xf0\x9f\x99",
        b"\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80",
    ):
        ids = [id_of[bytes([byte])] for byte in data]
        assert tokenizer.decode(ids) == data.decode(errors="replace")
        assert REPLACEMENT in tokenizer.decode(ids)
        assert tokenizer.decode_bytes(ids) == data


# --- streams --------------------------------------------------------------------------------------


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = StreamDecoder(tokenizer)
    return [*map(decoder.push, ids), decoder.flush()]


@pytest.mark.parametrize("name", [*ALGORITHMS, *READ, *NOT_BYTE_LEVEL])
@given(data=st.data())
@SETTINGS
def test_a_stream_of_any_ids_is_what_they_decode_to(name: str, data: st.DataObject) -> None:
    tokenizer = tokenizer_called(name)
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", [*ALGORITHMS, *READ, *NOT_BYTE_LEVEL])
def test_a_stream_of_text_never_gives_half_a_character(name: str) -> None:
    tokenizer = tokenizer_called(name)
    texts = [text for text in next(random_strings(5)) if len(text) < 20][:300]
    texts = [text for text in texts if REPLACEMENT not in text]
    for ids in tokenizer.encode_batch(texts):
        parts = stream(tokenizer, ids)
        assert "".join(parts) == tokenizer.decode(ids)
        assert not any(REPLACEMENT in part for part in parts)
        if tokenizer.is_lossless:
            assert parts[-1] == ""


def test_a_stream_holds_back_what_is_no_character_yet() -> None:
    tokenizer = Tokenizer.byte_level([])
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.push(i) for i in tokenizer.encode("€a🙂")]
    assert parts == ["", "", "€", "a", "", "", "", "🙂"]
    assert decoder.flush() == ""
    assert [decoder.push(i) for i in tokenizer.encode("🙂")[:3]] == ["", "", ""]
    assert decoder.flush() == REPLACEMENT
