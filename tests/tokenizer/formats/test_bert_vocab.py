from __future__ import annotations

import json

import pytest
import tokenizers
from transformers import BertTokenizer

from groundup.tokenizer.formats import open_tokenizer

from .test_tokenizer_json import assert_equal


@pytest.mark.parametrize(("name", "lowercase"), [("uncased", True), ("cased", False)])
def test_berts_vocabularies_give_the_same_ids(data, many_texts, name: str, lowercase: bool) -> None:
    path = data(f"tok_bert/bert_base_{name}_vocab.txt")
    theirs = BertTokenizer(str(path), do_lower_case=lowercase)._tokenizer
    ours = open_tokenizer(path)
    assert_equal(ours, theirs, many_texts)
    assert [*ours.special_tokens] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert (ours.roles.end_of_text, ours.roles.end_of_turn) == ("[CLS]", "[SEP]")


def test_the_file_and_tokenizer_json_are_the_same_vocabulary(data, many_texts) -> None:
    json_file = tokenizers.Tokenizer.from_file(str(data("tok_bert/bert-base-uncased.json")))
    assert_equal(
        open_tokenizer(data("tok_bert/bert_base_uncased_vocab.txt")), json_file, many_texts[::5]
    )


def test_the_config_beside_it_says_the_case(tmp_path) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\nhome\nHome\ncafé\ncafe\n", encoding="utf-8")
    assert open_tokenizer(tmp_path).encode("Home café") == [2, 3]
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"do_lower_case": True}))
    assert open_tokenizer(tmp_path).encode("Home café") == [1, 4]
    config.write_text(json.dumps({"do_lower_case": True, "strip_accents": False}))
    assert open_tokenizer(tmp_path).encode("Home café") == [1, 3]
