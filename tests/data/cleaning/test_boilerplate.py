"""C4's rules on lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.cleaning import C4Config, drop_lines
from groundup.data.cleaning.boilerplate import judge_lines

PAGE = """Home | Products | Contact
A fox came by the mill at night.[2]
Read our Privacy Policy before you go on.
Please turn on JavaScript to see it.
No.
It left again, and so on ...
"And that," she said, "was all."
"""


def test_a_page_is_left_with_its_sentences() -> None:
    text, dropped = drop_lines(PAGE, C4Config())
    assert text == 'A fox came by the mill at night.\n"And that," she said, "was all."'
    assert dropped == {
        "no_end_mark": 2,
        "names_policy": 1,
        "names_javascript": 1,
        "too_few_words_in_line": 1,
    }


def test_lines_of_other_scripts_are_lines_of_words() -> None:
    """Nine characters of Chinese are four words; a stop of theirs ends a line; no run is a word."""
    chinese = "狐狸夜里经过磨坊。\n首页\n「誰も起きなかった」\n" + "长" * 1200 + "。"
    text, dropped = drop_lines(chinese, C4Config())
    assert text == chinese.replace("首页\n", "")
    assert dropped == {"no_end_mark": 1}
    rules = C4Config(require_end_mark=False)
    assert drop_lines("สวัสดีครับทุกคน\nกขค", rules)[0] == "สวัสดีครับทุกคน"


def test_fenced_code_keeps_its_lines() -> None:
    text = "Menu\nRun this now:\n\n```py\nx = 1\n\n\ny\n```\n\nThen look at it.\n"
    left = "```py\nx = 1\n\n\ny\n```\n\nThen look at it."
    assert drop_lines(text, C4Config()) == (left, {"no_end_mark": 2})


def test_each_line_rule_can_be_off() -> None:
    off = C4Config(
        require_end_mark=False,
        min_line_words=None,
        max_word_characters=None,
        remove_citations=False,
        drop_javascript=False,
        drop_policies=False,
    )
    assert drop_lines(PAGE, off) == (PAGE.strip("\n"), {})


def test_a_line_with_an_endless_word_goes() -> None:
    line = f"It says {'x' * 1001} here."
    assert drop_lines(line, C4Config()) == ("", {"word_too_long": 1})
    assert drop_lines(line.replace("xx", "x", 1), C4Config())[1] == {}


@pytest.mark.parametrize(
    ("line", "lorem", "curly"),
    [
        ("Here is Lorem Ipsum for you.", True, False),
        ("A line with { in it.", False, True),
        ("JavaScript has { in it.", False, False),  # the line goes before it is asked
        ("menu { menu", False, False),
        ("The terms of use say { so.", False, True),
    ],
)
def test_texts_are_judged_by_lines_that_stay(line: str, lorem: bool, curly: bool) -> None:
    judged = judge_lines(f"All is well here.\n{line}\n", C4Config())
    assert (judged.has_lorem_ipsum, judged.has_curly_bracket) == (lorem, curly)


@given(st.text(st.sampled_from("ab .!\n{[1]"), max_size=80))
@settings(max_examples=80, deadline=None)
def test_what_is_left_stays_when_lines_are_dropped_again(text: str) -> None:
    rules = C4Config(remove_citations=False)
    once, _ = drop_lines(text, rules)
    assert drop_lines(once, rules) == (once, {})
