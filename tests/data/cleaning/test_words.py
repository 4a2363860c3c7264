"""Words and sentences: the kernels against the patterns."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundup.data.cleaning.characters import character_bits, code_points
from groundup.data.cleaning.words import (
    HAS_LETTER,
    IS_ALPHABET,
    IS_SYMBOL,
    IS_UNSPACED,
    count_sentences,
    find_words,
    split_sentences,
    split_words,
)
from tests.data.cleaning.conftest import data_folder

ODD = "aB7_'’.,!?…\"”) \n\t\u00a0-—#中の。！｡ก\u0e34é\u0301हि½\x1c"
odd_text = st.text(st.sampled_from(ODD) | st.characters(codec="utf-8"), max_size=60)


def words_of(text: str) -> list[str]:
    found = find_words(code_points(text))
    stretches = zip(found.starts.tolist(), found.lengths.tolist(), strict=True)
    return [text[start : start + length] for start, length in stretches]


def sentences_of(line: str) -> int:
    line = line.strip()
    return count_sentences(code_points(line), 0, len(line), character_bits())


@given(odd_text)
@example("'a'b''c' 1.2,3..4 ,5 __ _'_")
@example("中\u0301 \u0301中a中")
@settings(max_examples=120, deadline=None)
def test_the_kernel_cuts_the_same_words_as_the_pattern(text: str) -> None:
    assert words_of(text) == split_words(text)


@given(odd_text)
@example('He said "No." (Yes!) 3.14 ... and?!')
@example("?！foo。”bar")
@settings(max_examples=120, deadline=None)
def test_the_kernel_counts_the_same_sentences_as_the_pattern(text: str) -> None:
    for line in text.split("\n"):
        assert sentences_of(line) == len(split_sentences(line))


@given(odd_text)
@settings(max_examples=60, deadline=None)
def test_words_leave_nothing_out_but_spaces(text: str) -> None:
    assert "".join(split_words(text)) == "".join(c for c in text if not c.isspace())


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("fox", HAS_LETTER),
        ("b2b", HAS_LETTER),
        ("1,000.5", 0),
        ("½", 0),
        ("___", IS_SYMBOL),
        ("_7", 0),
        ("...", IS_SYMBOL),
        ("\u0301", 0),
        ("語", HAS_LETTER | IS_UNSPACED),
        ("ท", HAS_LETTER | IS_UNSPACED | IS_ALPHABET),
    ],
)
def test_each_word_has_its_kind(word: str, kind: int) -> None:
    found = find_words(code_points(word))
    assert found.kinds.tolist() == [kind]


def test_naughty_strings_are_cut_alike() -> None:
    strings = json.loads((data_folder("messy_blns") / "blns.json").read_text(encoding="utf-8"))
    for text in strings:
        assert words_of(text) == split_words(text)


def test_equal_words_have_equal_hashes_and_others_do_not() -> None:
    found = find_words(code_points("to be or not to be"))
    hashes = found.hashes.tolist()
    assert hashes[:2] == hashes[4:]
    assert len(set(hashes)) == 4
