from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from groundup.runtime import TokenizerError
from groundup.tokenizer import PATTERNS, Tokenizer
from groundup.tokenizer.formats import open_tokenizer
from groundup.tokenizer.formats.tokenizer_json import tokenizer_of_json
from groundup.tokenizer.pretokenize import LibraryCutter, PatternCutter, WholeText
from groundup.tokenizer.unigram import Unigram

SETTINGS = settings(deadline=None, max_examples=60)
REFERENCES = [
    "tok_bert/bert-base-uncased.json",
    "tok_bert/all-minilm-l6-v2.json",
    "tok_small_json/minimind/model/tokenizer.json",
    "tok_small_json/torchtune/tokenizer.json",
]


def library_ids(theirs: tokenizers.Tokenizer, text: str) -> list[int]:
    """The library's ids of a text that is taken as text, whatever it spells."""
    theirs.encode_special_tokens = True
    theirs.no_truncation()
    theirs.no_padding()
    return theirs.encode(text, add_special_tokens=False).ids


def spells_a_name(ours: Tokenizer, text: str) -> bool:
    """Whether the text holds the name of a token that the library's Unigram gives for it."""
    if not isinstance(ours.model, Unigram):
        return False
    names = {*ours.special_tokens, "<unk>"}
    return any(name in text for name in names)


def assert_equal(ours: Tokenizer, theirs: tokenizers.Tokenizer, texts: list[str]) -> None:
    texts = [text for text in texts if not spells_a_name(ours, text)]
    expected = [library_ids(theirs, text) for text in texts]
    for place, (text, ids) in enumerate(zip(texts, expected, strict=True)):
        assert ours.encode(text) == ids, text
        if place < 150:
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.encode_batch(texts) == expected
    assert not any(ours.is_special(i) for ids in expected for i in ids if i != ours.model.unk_id)


@pytest.mark.parametrize("name", REFERENCES)
def test_tokenizers_gives_the_same_ids(data, many_texts, name: str) -> None:
    path = data(name)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    ours = open_tokenizer(path)
    assert ours.vocab_size == theirs.get_vocab_size()
    assert_equal(ours, theirs, many_texts)


# --- pipelines ------------------------------------------------------------------------------------


def _byte_level(add_prefix_space=False, **split: Any) -> Any:
    before = [pre_tokenizers.Split(**split)] if split else []
    return pre_tokenizers.Sequence(
        [*before, pre_tokenizers.ByteLevel(add_prefix_space, use_regex=not split)]
    )


BPE_TRAINER = {"vocab_size": 500, "show_progress": False}
BYTES = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
METASPACE = {"replacement": "▁"}
SPLIT_QWEN2 = {"pattern": Regex(PATTERNS["qwen2"]), "behavior": "isolated"}
DIGITS = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False, use_regex=True)]
)
BERT = {
    "normalizer": normalizers.BertNormalizer(),
    "pre_tokenizer": pre_tokenizers.BertPreTokenizer(),
    "decoder": decoders.WordPiece(),
}
LLAMA = {
    "normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    "decoder": decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    ),
}
BYTE_NAMES = [f"<0x{byte:02X}>" for byte in range(256)]
CLIP = {
    "normalizer": normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    ),
    "pre_tokenizer": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"'s|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", True),
            pre_tokenizers.ByteLevel(False),
        ]
    ),
    "decoder": decoders.ByteLevel(),
}
ENDED = {"end_of_word_suffix": "</w>"}

