"""Lines and paragraphs: the kernels against str.split and re."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.lines import (
    BLANK,
    BULLET,
    ELLIPSIS,
    ENDS_SENTENCE,
    count_marks,
    find_lines,
    find_paragraphs,
)

text_of_lines = st.text(st.sampled_from("ab.…•- \n\n#!。中」ก"), max_size=60)


@given(text_of_lines)
@example("\n\n\n")
@example("a\n")
@settings(max_examples=100, deadline=None)
def test_lines_are_those_between_newlines(text: str) -> None:
    expected = text.removesuffix("\n").split("\n") if text else []
    found = find_lines(code_points(text))
    assert found.lengths.tolist() == [len(line) for line in expected]
    assert found.widths.tolist() == [len(line) + 2 * line.count("中") for line in expected]
    assert len(set(found.hashes.tolist())) == len(set(expected))
    for line, kind in zip(expected, found.kinds.tolist(), strict=True):
        assert bool(kind & BLANK) == (not line.strip())
        assert bool(kind & BULLET) == line.strip().startswith(("•", "-"))
        assert bool(kind & ELLIPSIS) == line.strip().endswith(("...", "…"))
        if line.strip():
            assert bool(kind & ENDS_SENTENCE) == line.endswith((".", "!", "。", "」"))


@given(text_of_lines)
@settings(max_examples=80, deadline=None)
def test_paragraphs_are_parted_by_two_newlines(text: str) -> None:
    stripped = text.strip()
    expected = re.split(r"\n{2,}", stripped) if stripped else []
    hashes, lengths = find_paragraphs(code_points(text))
    assert lengths.tolist() == [len(paragraph) for paragraph in expected]
    assert len(set(hashes.tolist())) == len(set(expected))


@given(text_of_lines)
@settings(max_examples=80, deadline=None)
def test_marks_are_counted_as_str_count_does(text: str) -> None:
    expected = (text.count("\n"), text.count("#"), text.count("...") + text.count("…"))
    assert count_marks(code_points(text)) == expected
