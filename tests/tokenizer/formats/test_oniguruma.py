from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from groundup.tokenizer.formats.oniguruma import ONIGURUMA_PATTERNS, pattern_problem
from groundup.tokenizer.pretokenize import PatternCutter


@pytest.mark.parametrize("name", ONIGURUMA_PATTERNS)
def test_published_patterns_cut_alike_in_the_library(many_texts, name: str) -> None:
    theirs = pre_tokenizers.Split(Regex(ONIGURUMA_PATTERNS[name]), "isolated")
    ours = PatternCutter(name)
    for text in many_texts:
        assert ours.split(text) == [piece for piece, _ in theirs.pre_tokenize_str(text)]


ATOMS = st.sampled_from(
    [
        r"\p{L}",
        r"\p{Lu}",
        r"\s",
        r"\S",
        "[^\\s\\p{L}]",
        "[a-c_]",
        " ",
        "a",
        "'",
        r"\-",
        "天",
        "#",
        ".",
    ]
)
QUANTIFIERS = st.sampled_from(["", "?", "*", "+", "{1,3}", "{2}", "++", "?+", "+?", "*?"])
PIECES = st.tuples(ATOMS, QUANTIFIERS).map("".join)
SEQUENCES = st.lists(PIECES, min_size=1, max_size=3).map("".join)
WRAPPED = st.one_of(
    SEQUENCES,
    st.tuples(SEQUENCES, SEQUENCES).map(lambda pair: f"(?:{pair[0]}|{pair[1]})+"),
    st.tuples(SEQUENCES, st.sampled_from("=!"), ATOMS).map(lambda t: f"{t[0]}(?{t[1]}{t[2]})"),
    st.just("(?i:'s|'t|'re|'ve|'m|'ll|'d)"),
)
DRAWN_PATTERNS = st.lists(WRAPPED, min_size=1, max_size=3).map("|".join)


@given(pattern=DRAWN_PATTERNS, text=st.text("aAbc 'ſs\n天é_-#1\t", max_size=20))
@settings(deadline=None, max_examples=300)
def test_patterns_without_a_problem_cut_alike_in_the_library(pattern: str, text: str) -> None:
    problem = pattern_problem(pattern)
    assume(problem is None or "matches no text at all" not in problem)
    assert problem is None
    theirs = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
    assert PatternCutter(pattern).split(text) == [piece for piece, _ in theirs]


@pytest.mark.parametrize(
    "pattern",
    [
        r"\p{N}{1,3}+",  # a repetition of the whole, not a possessive one
        "a$",  # the end of each line
        "^a",
        r"\w+",
        r"[a-z&&[^b]]",
        r"(?i:ss)",  # ß
        r"(?<=a)b",
        r"(?m:a)",
        r"(a)\1",
        r"a{2}?",
        r"\X",
        r"[[:alpha:]]",
        r"a*",  # nothing, which is one more match in one of the two
        r"(?=a)|b",
    ],
)
def test_what_means_another_thing_to_the_library_is_a_problem(pattern: str) -> None:
    assert pattern_problem(pattern) is not None
