"""Scores of texts, by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.cleaning import SCORE_SCHEMA, SCORES, CleaningConfig, Scorer, score_table

WEB = CleaningConfig(preset="web", identify_language=False)
SCORER = Scorer(WEB)


def test_a_small_text_by_hand() -> None:
    """21 words, nine of them punctuation; lines 2 and 4 are the same."""
    text = "# The owl and the fox.\n- Have more ...\n\n- Have more ...\nthat is 7 {…}"
    scores = SCORER.score(text)
    expected = {
        "n_characters": 69,
        "n_words": 21,
        "gopher_words": 12,
        "gopher_mean_word_length": (3 + 3 + 3 + 3 + 3 + 4 + 4 + 4 + 4 + 4 + 2 + 1) / 12,
        "gopher_hashes": 1 / 21,
        "gopher_ellipses": 3 / 21,
        "gopher_bullet_lines": 2 / 5,
        "gopher_ellipsis_lines": 2 / 5,
        "gopher_alphabetic_words": 11 / 21,
        "gopher_alphabetic_full_words": 11 / 12,
        "gopher_stop_words": 3,
        "repetition_lines": 1 / 4,
        "repetition_line_characters": 15 / 69,
        "repetition_paragraphs": 0,
        "repetition_top_2_gram": 2 * len("- Have") / 69,
        "c4_sentences": 4,
        "c4_curly_bracket": 1,
        "fineweb_end_mark_lines": 3 / 4,
        "fineweb_short_lines": 1,
        "fineweb_duplicate_line_characters": 15 / 65,
        "fineweb_newlines_per_word": 4 / 21,
        "listed_words": None,
        "quality": None,
        "language": None,
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


@given(st.text(max_size=50) | st.text(st.sampled_from("a.\n -…#"), max_size=50))
@settings(max_examples=60, deadline=None)
def test_shares_are_shares_of_any_text(text: str) -> None:
    scores = SCORER.score(text)
    assert set(scores) == set(SCORES)
    for name, value in scores.items():
        if value is not None and name.startswith(("repetition", "fineweb")) and "per" not in name:
            assert 0 <= value <= 1 or "top" in name, name


def test_a_table_is_scored_row_for_row_and_limits_play_no_part() -> None:
    texts = ["", "One. Two.", "中文。没有空格。", "a\n" * 40]
    table = pa.table({"id": ["a", "b", "c", "d"], "text": texts})
    scores = score_table(table, WEB)
    assert scores.schema == SCORE_SCHEMA
    assert scores.column("id").to_pylist() == ["a", "b", "c", "d"]
    for i, text in enumerate(texts):
        assert scores.slice(i, 1).to_pylist()[0] == {"id": "abcd"[i], **SCORER.score(text)}
    strict = CleaningConfig(
        preset="web", identify_language=False, repetition={"max_top_2_gram": 0.01}
    )
    assert score_table(table, strict).equals(scores)
    assert scores.column("unspaced_words").to_pylist()[2] == 3 / 5  # six characters, two stops


def test_chinese_by_hand() -> None:
    """Twelve characters are six words, beside four stops; a line of six is as wide as 18."""
    scores = SCORER.score("关关雎鸠，在河。\n窈窕淑女，好逑。\n")
    expected = {
        "n_words": 10,
        "unspaced_words": 6 / 10,
        "unmarked_words": 0,
        "gopher_words": 6,
        "gopher_mean_word_length": 0,
        "gopher_alphabetic_words": 6 / 10,
        "gopher_alphabetic_full_words": 1,
        "c4_sentences": 2,
        "fineweb_end_mark_lines": 1,
        "fineweb_short_lines": 1,
        "fineweb_newlines_per_word": 2 / 10,
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert SCORER.score("窈窕淑女，君子好逑。钟鼓乐之。")["fineweb_short_lines"] == 0  # 12 * 3 + 3


def test_thai_has_words_of_three_letters_and_no_marks() -> None:
    scores = SCORER.score("สวัสดีครับ")  # seven letters, three of them with marks above
    assert scores["n_words"] == scores["gopher_words"] == pytest.approx(7 / 3)
    assert scores["unmarked_words"] == scores["unspaced_words"] == 1


def test_fenced_blocks_and_source_code_are_no_prose() -> None:
    prose, code = "The fox came by.\nIt left again.\n", "```js\nlet a = {};\n}\n}\n}\n```\n"
    plain, mixed = SCORER.score(prose), SCORER.score(prose + code)
    assert mixed["code"] == len(code) / len(prose + code)
    assert mixed["n_characters"] == len(prose + code)
    changed = {name for name in SCORES if plain[name] != mixed[name]}
    assert changed == {"code", "n_characters"}
    assert plain["code"] == 0
    assert SCORER.score("def f():\n    return 1\n", "a/b.py")["code"] == 1
    table = pa.table({"id": ["a", "b"], "text": ["x = 1", "x = 1"], "path": ["a.py", None]})
    assert score_table(table, WEB).column("code").to_pylist() == [1, 0]


def test_lines_of_spaces_are_blank() -> None:
    assert SCORER.score("One.\n  \nTwo.\n  \nThree.\n  \n")["repetition_lines"] == 0


def test_slices_and_chunks_of_a_table_are_scored_alike() -> None:
    table = pa.table({"id": list("abc"), "text": ["x y", "y z", "z x"]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert score_table(chunked, WEB).equals(score_table(table, WEB))
    assert score_table(table.slice(1, 1), WEB).equals(score_table(table, WEB).slice(1, 1))
