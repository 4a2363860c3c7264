"""Cutting long texts and choosing what is held out."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data import split
from groundup.data.split import HeldoutChooser, content_hash, cut_text, falls_in_heldout


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="ab .\n。é😀", max_size=300), limit=st.integers(4, 64))
def test_pieces_joined_give_the_text_and_keep_the_limit(text: str, limit: int) -> None:
    pieces = cut_text(text, limit)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= limit for piece in pieces)
    assert all(pieces) or text == ""


def plain_cut_text(text: str, limit_bytes: int) -> list[str]:
    """What `cut_text` gives, found by a search of all that fits for each border."""
    data = text.encode()
    borders = (rb"\n[ \t]*\n+", rb"\n", rb"[.!?][\"')\]]*[ \t]+|\xe3\x80\x82", rb"[ \t]+")
    pieces, start = [], 0
    while len(data) - start > limit_bytes:
        limit = start + limit_bytes
        end = limit
        while end > start + 1 and data[end] & 0xC0 == 0x80:
            end -= 1
        for border in borders:
            ends = [match.end() for match in re.compile(border).finditer(data, start, limit)]
            if ends and ends[-1] >= start + limit_bytes // 2:
                end = ends[-1]
                break
        pieces.append(data[start:end].decode())
        start = end
    return [*pieces, data[start:].decode()]


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from([*'a.!?")] \t\n', "。", "、", "é", "😀"]), st.integers(1, 20)),
        max_size=60,
    ),
    limit=st.integers(4, 90),
    near=st.integers(1, 40),
)
def test_the_cut_is_where_a_search_of_all_that_fits_finds_it(
    parts: list[tuple[str, int]], limit: int, near: int
) -> None:
    text = "".join(character * n for character, n in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "_NEAR_BYTES", near)
        assert cut_text(text, limit) == plain_cut_text(text, limit)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("aaa\n\nbb\nc dddd", ["aaa\n\n", "bb\nc dddd"]),  # paragraph before line
        ("aaaa\nbb ccccccc", ["aaaa\n", "bb ccccccc"]),  # line before word
        ("aaaa. bb ccccc", ["aaaa. ", "bb ccccc"]),  # sentence before word
        ("aaaa bb cccccc", ["aaaa bb ", "cccccc"]),  # the last word that fits
        ("aaaaaaaaaaaaa", ["aaaaaaaaaa", "aaa"]),  # nowhere to cut
        ("あああああ", ["あああ", "ああ"]),  # never inside a character
    ],
)
def test_a_cut_takes_the_best_border_that_fits(text: str, pieces: list[str]) -> None:
    assert cut_text(text, 10) == pieces


def test_short_texts_and_no_limit_are_left_alone() -> None:
    assert cut_text("abc\n\ndef", 8) == ["abc\n\ndef"]
    assert cut_text("abc\n\ndef" * 100, None) == ["abc\n\ndef" * 100]


def test_the_fraction_is_kept() -> None:
    held = [falls_in_heldout(content_hash(f"document {i}"), 0.1) for i in range(20_000)]
    assert np.mean(held) == pytest.approx(0.1, abs=0.01)


def test_a_larger_fraction_keeps_what_a_smaller_one_held_out() -> None:
    digests = [content_hash(str(i)) for i in range(2000)]
    small = {d for d in digests if falls_in_heldout(d, 0.05)}
    large = {d for d in digests if falls_in_heldout(d, 0.10)}
    assert small < large


def choose(texts: list[str], fraction: float, minimum: int = 1) -> dict[str, set[str]]:
    chooser: HeldoutChooser[str] = HeldoutChooser(fraction, minimum)
    places: dict[str, set[str]] = {"train": set(), "heldout": set()}
    sent = [pair for text in texts for pair in chooser.send(content_hash(text), text)]
    for side, text in [*sent, *chooser.finish()]:
        assert text not in places["train"] | places["heldout"]
        places[side].add(text)
    assert places["train"] | places["heldout"] == set(texts)
    return places


@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 60), extra=st.integers(0, 60), fraction=st.sampled_from([0.1, 0.3]))
def test_adding_texts_moves_none_of_the_others(n: int, extra: int, fraction: float) -> None:
    texts = [f"text {i}" for i in range(n)]
    before = choose(texts, fraction)
    after = choose(texts + [f"extra {i}" for i in range(extra)], fraction)
    by_hash = {text for text in texts if falls_in_heldout(content_hash(text), fraction)}
    assert after["heldout"] & set(texts) >= by_hash
    if by_hash:
        assert after["heldout"] & set(texts) == before["heldout"] == by_hash


@pytest.mark.parametrize("minimum", [1, 3])
def test_a_small_collection_holds_out_its_smallest_hashes(minimum: int) -> None:
    texts = [f"text {i}" for i in range(8)]
    held = choose(texts, 1e-9, minimum)["heldout"]
    by_hash = sorted(texts, key=lambda t: int.from_bytes(content_hash(t), "big") % 2**32)
    assert held == set(by_hash[:minimum])
    assert choose(texts[::-1], 1e-9, minimum)["heldout"] == held


def test_one_always_stays_to_train_on() -> None:
    assert choose(["only"], 1e-9) == {"train": {"only"}, "heldout": set()}
    assert len(choose(["one", "two"], 1e-9, minimum=5)["train"]) == 1