# name: model, its trainer's options, and what stands around it
PIPELINES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "gpt2": (models.BPE(), BYTES, {"pre_tokenizer": _byte_level()}),
    "gpt2 prefix": (models.BPE(), BYTES, {"pre_tokenizer": _byte_level(add_prefix_space=True)}),
    "qwen2": (
        models.BPE(),
        BYTES,
        {"normalizer": normalizers.NFC(), "pre_tokenizer": _byte_level(**SPLIT_QWEN2)},
    ),
    "nfkc": (
        models.BPE(),
        BYTES,
        {"normalizer": normalizers.NFKC(), "pre_tokenizer": _byte_level(**SPLIT_QWEN2)},
    ),
    "prefix on each piece": (
        models.BPE(),
        BYTES,
        {"pre_tokenizer": _byte_level(add_prefix_space=True, **SPLIT_QWEN2)},
    ),
    "prefix and normalizer": (
        models.BPE(),
        BYTES,
        {
            "normalizer": normalizers.Lowercase(),
            "pre_tokenizer": _byte_level(add_prefix_space=True),
        },
    ),
    "digits": (models.BPE(), BYTES, {"pre_tokenizer": DIGITS}),
    "own pattern": (
        models.BPE(),
        BYTES,
        {"pre_tokenizer": _byte_level(pattern=Regex(r" ?\p{L}+|\s+"), behavior="isolated")},
    ),
    "pattern that means two things": (
        models.BPE(),
        BYTES,
        {"pre_tokenizer": _byte_level(pattern=Regex(r"\w{1,3}+|$"), behavior="isolated")},
    ),
    "merged with next": (
        models.BPE(),
        BYTES,
        {"pre_tokenizer": _byte_level(pattern=" ", behavior="merged_with_next")},
    ),
    "whole words first": (
        models.BPE(ignore_merges=True),
        BYTES,
        {"pre_tokenizer": _byte_level(**SPLIT_QWEN2)},
    ),
    "bytes as one word": (
        models.BPE(),
        BYTES,
        {"pre_tokenizer": pre_tokenizers.ByteLevel(False, use_regex=False)},
    ),
    "some bytes unknown": (
        models.BPE(unk_token="<unk>"),
        {"special_tokens": ["<unk>"]},
        {"pre_tokenizer": _byte_level()},
    ),
    "metaspace": (
        models.BPE(unk_token="<unk>"),
        {"special_tokens": ["<unk>"]},
        {"pre_tokenizer": pre_tokenizers.Metaspace(), "decoder": decoders.Metaspace()},
    ),
    "fused unknown": (
        models.BPE(unk_token="<unk>", fuse_unk=True),
        {"special_tokens": ["<unk>"], "limit_alphabet": 20},
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first", split=False)},
    ),
    "byte fallback": (
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        {"special_tokens": ["<unk>", "<s>", *BYTE_NAMES], "limit_alphabet": 40},
        LLAMA,
    ),
    "end of word": (
        models.BPE(unk_token="<unk>", **ENDED),
        {**BYTES, **ENDED, "special_tokens": ["<unk>"]},
        CLIP,
    ),
    "bert": (
        models.WordPiece(unk_token="[UNK]"),
        {"special_tokens": ["[PAD]", "[UNK]", "[CLS]"], "limit_alphabet": 60},
        BERT,
    ),
    "wordpiece, other prefix": (
        models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=5),
        {"special_tokens": ["[UNK]"], "continuing_subword_prefix": "@"},
        {"pre_tokenizer": pre_tokenizers.Whitespace(), "decoder": decoders.WordPiece("@", False)},
    ),
    "unigram": (
        models.Unigram(),
        {"special_tokens": ["<unk>"], "unk_token": "<unk>"},
        {"pre_tokenizer": pre_tokenizers.Metaspace(), "decoder": decoders.Metaspace()},
    ),
    "unigram, one word": (
        models.Unigram(),
        {"special_tokens": ["<pad>", "<unk>"], "unk_token": "<unk>"},
        {"normalizer": normalizers.Replace(" ", "▁"), "decoder": decoders.Replace("▁", " ")},
    ),
    "unigram on bytes": (
        models.Unigram(),
        {"special_tokens": [], **BYTES},
        {"pre_tokenizer": _byte_level(**SPLIT_QWEN2)},
    ),
}
TRAINERS = {
    "BPE": trainers.BpeTrainer,
    "WordPiece": trainers.WordPieceTrainer,
    "Unigram": trainers.UnigramTrainer,
}


def train_library(name: str, texts: list[str]) -> tokenizers.Tokenizer:
    model, options, parts = PIPELINES[name]
    kind = type(model).__name__
    theirs = tokenizers.Tokenizer(type(model)() if kind == "Unigram" else model)
    for part, value in parts.items():
        setattr(theirs, part, value)
    if "ByteLevel" in str(theirs.pre_tokenizer) and theirs.decoder is None:
        theirs.decoder = decoders.ByteLevel()
    if kind == "WordPiece" and "continuing_subword_prefix" in options:
        theirs.model.continuing_subword_prefix = options["continuing_subword_prefix"]
    theirs.train_from_iterator(texts, TRAINERS[kind](**(BPE_TRAINER | options)))
    content = json.loads(theirs.to_str())  # bytes are added to be in the vocabulary, no more
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] not in BYTE_NAMES]
    return tokenizers.Tokenizer.from_str(json.dumps(content))


