"""Texts in little room: whole lines, and differences that are differences."""

from __future__ import annotations

import re

from groundup.report.data_excerpts import cut, difference, excerpt, same_but_for_space

MARKED = re.compile(r"<mark>(.*?)</mark>", re.DOTALL)


def test_differences_are_marked_and_escaped() -> None:
    kept, removed = difference("a <b> c", "a <i> c")
    assert kept == "a &lt;<mark>b</mark>&gt; c"
    assert removed == "a &lt;<mark>i</mark>&gt; c"


def test_the_end_of_an_excerpt_is_no_difference() -> None:
    same = "one two three four five six seven eight nine ten. " * 12
    kept, removed = difference(f"old {same}", f"quite new {same}", most=120)
    assert kept.count("<mark>") == removed.count("<mark>") == 1
    assert kept.startswith("<mark>old</mark>")
    assert kept.endswith("…")


def test_lines_that_both_have_are_never_marked() -> None:
    lines = [f"* [Meetup in town {n}](https://meetup.example/{n})" for n in range(40)]
    more = [*lines[:3], "* [Meetup of others](https://others.example)", *lines[3:]]
    kept, removed = difference("\n".join(more), "\n".join(lines))
    assert MARKED.findall(kept) == ["* [Meetup of others](https://others.example)"]
    assert MARKED.findall(removed) == []


def test_only_the_words_that_differ_are_marked_in_a_line() -> None:
    kept, removed = difference(
        "Same.\nBorn in May 1785, Anne.\nEnd.", "Same.\nBorn in May 1785, Ann.\nEnd."
    )
    assert MARKED.findall(kept) == ["Anne"]
    assert MARKED.findall(removed) == ["Ann"]


def test_spaces_around_a_word_are_not_marked() -> None:
    kept, removed = difference("four candidates to fill", "four to fill")
    assert MARKED.findall(kept) == ["candidates"]
    assert "<mark>" not in removed


def test_a_difference_far_behind_is_shown_from_its_line_on() -> None:
    before = "".join(f"This line {n} is the same in both.\n" for n in range(500))
    kept, removed = difference(before + "A.\nLast.", before + "B.\nLast.")
    assert kept.startswith("… ")
    assert MARKED.findall(kept) == ["A"]
    assert MARKED.findall(removed) == ["B"]
    assert "This line 499 is the same in both.\n" in kept


def test_excerpts_end_with_whole_lines() -> None:
    text = "".join(f"Line {n} of a text.\n" for n in range(90))
    told = excerpt(text)
    assert told.endswith("\n…")
    assert set(told.split("\n")[:-1]) <= set(text.splitlines())
    assert excerpt("Title\n" + "word " * 300).count("word") > 20
    assert excerpt("short\ntext") == "short\ntext"


def test_words_are_not_cut_where_there_are_some() -> None:
    assert cut("one two three", 8) == "one two …"
    assert cut("x" * 50, 8) == "x" * 8 + " …"


def test_white_space_alone_is_told_apart() -> None:
    assert same_but_for_space("a  b\nc", "a b c")
    assert not same_but_for_space("a b", "a. b")
