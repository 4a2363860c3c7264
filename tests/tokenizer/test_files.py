from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from groundup.runtime import TokenizerError
from groundup.tokenizer import PATTERNS, Tokenizer, TokenizerConfig, train_tokenizer
from groundup.tokenizer.chat import SPECIAL_TOKENS


@pytest.mark.parametrize("pattern", PATTERNS)
def test_transformers_gives_the_same_ids(small_texts, pattern, tmp_path) -> None:
    ours = train_tokenizer(small_texts, TokenizerConfig(vocab_size=400, pattern=pattern))
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in ["", " ", "\n\n x", *small_texts]:
        ids = ours.encode(text)
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text
    assert len(theirs) == ours.vocab_size
    assert theirs.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [397, 398, 399]
    assert theirs.eos_token_id == ours.im_end_id
    assert theirs.pad_token_id == theirs.bos_token_id == ours.end_of_text_id
    assert theirs.decode([397, 65, 399], skip_special_tokens=True) == ours.decode([65])


def test_transformers_gives_the_same_ids_on_real_text(real_texts, real_tokenizer, tmp_path) -> None:
    real_tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in real_texts:
        assert theirs(text)["input_ids"] == real_tokenizer.encode(text)


def test_loading_gives_back_what_was_saved(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "a")
    loaded = Tokenizer.load(tmp_path / "a")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert (loaded.merges, loaded.pattern) == (tokenizer.merges, tokenizer.pattern)
    loaded.save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_what_transformers_saves_can_be_loaded(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "ours")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    assert Tokenizer.load(tmp_path / "theirs").fingerprint == tokenizer.fingerprint


def test_a_missing_tokenizer_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"there is no tokenizer at .*name the folder"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("damage", [b"", b'{"model": ', b"\xff\xfe"])
def test_a_damaged_file_says_so(tokenizer: Tokenizer, tmp_path: Path, damage: bytes) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(damage)
    with pytest.raises(TokenizerError, match=r"tokenizer.json is damaged .*run the same command"):
        Tokenizer.load(tmp_path)


def _swap_ids(content: dict[str, Any]) -> None:
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]


def _unreachable_token(content: dict[str, Any]) -> None:
    # "abc" comes from (a, bc), but "ab" is merged before "bc"
    vocab = dict(list(content["model"]["vocab"].items())[:256])
    content["model"]["vocab"] = vocab | {"ab": 256, "bc": 257, "abc": 258}
    content["model"]["merges"] = [["a", "b"], ["b", "c"], ["a", "bc"]]
    for index, token in enumerate(content["added_tokens"]):
        token["id"] = 259 + index


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.clear(), "'model'"),
        (lambda content: content.update(model=3), "subscriptable"),
        (_swap_ids, "its vocabulary does not follow from its merges"),
        (_unreachable_token, "its merges cannot spell its token 'abc'"),
        (lambda content: content["added_tokens"].pop(), "its added_tokens differ"),
        (lambda content: content.update(normalizer={"type": "NFC"}), "its normalizer differ"),
        (
            lambda content: content["pre_tokenizer"]["pretokenizers"][0].update(
                pattern={"Regex": "."}
            ),
            "its pre-tokenizer is none of gpt2, llama3, qwen2",
        ),
        (lambda content: content["model"]["merges"].reverse(), "do not stand before it"),
    ],
)
def test_a_tokenizer_of_another_make_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, change: Any, reason: str
) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match="is not a tokenizer that groundup can use") as caught:
        Tokenizer.load(tmp_path)
    assert reason in str(caught.value)
