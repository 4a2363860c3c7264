"""What is code and what is prose."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.cleaning.prose import code_blocks, is_source_code, parts_of, prose_of


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("a\n```\nb\n```\nc", "a\nc"),
        ("a\n````md\n```\nb\n```\n````\nc", "a\nc"),  # a longer fence holds a shorter one
        ("Title\n~~~~~\na\n\nOther\n~~~~~\nb", "Title\n~~~~~\na\n\nOther\n~~~~~\nb"),  # headings
        ("1. a\n    ```js {1,2}\n    b\n    ```\n2. c", "1. a\n2. c"),
        ("> ```\n> b\n> ```\nc", "c"),
        ("a ```b``` c\n```d``` e", "a ```b``` c\n```d``` e"),  # spans within a line
        ("a\n```\nnever closed\nb", "a\n```\nnever closed\nb"),
        ("```\n```", ""),
        ("", ""),
    ],
)
def test_fenced_blocks_are_left_out(text: str, prose: str) -> None:
    assert prose_of(text) == prose


@given(st.text(st.sampled_from("```a> \n\n"), max_size=80))
@settings(max_examples=150, deadline=None)
def test_parts_make_up_the_text_and_prose_has_no_further_block(text: str) -> None:
    parts = list(parts_of(text, code_blocks(text)))
    assert "".join(part for part, _ in parts) == text
    for part, is_code in parts:
        if is_code:
            lines = part.removesuffix("\n").split("\n")
            assert len(lines) >= 2
            assert all(line.lstrip(" >")[:3] == "```" for line in (lines[0], lines[-1]))


def test_many_fences_that_open_and_never_close_take_no_time() -> None:
    text = "```py\n" * 200_000
    started = time.process_time()
    assert code_blocks(text) == []
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("path", "is_code"),
    [
        ("src/main.RS", True),
        ("a.tar.gz!/b/c.py", True),
        ("lib/x.js.gz", True),
        ("Dockerfile", True),
        ("setup.toml", True),
        ("paper.tex", False),
        ("notes.org", False),
        (".py", False),
        ("book.txt.gz", False),
        ("page.html", False),
        ("rows.jsonl", False),
    ],
)
def test_source_code_is_known_by_its_name(path: str, is_code: bool) -> None:
    assert is_source_code(path) == is_code
