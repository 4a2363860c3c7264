"""Repair: what is mended, what is left alone, and that once is enough."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.cleaning import repair
from tests.data.cleaning.conftest import data_folder

ftfy = pytest.importorskip("ftfy")


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("schÃ¶n", "schön"),
        (
            "The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.",
            "The Mona Lisa doesn’t have eyebrows.",
        ),
        ("voilÃ  le travail", "voilà le travail"),
        ("e\u0301te\u0301", "été"),
        ("a\r\nb\rc\fd\u2028e", "a\nb\nc\nd\ne"),
        ("\ufeffa\x00b\x07c\x7f", "abc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("it\x92s \x85", "it’s …"),
        ("half \ud800 a pair", "half  a pair"),
    ],
)
def test_what_is_broken_is_mended(broken: str, mended: str) -> None:
    assert repair(broken) == mended


@pytest.mark.parametrize(
    "text",
    [
        "“Curly” quotes, ﬁ ligatures, ＷＩＤＥ letters &amp; entities stay.",
        "ÃO PAULO, Århus, naïve, \u200b zero width \u200d joiners",
        "天地玄黄\tقال नमस्ते \U0001f469\u200d\U0001f467",
        "tab\there\n\n\n  indented",
    ],
)
def test_what_a_writer_meant_stays(text: str) -> None:
    assert repair(text) == text


@given(
    st.text(st.sampled_from("Ã¢â‚¬™©é\u0301\x85\x92\r\n\x1b[m a") | st.characters(), max_size=40)
)
@settings(max_examples=150, deadline=None)
def test_once_is_enough(text: str) -> None:
    mended = repair(text)
    assert repair(mended) == mended
    assert unicodedata.is_normalized("NFC", mended)
    assert mended.encode().decode() == mended
    assert not set(mended) & set("\r\f\v\x00\x1b\x85")


def test_ftfys_own_examples_are_mended_as_they_should_be() -> None:
    """Those of its cases that are about the encoding alone."""
    n_right = n_cases = 0
    for path in sorted(data_folder("messy_ftfy").rglob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            if not isinstance(case, dict) or case.get("expect") != "pass":
                continue
            n_cases += 1
            wanted = case.get("fixed-encoding", case["fixed"])
            n_right += repair(case["original"]) == repair(wanted)
    if n_cases == 0:
        pytest.skip("no cases there")
    assert n_right >= 0.97 * n_cases, f"{n_right} of {n_cases}"
