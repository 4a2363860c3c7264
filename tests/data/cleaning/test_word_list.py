"""The user's word list."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.data.cleaning import WordList
from groundup.runtime import DataError


def test_words_and_phrases_match_whole_in_whatever_case(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("# a comment\nDamn\n\nhot dog stand\n中国\n", "utf-8")
    words = WordList.load(tmp_path / "words.txt")
    assert words.count("DAMN, that hot   dog\nstand!") == 2
    assert words.count("goddamn hot dogs stand") == 0
    assert words.count("我是中国人") == 1
    assert words.count("") == 0


@pytest.mark.parametrize(("content", "message"), [("", "holds no words"), ("# only\n", "no words")])
def test_an_empty_list_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "words.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        WordList.load(tmp_path / "words.txt")


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"word_list=.*cannot be read"):
        WordList.load(tmp_path / "words.txt")
