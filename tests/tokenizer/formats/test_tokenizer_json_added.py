from __future__ import annotations

import json

import pytest
from tokenizers import AddedToken

from groundup.runtime import TokenizerError
from groundup.tokenizer.formats.tokenizer_json import tokenizer_of_json

from .test_tokenizer_json import assert_equal, train_library

ADDED = {
    "as they stand": [AddedToken("<think>", normalized=False), AddedToken("  ", normalized=False)],
    "in normalised text": [
        AddedToken("<think>", normalized=True),
        AddedToken("ok", normalized=True),
    ],
    "both": [AddedToken("<think>", normalized=False), AddedToken("  ok", normalized=True)],
    "beside special ones": [
        AddedToken("<think>", normalized=False),
        AddedToken("<|im_start|>", normalized=False, special=True),
        AddedToken("ok", normalized=True),
        AddedToken("[SEP]", normalized=True, special=True),
    ],
}
ADDED_TEXTS = [
    "<think>",
    "a <think>ing</think>  b   ok okay",
    "<|im_start|>ok<think><|im_start|> [SEP]ok",
    "<THINK> e\u0301<think>e\u0301 <thi<think>nk>",
]


@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
@pytest.mark.parametrize("name", ["gpt2", "qwen2", "gpt2 prefix", "bert", "metaspace", "unigram"])
def test_added_tokens_are_given_as_the_library_does(small_texts, edge_texts, added, name) -> None:
    theirs = train_library(name, small_texts)
    for token in added:
        (theirs.add_special_tokens if token.special else theirs.add_tokens)([token])
    content = json.loads(theirs.to_str())
    is_raw = any(not token.normalized for token in added)
    if name == "gpt2 prefix" or (name == "bert" and is_raw):
        with pytest.raises(TokenizerError, match=r"its normalizer (may write it|changes it)"):
            tokenizer_of_json(content, {})
        return
    ours = tokenizer_of_json(content, {})
    assert_equal(ours, theirs, [*ADDED_TEXTS, *edge_texts])
    assert theirs.token_to_id("<think>") in ours.encode("<think>") or name == "bert"


def test_an_added_token_beside_one_that_no_merge_spells_is_refused(small_texts) -> None:
    theirs = train_library("gpt2", small_texts)
    theirs.add_tokens(["<think>"])
    content = json.loads(theirs.to_str())
    content["model"]["vocab"]["qzq"] = 501
    with pytest.raises(TokenizerError, match="merges cannot spell its token b'qzq'"):
        tokenizer_of_json(content, {})


def test_an_added_token_that_only_the_first_piece_may_hold_is_refused(small_texts) -> None:
    theirs = train_library("fused unknown", small_texts)
    theirs.add_tokens(["<think>"])
    with pytest.raises(TokenizerError, match="prepends to the first piece of text only"):
        tokenizer_of_json(json.loads(theirs.to_str()), {})


def test_an_added_token_that_begins_inside_a_special_one_is_refused(small_texts) -> None:
    theirs = train_library("gpt2", small_texts)
    theirs.add_special_tokens(["<|think|>"])
    theirs.add_tokens(["think"])
    with pytest.raises(TokenizerError, match=r"in a text that spells '<.think.>' the tokenizers"):
        tokenizer_of_json(json.loads(theirs.to_str()), {})
