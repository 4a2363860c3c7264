"""Rows of the page's tables: pairs of texts that are nearly the same."""

from __future__ import annotations

import pytest

from groundup.report.data_removed import Pair
from groundup.report.data_tables import pair, similarity


def _pair(kept: str, removed: str, score: float) -> dict[str, str]:
    row = {"id": "a/b#0", "kept_id": "a/a#0", "score": score, "text": removed}
    return pair(Pair(row, removed_text=removed, kept_text=kept))


def test_texts_that_differ_in_white_space_say_so_and_have_no_marks() -> None:
    told = _pair("One two.\nThree four.", "One two. Three\nfour.", 1.0)
    assert told["note"] == "they differ in white space only"
    assert "<mark>" not in told["kept"] + told["removed"]
    assert told["kept"] == "One two.\nThree four."


def test_texts_of_the_same_runs_say_what_else_may_differ() -> None:
    told = _pair("One two three.", "One TWO three!", 1.0)
    assert told["similarity"] == "1"
    assert "other order, marks or capitals" in told["note"]
    assert "<mark>" in told["kept"]


@pytest.mark.parametrize("score", [0.9951, 0.999, 0.99951, 1 - 1e-9])
def test_what_is_not_the_same_is_never_one(score: float) -> None:
    assert float(similarity(score)) < 1
    assert float(similarity(score)) == pytest.approx(score, abs=0.0011)


def test_without_the_stages_the_excerpt_that_was_kept_is_shown() -> None:
    row = {"id": "a/b#0", "kept_id": "a/a#0", "score": 0.9, "text": "What was removed."}
    told = pair(Pair(row))
    assert (told["kept"], told["removed"]) == ("", "What was removed.")
