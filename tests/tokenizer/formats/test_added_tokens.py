from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from groundup.tokenizer.formats.added_tokens import AddedTokensCutter
from groundup.tokenizer.normalize import Nfc
from groundup.tokenizer.pretokenize import PatternCutter

GPT2 = PatternCutter("gpt2")


def test_the_longest_of_those_that_begin_at_one_place_is_taken() -> None:
    cutter = AddedTokensCutter(("<a", "<a>", "  "), GPT2)
    assert cutter.cut("x<a> <ab   y") == [b"x", b"<a>", b" ", b"<a", b"b", b"  ", b" y"]


def test_what_lies_between_is_normalised_on_its_own() -> None:
    cutter = AddedTokensCutter(("\u0301",), GPT2, Nfc())
    assert cutter.cut("e\u0301e\u0302") == [b"e", "\u0301".encode(), "ê".encode()]
    assert not cutter.is_lossless


@given(text=st.text("<a> b", max_size=20))
def test_the_words_joined_are_the_text(text: str) -> None:
    cutter = AddedTokensCutter(("<a>", "  "), GPT2)
    assert cutter.is_lossless
    assert b"".join(cutter.cut(text)) == text.encode()
