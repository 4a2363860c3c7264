from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from groundup.runtime import TokenizerError
from groundup.tokenizer import CHAT_FORMATS, PATTERNS, Tokenizer, TokenizerConfig, train_tokenizer
from groundup.tokenizer.bpe import Bpe
from groundup.tokenizer.formats import export_costs, open_tokenizer
from groundup.tokenizer.formats.tokenizer_json import read_as_the_library
from groundup.tokenizer.formats.tokenizer_json_parts import as_spec
from groundup.tokenizer.normalize import LibraryNormalizer, Nfc, Nfkc
from groundup.tokenizer.pretokenize import (
    LibraryCutter,
    PatternCutter,
    WholeText,
    count_pretokens,
)
from groundup.tokenizer.tokenizer import LibraryDecoder, Roles
from groundup.tokenizer.unigram import Unigram, train_unigram
from groundup.tokenizer.wordpiece import train_wordpiece

from .test_tokenizer_json import library_ids, spells_a_name

SETTINGS = settings(deadline=None, max_examples=80)


# --- what stands on disk already ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "digest"),
    [
        ("qwen2", "e83aba5239ea5a73afe2e046bd9d1018"),
        ("llama3", "e81d094e63db84274d7e474238cfbce4"),
        ("gpt2", "d899b8afc250ec6613282da8c1e5155c"),
    ],
)
def test_the_bytes_of_version_0_1_are_written_still(tmp_path, pattern: str, digest: str) -> None:
    merges = [(68, 82), (256, 83), (75, 78), (258, 86), (220, 64)]
    Tokenizer.byte_level(merges, pattern).save(tmp_path)
    expected = {
        "chat_template.jinja": "66edfb854931c933d3ac94f507626dd4",
        "tokenizer.json": digest,
        "tokenizer_config.json": "99e65f576b2bc69b35d723e96df3ad6c",
    }
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert expected == {
        name: hashlib.sha256(content).hexdigest()[:32] for name, content in written.items()
    }


# --- every kind of tokenizer ----------------------------------------------------------------------


def _characters(algorithm: str, texts: list[str]) -> Tokenizer:
    """WordPiece as in BERT, Unigram as in T5: on characters, with the library's pipeline."""
    if algorithm == "wordpiece":
        cutter = LibraryCutter(as_spec({"type": "BertPreTokenizer"}))
        normalizer = LibraryNormalizer(
            as_spec(
                {
                    "type": "BertNormalizer",
                    "clean_text": True,
                    "handle_chinese_chars": True,
                    "strip_accents": None,
                    "lowercase": True,
                }
            )
        )
        decoder = {"type": "WordPiece", "prefix": "##", "cleanup": False}
        counts = count_pretokens(map(normalizer, texts), cutter)
        model = train_wordpiece(counts, 330, units="characters", limit_alphabet=80)
        strings = [model.spelling(i) or "[UNK]" for i in range(len(model.pieces))]
    else:
        normalizer = LibraryNormalizer(as_spec({"type": "Lowercase"}))
        metaspace = {"replacement": "▁", "prepend_scheme": "always", "split": True}
        cutter = LibraryCutter(as_spec({"type": "Metaspace"} | metaspace))
        decoder = {"type": "Metaspace"} | metaspace
        counts = count_pretokens(map(normalizer, texts), cutter)
        model = train_unigram(counts, 330, units="characters")
        strings = [piece.decode() or "<unk>" for piece in model.pieces]
    return Tokenizer.with_chat_format(
        model,
        cutter,
        "chatml",
        normalizer=normalizer,
        decoder=LibraryDecoder(as_spec(decoder), tuple(strings)),
    )


NORMALIZATIONS = ("none", "nfc", "nfkc")
KINDS = [
    *(
        (algorithm, normal)
        for algorithm in ("bpe", "wordpiece", "unigram")
        for normal in NORMALIZATIONS
    ),
    ("wordpiece", "characters"),
    ("unigram", "characters"),
    ("bpe", "llama3 format"),
    ("bpe", "alpaca format"),
    ("bpe", "own pattern"),
    ("bpe", "cl100k"),
    ("bpe", "o200k"),
]


def made(algorithm: str, detail: str, texts: list[str]) -> Tokenizer:
    if detail == "characters":
        return _characters(algorithm, texts)
    options = {"normalization": detail} if detail in NORMALIZATIONS else {}
    if detail.endswith("format"):
        options = {"chat_format": detail.split()[0]}
    if detail in PATTERNS:
        options = {"pattern": detail}
    if detail == "own pattern":
        options = {"pattern": r" ?\p{L}+| ?[^\s\p{L}]+|\s+"}
    vocab_size = {"bpe": 400, "wordpiece": 620, "unigram": 370}[algorithm]
    config = TokenizerConfig(
        algorithm=algorithm, vocab_size=vocab_size, trainer="readable", **options
    )
    return train_tokenizer(texts, config)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def ours(request, small_texts) -> Tokenizer:
    return made(*request.param, small_texts)


