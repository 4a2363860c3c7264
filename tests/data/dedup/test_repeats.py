"""Repeated lines and substrings from shards to shards."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.dedup import LinesConfig, SubstringsConfig, cut_repeated
from groundup.data.dedup.cut import cut_text
from groundup.data.dedup.repeats import SPAN
from groundup.runtime import generator
from tests.data.dedup.shards import documents, kept, removed, write_shards

MENU = "Home | About us | Contact | Imprint"


def test_a_line_in_enough_documents_is_left_in_one(tmp_path: Path) -> None:
    texts = {f"t/{n}": f"  {MENU} \nThis is the text of page {n}.\n{MENU}" for n in range(4)}
    config = LinesConfig(min_bytes=24, min_documents=3)
    shards = cut_repeated(write_shards(tmp_path, documents(texts), 2), config, tmp_path / "out")
    left = kept(shards)
    assert sorted(text.count(MENU) for text in left.values()) == [0, 0, 0, 2]
    assert all(f"page {name[2:]}." in text for name, text in left.items())
    gone = removed(shards)
    assert len(gone) == 3
    [row] = [row for row in gone.values() if row["id"] == min(gone)]
    assert (row["stage"], row["reason"]) == ("dedup_lines", "repeated_lines")
    assert row["detail"] == "2 pieces, 74 bytes, stand in other documents too"
    assert row["text"] == f"  {MENU} \n{MENU}"


def test_a_line_can_go_from_all_and_a_document_with_nothing_else_is_dropped(
    tmp_path: Path,
) -> None:
    texts = {"t/a": f"{MENU}\n", "t/b": f"{MENU}\nOther.", "t/c": "Other."}
    config = LinesConfig(min_bytes=24, min_documents=2, keep_one=False)
    shards = cut_repeated(write_shards(tmp_path, documents(texts), 1), config, tmp_path / "out")
    assert kept(shards) == {"t/b": "Other.", "t/c": "Other."}
    assert removed(shards)["t/a"]["reason"] == "only_repeated_lines"


def test_lines_in_too_few_documents_or_too_short_are_let_be(tmp_path: Path) -> None:
    texts = {"t/a": f"{MENU}\n{MENU}\n{MENU}\nshort", "t/b": "short", "t/c": f"{MENU}\nshort"}
    rows = documents(texts)
    config = LinesConfig(min_bytes=24, min_documents=3)
    assert kept(cut_repeated(write_shards(tmp_path, rows, 2), config, tmp_path / "out")) == texts


def longest_shared(a: bytes, b: bytes) -> int:
    """The length of the longest substring of both, by the textbook's table."""
    longest, before = 0, [0] * (len(b) + 1)
    for x in a:
        row = [0] * (len(b) + 1)
        for j, y in enumerate(b):
            if x == y:
                row[j + 1] = before[j] + 1
        longest, before = max(longest, *row), row
    return longest


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("abé"), min_size=0, max_size=60), min_size=2, max_size=4),
    st.integers(1, 5),
)
def test_long_repeats_go_and_short_ones_stay(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], sample: int
) -> None:
    config = SubstringsConfig(min_bytes=8, sample_bytes=sample)
    place = tmp_path_factory.mktemp("substrings")
    rows = documents({f"t/{number}": text for number, text in enumerate(texts)})
    shards = cut_repeated(write_shards(place, rows, 2), config, place / "out")
    data = [text.encode() for text in texts]
    gone = removed(shards)
    for number, mine in enumerate(data):
        others = [longest_shared(mine, o) for i, o in enumerate(data) if i != number]
        if f"t/{number}" in gone:
            assert max(others) >= config.min_bytes
    for i, a in enumerate(data):
        for j, b in enumerate(data[:i]):
            if a != b and longest_shared(a, b) >= config.sure_bytes:
                assert f"t/{i}" in gone or f"t/{j}" in gone


def test_a_passage_that_was_pasted_into_texts_is_left_in_one(tmp_path: Path) -> None:
    draw = generator(5, "pasted")
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    paste = "".join(draw.choice(letters, 600))
    texts = {
        f"t/{n}": "".join(draw.choice(letters, 900)) + paste + "".join(draw.choice(letters, 400))
        for n in range(5)
    }
    config = SubstringsConfig()
    shards = cut_repeated(write_shards(tmp_path, documents(texts), 2), config, tmp_path / "out")
    lengths = sorted(len(text) for text in kept(shards).values())
    assert lengths[-1] == 1900
    assert all(1300 <= n <= 1300 + 2 * (config.sample_bytes - 1) for n in lengths[:-1])
    assert len(removed(shards)) == 4


def test_rules_and_short_lines_are_let_be(tmp_path: Path) -> None:
    rule, heading, said = "=" * 50, "## Backwards Compatibility", "word " * 9
    texts = {f"t/{n}": f"{heading}\n{rule}\n{said}\n| --- | --- |\n{n}" for n in range(9)}
    config = LinesConfig()
    shards = cut_repeated(write_shards(tmp_path, documents(texts), 2), config, tmp_path / "out")
    left = kept(shards)
    assert all(rule in text and heading in text for text in left.values())
    assert sum(said in text for text in left.values()) == 1


def test_words_stay_whole_and_scraps_go(tmp_path: Path) -> None:
    shared = " ".join(f"shared{n}" for n in range(60))
    texts = {
        "t/a": f"Alone in front pre{shared}fix alone behind. " + "Alone. " * 40,
        "t/b": f"Other in front pre{shared}ture other behind. " + "Other. " * 40,
        "t/c": f"A scrap. {shared}",
        "t/d": f"Bits. {shared}",
    }
    config = SubstringsConfig()
    shards = cut_repeated(write_shards(tmp_path, documents(texts), 2), config, tmp_path / "out")
    words = {word for text in texts.values() for word in text.split()}
    left = kept(shards)
    assert all(set(text.split()) <= words for text in left.values())
    gone = removed(shards)
    assert len(gone) == 3
    assert {name for name, row in gone.items() if row["reason"].startswith("only")} == (
        {"t/c", "t/d"} & set(gone)
    )
    assert {"t/a", "t/b"} <= set(left)


def test_a_cut_does_not_split_a_character() -> None:
    span = np.array([(0, 1, 5)], dtype=SPAN)
    assert cut_text("éaéb", span) == ("éb", ["aé"])
    assert cut_text("aéé", np.array([(0, 2, 4)], dtype=SPAN)) == ("aéé", [])


def test_configs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="min_documents=1 must be at least 2"):
        LinesConfig(min_documents=1)
    with pytest.raises(ValueError, match="min_bytes=7 must be at least 8"):
        SubstringsConfig(min_bytes=7)