@pytest.fixture(scope="module", params=PIPELINES)
def library(request, small_texts) -> tokenizers.Tokenizer:
    return train_library(request.param, small_texts)


@pytest.fixture(scope="module")
def read(library) -> Tokenizer:
    return tokenizer_of_json(json.loads(library.to_str()), {})


def test_every_pipeline_gives_the_same_ids(library, read, edge_texts) -> None:
    assert_equal(read, library, edge_texts)


DRAWN_TEXTS = st.text(
    st.one_of(st.sampled_from(" \n'sab1é▁#@<>天"), st.characters(codec="utf-8")), max_size=20
)


@given(text=DRAWN_TEXTS)
@SETTINGS
def test_every_pipeline_gives_the_same_ids_of_drawn_texts(library, read, text: str) -> None:
    assert spells_a_name(read, text) or read.encode(text) == library_ids(library, text)


def test_of_the_config_beside_it_are_taken_what_the_file_does_not_say(
    small_texts, tmp_path
) -> None:
    theirs = train_library("gpt2", small_texts)
    theirs.add_special_tokens(["<s>", "<|call|>"])
    content = json.loads(theirs.to_str())
    content["added_tokens"] = content["added_tokens"][:1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    config = {
        "added_tokens_decoder": {"501": {"content": "<|call|>", "special": True}},
        "bos_token": {"content": "<s>"},
        "eos_token": "<|call|>",
    }
    assert open_tokenizer(tmp_path).special_tokens == {"<s>": 500}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = open_tokenizer(tmp_path)
    assert ours.special_tokens == {"<s>": 500, "<|call|>": 501}
    assert (ours.roles.end_of_text, ours.roles.end_of_turn) == ("<s>", "<|call|>")


# --- which cutter ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cutter"),
    [
        ("gpt2", PatternCutter("gpt2")),
        ("qwen2", PatternCutter("qwen2")),
        ("own pattern", PatternCutter(r" ?\p{L}+|\s+")),
        ("bytes as one word", WholeText()),
        ("bert", LibraryCutter('{"type": "BertPreTokenizer"}')),
        ("unigram, one word", WholeText()),
    ],
)
def test_the_cutter_is_ours_where_it_does_the_same(small_texts, name: str, cutter) -> None:
    content = json.loads(train_library(name, small_texts).to_str())
    assert tokenizer_of_json(content, {}).cutter == cutter


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["model"].update(type="WordLevel"), "its model is WordLevel"),
        (lambda c: c["model"].update(dropout=0.1), "its model sets dropout=0.1"),
        (lambda c: c["model"].update(continuing_subword_prefix="##"), "continuing_subword_prefix"),
        (lambda c: c["model"]["vocab"].pop("a"), "no token for 1 of the 256 bytes"),
        (lambda c: c["model"]["merges"].append(["q", "z"]), "needs the token 'qz'"),
        (lambda c: c["model"]["vocab"].update(b=5), "have the same id 5"),
        (
            lambda c: c["added_tokens"].append({"content": "a", "id": 5000, "special": True}),
            "its added token 'a' has id 5000, and its vocabulary gives it",
        ),
        (
            lambda c: c["added_tokens"].append({"content": "yo", "id": 500, "lstrip": True}),
            "'yo' is not special and sets lstrip",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(small_texts, change, reason: str) -> None:
    content = json.loads(train_library("gpt2", small_texts).to_str())
    change(content)
    with pytest.raises(TokenizerError, match=reason):
        tokenizer_of_json(content, {})


def test_part_of_the_fallback_bytes_is_refused(small_texts) -> None:
    content = json.loads(train_library("byte fallback", small_texts).to_str())
    content["model"]["vocab"]["no byte"] = content["model"]["vocab"].pop("<0x41>")
    content["added_tokens"] = []
    with pytest.raises(TokenizerError, match="some bytes but not for <0x41>"):
        tokenizer_of_json(content, {})


def test_a_vocabulary_that_drops_bytes_is_refused(data) -> None:
    for name in ("torchtitan/tokenizer.json", "torchtune/tiny_bpe_tokenizer.json"):
        path = data(f"tok_small_json/{name}")
        with pytest.raises(TokenizerError, match="the tokenizers library drops these bytes"):
            open_tokenizer(path)
