"""Lengths: documents put together again from their pieces, and medians of documents and of text."""

from __future__ import annotations

import numpy as np
import pytest

from groundup.report.data_lengths import Joined, LengthTally


def test_pieces_in_several_files_are_one_document() -> None:
    joined = Joined()
    files = [
        (["a/b.js#0", "a/b.js#1"], [10, 10]),
        (["a/b.js#2"], [10]),
        (["a/b.js#3", "a/c.txt#0", "a/d.csv#0", "a/d.csv#1.0", "a/d.csv#1.1"], [5, 7, 1, 2, 3]),
    ]
    found: list[tuple[str, int]] = []
    for ids, lengths in files:
        found += joined.add(ids, lengths)
        joined.end_file()
    found += joined.end()
    assert sorted(found) == [("a/b.js", 35), ("a/c.txt", 7), ("a/d.csv#0", 1), ("a/d.csv#1", 5)]
    assert joined.n_cut == 2


def test_documents_in_the_midst_of_a_file_are_given_at_once() -> None:
    joined = Joined()
    ids = [f"a/{n}.txt#0" for n in range(50)]
    assert len(list(joined.add(ids, range(50)))) == 48  # but for the first and the last
    assert len(list(joined.end())) == 2


def test_medians_of_documents_and_of_text() -> None:
    lengths = np.array([100] * 99 + [100_000])
    tally = LengthTally()
    for part in (lengths[:40], lengths[40:]):
        tally.add(part)
    found = tally.lengths()
    assert (found.n, found.total, found.longest) == (100, 109_900, 100_000)
    assert found.median == pytest.approx(100, rel=0.05)
    assert found.median_of_text == pytest.approx(100_000, rel=0.05)
    assert found.median_of_text <= found.longest
    assert sum(found.bins.values()) == found.n
