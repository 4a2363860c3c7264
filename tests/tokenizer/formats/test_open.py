from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from groundup.runtime import TokenizerError
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.formats import open_tokenizer, save_ranks


def test_a_missing_tokenizer_says_what_to_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TokenizerError, match=r"there is no tokenizer at .*name the folder"):
            Tokenizer.load(path)


@pytest.mark.parametrize("damage", [b"", b"text", b'{"model": ', b"{\xff\xfe"])
def test_a_damaged_file_says_so(tokenizer: Tokenizer, tmp_path: Path, damage: bytes) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(damage)
    with pytest.raises(TokenizerError, match=r"tokenizer.json is damaged .*run the same command"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"\x0a\xff", b"text"])
def test_a_file_that_is_none_of_these_says_so(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(damage)
    with pytest.raises(
        TokenizerError,
        match=r"tokenizer.model is not a tokenizer .*damaged or no .*; fetch it again",
    ):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tokenizer.json", "[]", "holds a list where a tokenizer's object must stand; fetch it"),
        ("vocab.txt", "\n\n", "holds no tokens, one to a line, .*; fetch it again"),
        ("vocab.json", "{}", "needs merges.txt beside it, which is not there"),
    ],
)
def test_a_file_without_a_vocabulary_says_so(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError, match=rf"{name} .*{reason}"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("change", [{"model": {}}, {"model": {"vocab": 3, "merges": []}}])
def test_a_file_with_parts_missing_says_so(tokenizer, tmp_path: Path, change) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TokenizerError, match=r"is not a tokenizer that groundup can use"):
        Tokenizer.load(tmp_path)


def test_a_damaged_config_says_so(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(TokenizerError, match=r"tokenizer_config.json is damaged"):
        Tokenizer.load(tmp_path)


def test_a_folder_or_its_file_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert open_tokenizer(tmp_path / "tokenizer.json").fingerprint == tokenizer.fingerprint
    assert open_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint


def test_a_folder_with_another_format_is_read(data, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_ranks(tokenizer, tmp_path / "own.tiktoken")
    assert open_tokenizer(tmp_path, pattern="qwen2").encode("home") == tokenizer.encode("home")
    for name, (file, n_ids) in {
        "bert": ("tok_bert/bert_base_cased_vocab.txt", 28996),
        "mistral": ("tok_mistral/tokenizer.model.v1", 32000),
    }.items():
        (tmp_path / name).mkdir()
        usual = {"bert": "vocab.txt", "mistral": "tokenizer.model"}[name]
        shutil.copy(data(file), tmp_path / name / usual)
        assert open_tokenizer(tmp_path / name).vocab_size == n_ids
