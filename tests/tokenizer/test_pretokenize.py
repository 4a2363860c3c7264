from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from groundup.runtime import TokenizerError
from groundup.tokenizer.pretokenize import (
    PATTERNS,
    LibraryCutter,
    PatternCutter,
    WholeText,
    count_pretokens,
    well_formed,
)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text())
@settings(deadline=None)
def test_pieces_join_to_the_text(pattern: str, text: str) -> None:
    words = PatternCutter(pattern).cut(well_formed(text))
    assert b"".join(words) == well_formed(text).encode()
    assert all(words)


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
    assert PatternCutter(pattern).split("I'll pay 1234   $5!\n") == pieces


def every_character() -> Iterator[str]:
    """Text in which each code point of Unicode stands in six kinds of company, in parts."""
    codes = [*range(0xD800), *range(0xE000, 0x110000)]
    near = [
        *range(0x3400),
        *range(0xA000, 0xB000),
        *range(0xF900, 0x13000),
        *range(0x1D000, 0x20000),
    ]
    codes = sorted({*near, *codes[::37]} - {*range(0xD800, 0xE000)})
    for start in range(0, len(codes), 1000):
        characters = map(chr, codes[start : start + 1000])
        yield "|".join(f"a{c}a 1{c}1 !{c}! {c}\n{c} '{c}" for c in characters)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_characters_of_all_kinds_are_cut_as_in_hugging_face_tokenizers(pattern: str) -> None:
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    for text in every_character():
        words = PatternCutter(pattern).split(text)
        assert words == [piece for piece, _ in split.pre_tokenize_str(text)]


def test_counts_do_not_depend_on_how_documents_are_ordered() -> None:
    texts = ["one two two", "three", "two"]
    cutter = PatternCutter("qwen2")
    assert count_pretokens(texts, cutter) == count_pretokens(reversed(texts), cutter)
    assert count_pretokens(texts, cutter)[b" two"] == 2


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert well_formed("\udc00x\ud800") == "\ufffdx\ufffd"
    assert well_formed("x\ufeff") == "x\ufeff"


def test_a_pattern_of_ones_own_loses_nothing_between_its_matches() -> None:
    assert PatternCutter("[a-z]+|[0-9]").split("ab12 c!") == ["ab", "1", "2", " ", "c", "!"]


def test_a_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"pattern='\(' is neither one of gpt2, .* correct it"):
        PatternCutter("(")


def test_a_library_cutter_cuts_as_the_library(small_texts: list[str]) -> None:
    cutter = LibraryCutter('{"type": "Whitespace"}')
    for text in small_texts:
        pieces = pre_tokenizers.Whitespace().pre_tokenize_str(text)
        assert cutter.cut(text) == [piece.encode() for piece, _ in pieces]


def test_the_whole_text_is_one_word() -> None:
    assert WholeText().cut("a b") == [b"a b"]
