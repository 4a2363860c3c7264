from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import CLIPTokenizer, GPT2Tokenizer, Qwen2Tokenizer

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import CHARACTER_OF_ID
from groundup.tokenizer.formats import open_tokenizer
from groundup.tokenizer.formats.gpt2 import parse_merges

from .test_tokenizer_json import assert_equal


def files(folder: Path, vocab: str, merges: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    pairs = parse_merges((folder / merges).read_text(encoding="utf-8"))
    return json.loads((folder / vocab).read_text(encoding="utf-8")), pairs


def test_gpt2_gives_the_same_ids(data, many_texts) -> None:
    folder = data("tok_gpt2")
    vocab, merges = files(folder, "encoder.json", "vocab.bpe")
    theirs = GPT2Tokenizer(vocab, merges)._tokenizer
    ours = open_tokenizer(folder)
    assert ours.special_tokens == {"<|endoftext|>": 50256}
    assert_equal(ours, theirs, many_texts)
    for name in ("encoder.json", "vocab.bpe"):
        assert open_tokenizer(folder / name).model == ours.model


def test_clip_gives_the_same_ids(data, many_texts) -> None:
    folder = data("tok_bert")
    vocab, merges = files(folder, "clip_encoder.json", "clip_vocab.bpe")
    theirs = CLIPTokenizer(vocab, merges)
    library = theirs._tokenizer
    ours = open_tokenizer(folder / "clip_vocab.bpe")
    assert ours.special_tokens == {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    library.encode_special_tokens = True
    expected = [library.encode(text, add_special_tokens=False).ids for text in many_texts]
    assert [ours.encode(text) for text in many_texts] == expected
    for text, ids in zip(many_texts[:50], expected, strict=False):
        assert ours.encode(text) == ids
    assert ours.decode(ours.encode("Hello, world!")) == theirs.decode(ours.encode("Hello, world!"))
    assert ours.decode([]) == ours.decode([49407]) == ""


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """A folder with the two files of a tiny tokenizer, and a config."""

    def written(config: dict[str, object] | None = None, vocab=None, merges="h e\nĠ he\n") -> Path:
        strings = [*CHARACTER_OF_ID, "he", "Ġhe", "<s>", "<|endoftext|>"]
        ids = {string: i for i, string in enumerate(strings)}
        (tmp_path / "vocab.json").write_text(json.dumps(ids if vocab is None else vocab(ids)))
        (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}")
        if config is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        return tmp_path

    return written


def test_the_config_beside_them_says_the_kind(write, edge_texts) -> None:
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>"}
    folder = write(config)
    vocab, merges = files(folder, "vocab.json", "merges.txt")
    theirs = Qwen2Tokenizer(vocab, merges)._tokenizer
    ours = open_tokenizer(folder)
    assert ours.special_tokens == {"<s>": 258, "<|endoftext|>": 259}
    assert ours.roles.end_of_turn == "<|endoftext|>"
    assert_equal(ours, theirs, [*edge_texts, "he12 he\u0301"])


def test_a_space_before_the_text_is_added_where_the_config_says_so(write, edge_texts) -> None:
    folder = write({"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True})
    vocab, merges = files(folder, "vocab.json", "merges.txt")
    theirs = GPT2Tokenizer(vocab, merges, add_prefix_space=True)._tokenizer
    assert_equal(open_tokenizer(folder), theirs, [*edge_texts, "he", " he", "\nhe"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"config": {"tokenizer_class": "CTRLTokenizer"}}, "says CTRLTokenizer, and how that cuts"),
        (
            {"config": {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": True}},
            "sets add_prefix_space",
        ),
        ({"merges": "h e x\n"}, "'h e x' is not two tokens"),
        ({"merges": "h q\n"}, "'hq', which its vocabulary does not have"),
        (
            {"vocab": lambda ids: {k: v for k, v in ids.items() if k != "Ġ"}},
            "no token for 1 of the",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(write, options, reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason):
        open_tokenizer(write(**options))


def test_one_file_without_the_other_says_so(write) -> None:
    folder = write()
    (folder / "merges.txt").unlink()
    with pytest.raises(TokenizerError, match=r"needs merges.txt beside it"):
        open_tokenizer(folder / "vocab.json")
    (folder / "vocab.json").rename(folder / "other.json")
    with pytest.raises(TokenizerError, match="holds no model, and is none of the two files"):
        open_tokenizer(folder / "other.json")
