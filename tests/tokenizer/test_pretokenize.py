from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from groundup.tokenizer.pretokenize import PATTERNS, count_pretokens, split_text, well_formed


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text())
@settings(deadline=None)
def test_pieces_join_to_the_text(pattern: str, text: str) -> None:
    pieces = split_text(text, pattern)
    assert "".join(pieces) == text
    assert all(pieces)


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("gpt2", ["I", "'ll", " pay", " 1234", "  ", " $", "5", "!\n"]),
        ("llama3", ["I", "'ll", " pay", " ", "123", "4", "  ", " $", "5", "!\n"]),
        ("qwen2", ["I", "'ll", " pay", " ", "1", "2", "3", "4", "  ", " $", "5", "!\n"]),
    ],
)
def test_each_pattern_cuts_in_its_own_way(pattern: str, pieces: list[str]) -> None:
    if pattern == "gpt2":  # a newline is white space to it, not a part of the punctuation
        pieces = [*pieces[:-1], "!", "\n"]
    assert split_text("I'll pay 1234   $5!\n", pattern) == pieces


@pytest.mark.parametrize("pattern", PATTERNS)
def test_characters_of_all_kinds_are_cut_as_in_hugging_face_tokenizers(pattern: str) -> None:
    # Characters younger than the standard library's Unicode are left out: the regex module may
    # know them as letters where tokenizers does not yet.
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    known = [
        chr(code)
        for code in (*range(0x600), *range(0x600, 0x20000, 13), *range(0x2000, 0x2070), 0x3000)
        if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")
    ]
    for start in range(0, len(known), 1000):
        text = "|".join(f"a{c}a 1{c}1 !{c}! {c}\n{c} '{c}" for c in known[start : start + 1000])
        theirs = [piece for piece, _ in split.pre_tokenize_str(text)]
        assert split_text(text, pattern) == theirs


def test_counts_do_not_depend_on_how_documents_are_ordered() -> None:
    texts = ["one two two", "three", "two"]
    assert count_pretokens(texts, "qwen2") == count_pretokens(reversed(texts), "qwen2")
    assert count_pretokens(texts, "qwen2")[" two"] == 2


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert well_formed("\udc00x\ud800") == "\ufffdx\ufffd"
    assert well_formed("x\ufeff") == "x\ufeff"