@pytest.fixture(scope="module")
def folder(ours: Tokenizer, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved")
    ours.save(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def library(folder: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_loading_gives_back_what_was_saved(ours, loaded, folder: Path, tmp_path) -> None:
    if not is_read_to_the_last_bit(ours):
        assert_same_but_for_the_last_bit(loaded, ours)
        return
    assert loaded.fingerprint == ours.fingerprint
    parts = ("model", "cutter", "normalizer", "decoder", "special_tokens", "roles", "chat_format")
    for part in parts:
        assert getattr(loaded, part) == getattr(ours, part)
    loaded.save(tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def is_read_to_the_last_bit(ours: Tokenizer) -> bool:
    """Whether the library reads the scores as they are; of over 14 digits it may miss a bit."""
    if not isinstance(ours.model, Unigram):
        return True
    return read_as_the_library(ours.model.scores) == [*ours.model.scores]


def assert_same_but_for_the_last_bit(loaded: Tokenizer, saved: Tokenizer) -> None:
    assert isinstance(loaded.model, Unigram)
    assert isinstance(saved.model, Unigram)
    assert loaded.model.scores == pytest.approx(saved.model.scores, rel=1e-15, abs=0)
    assert replace(loaded.model, scores=saved.model.scores) == saved.model
    for part in ("cutter", "normalizer", "decoder", "special_tokens", "roles", "chat_format"):
        assert getattr(loaded, part) == getattr(saved, part)


def test_tokenizers_and_transformers_give_the_same_ids(ours, library, folder, edge_texts) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    assert len(theirs) == library.get_vocab_size() == ours.vocab_size
    for text in edge_texts:
        if spells_a_name(ours, text):
            continue
        ids = ours.encode(text)
        assert library_ids(library, text) == ids
        if not any(name in text for name in ours.special_tokens):
            assert theirs(text)["input_ids"] == ids
        assert library.decode(ids) == theirs.decode(ids) == ours.decode(ids)
        if ours.decoder is None:  # byte-level: nothing is lost but by the normalizer
            assert ours.decode(ids) == (ours.normalizer(text) if ours.normalizer else text)


def test_transformers_knows_the_special_tokens(ours, folder) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    layout = CHAT_FORMATS[ours.chat_format]
    assert theirs.convert_tokens_to_ids(list(layout.special_tokens)) == [
        *ours.special_tokens.values()
    ]
    assert theirs.bos_token_id == ours.end_of_text_id
    assert theirs.eos_token_id == ours.end_of_turn_id
    assert theirs.pad_token_id == ours.special_tokens[ours.roles.pad]
    assert theirs.chat_template == layout.template
    some = ours.encode("home")
    around = [ours.end_of_text_id, *some, ours.end_of_turn_id]
    assert (
        theirs.decode(around, skip_special_tokens=True) == ours.decode(around) == ours.decode(some)
    )


NAMES = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|begin_of_text|>"]
NASTY_TEXTS = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from([*NAMES, "<|", "|>", "im_end", " ", "[UNK]"])),
    max_size=6,
).map("".join)


@given(text=NASTY_TEXTS)
@SETTINGS
def test_no_text_gives_a_special_token(ours, loaded, library, text: str) -> None:
    ids = ours.encode(text)
    assert not any(ours.is_special(i) for i in ids)
    assert loaded.encode(text) == ids
    assert spells_a_name(ours, text) or library_ids(library, text) == ids


def test_what_transformers_saves_can_be_loaded(ours, folder, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    if not is_read_to_the_last_bit(ours):
        assert_same_but_for_the_last_bit(again, ours)
    else:
        assert again.fingerprint == ours.fingerprint


# --- others' tokenizers, saved as ours ------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "tok_gpt2/encoder.json",
        pytest.param("tok_bert/clip_encoder.json", marks=pytest.mark.exhaustive),
        pytest.param("tok_bert/bert-base-uncased.json", marks=pytest.mark.exhaustive),
        "tok_bert/bert_base_cased_vocab.txt",
        "tok_bert/t5_tokenizer_base.model",
        pytest.param("tok_mistral/tokenizer.model.v1", marks=pytest.mark.exhaustive),
        pytest.param(
            "tok_mistral/mistral_instruct_tokenizer_241114.model.v7", marks=pytest.mark.exhaustive
        ),
        "tok_small_json/minimind/model",
        pytest.param("tok_small_json/torchtune/tokenizer.json", marks=pytest.mark.exhaustive),
        pytest.param("tok_tiktoken/p50k_base.tiktoken", marks=pytest.mark.exhaustive),
        pytest.param("tok_tiktoken/cl100k_base.tiktoken", marks=pytest.mark.exhaustive),
        pytest.param("tok_tiktoken/o200k_base.tiktoken", marks=pytest.mark.exhaustive),
    ],
)
def test_others_are_written_and_read_again(data, many_texts, tmp_path, name: str) -> None:
    ours = open_tokenizer(data(name))
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == ours.fingerprint
    assert again.special_tokens == ours.special_tokens
    assert again.roles.end_of_text == ours.roles.end_of_text
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text, ids in zip(many_texts, map(ours.encode, many_texts), strict=True):
        assert again.encode(text) == ids
        if not spells_a_name(ours, text):
            assert library_ids(theirs, text) == ids, text
            assert theirs.decode(ids, skip_special_tokens=True) == again.decode(ids)
    for name, token_id in ours.special_tokens.items():
        assert theirs.token_to_id(name) == token_id


def test_a_token_outside_the_vocabulary_keeps_its_id(tmp_path) -> None:
    # a gap, a special token between others, and one that is far behind
    model = Bpe(
        (*(bytes([byte]) for byte in range(256)), b"ab", b"", b"", b"abc"),
        ((97, 98, 256), (256, 99, 259)),
        byte_ids=tuple(range(256)),
    )
    special = {"<s>": 257, "<far>": 300}
    ours = Tokenizer(
        model, PatternCutter("gpt2"), special_tokens=special, roles=Roles("<s>", "<far>")
    )
    ours.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert (theirs.token_to_id("<s>"), theirs.token_to_id("<far>")) == (257, 300)
    assert library_ids(theirs, "abc ab<s>") == ours.encode("abc ab<s>")
    assert Tokenizer.load(tmp_path).fingerprint == ours.fingerprint


def test_a_chat_format_that_no_template_tells_is_kept(small_texts, tmp_path) -> None:
    ours = train_tokenizer(small_texts, TokenizerConfig(vocab_size=300, trainer="readable"))
    silent = Tokenizer(
        ours.model, ours.cutter, special_tokens=ours.special_tokens, roles=ours.roles
    )
    ours.save(tmp_path)  # whose template must not stay
    silent.save(tmp_path)
    assert Tokenizer.load(tmp_path).chat_format is None
    assert Tokenizer.load(tmp_path).fingerprint == silent.fingerprint


def test_a_tokenizer_without_any_cut_is_written(small_texts, tmp_path) -> None:
    trained = train_tokenizer(small_texts, TokenizerConfig(vocab_size=300, trainer="readable"))
    ours = Tokenizer.with_chat_format(trained.model, WholeText())
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint == ours.fingerprint
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library_ids(theirs, "the miller's\n\n x") == ours.encode("the miller's\n\n x")


# --- what is refused, and what is warned of -------------------------------------------------------


def test_a_pattern_that_the_library_reads_otherwise_is_refused(tmp_path) -> None:
    ours = Tokenizer.byte_level([], r"\w+|\W")
    with pytest.raises(
        TokenizerError, match=r"cannot be written into tokenizer.json: the part .*\\w"
    ):
        ours.save(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_unigram_that_the_file_cannot_hold_is_refused(tmp_path) -> None:
    pieces = (b"", *(bytes([byte]) for byte in range(256)))
    for model, reason in [
        (Unigram(pieces, (0.0,) * 257, None, units="bytes"), "its id 0 stands for nothing"),
        (
            Unigram(pieces[1:], (0.0,) * 256, None, fuse_unk=False, units="bytes"),
            "fuse_unk=False cannot be written",
        ),
    ]:
        ours = Tokenizer.with_chat_format(model, PatternCutter("gpt2"))
        with pytest.raises(TokenizerError, match=reason):
            ours.save(tmp_path)


def test_what_a_choice_costs_in_exports_is_said() -> None:
    def said(**options) -> str:
        return " ".join(export_costs(Tokenizer.byte_level([], **options)))

    assert [said(pattern=name) for name in ("gpt2", "llama3", "qwen2", "o200k")] == [""] * 4
    assert "cannot become GGUF" in said(pattern=r"\S+|\s+")
    model = Unigram(tuple(bytes([b]) for b in range(256)), (-5.0,) * 256, None, units="bytes")
    unigram = Tokenizer.with_chat_format(model, PatternCutter("qwen2"))
    assert "no byte-level unigram" in export_costs(unigram)[0]
    for normalizer, name in [(Nfc(), "NFC"), (Nfkc(), "NFKC")]:
        bpe = Tokenizer.byte_level([])
        normalised = Tokenizer.with_chat_format(bpe.model, bpe.cutter, normalizer=normalizer)
        assert name in export_costs(normalised)[0]
