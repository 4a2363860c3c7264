"""What is kept, what is dropped, and what is said of it."""

from __future__ import annotations

import pytest

from groundup.runtime import StorageError, TokenizerError
from groundup.tokenizer.counts import (
    CountConfig,
    CountedWords,
    TextSpan,
    WordCounts,
    count_plainly,
    count_words,
    count_words_in,
    runs,
    shards_of,
)

from .small_corpus import (
    QWEN2,
    SMALL,
    Said,
    changed,
    plain_counts,
    texts_of,
    write_corpus,
)


def test_counts_beyond_32_bits_are_exact(tmp_path) -> None:
    def loop(texts, cutter, max_in_text):
        found, left_out = count_plainly(texts, cutter, max_in_text)
        return CountedWords(found.text, found.lengths, found.counts * (3 << 40)), left_out

    counts = count_words_in(["a a", "a"], QWEN2, SMALL, loop=loop)
    assert counts.as_dict() == {b" a": 3 << 40, b"a": 6 << 40}
    counts.save(tmp_path / "counts")
    assert WordCounts.load(tmp_path / "counts").as_dict() == counts.as_dict()


def test_rare_words_are_dropped_and_that_is_recorded(tmp_path) -> None:
    files = write_corpus(tmp_path / "corpus")
    truth = plain_counts(texts_of(files))
    config, said = changed(SMALL, min_count=5), list[str]()
    counts = count_words(
        shards_of(files, config), QWEN2, config, folder=tmp_path / "c", listener=Said(said)
    )
    assert counts.as_dict() == {word: n for word, n in truth.items() if n >= 5}
    dropped = {word: n for word, n in truth.items() if n < 5}
    assert counts.report.n_distinct == len(truth)
    assert counts.report.n_dropped_distinct == len(dropped) > 100
    assert counts.report.n_dropped_words == sum(dropped.values())
    assert counts.report.n_dropped_bytes == sum(len(word) * n for word, n in dropped.items())
    assert any("words that occur less than 5 times" in text for text in said)


def test_min_count_rises_as_far_as_the_result_needs_and_no_further(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "BLOCK_BYTES", 200)
    files = write_corpus(tmp_path / "corpus")
    truth = plain_counts(texts_of(files))

    def size(min_count: int) -> int:
        return sum(len(word) + 12 for word, n in truth.items() if n >= min_count)

    for result_bytes in (size(1) - 1, size(3), size(9), size(200)):
        config, said = changed(SMALL, result_bytes=result_bytes), list[str]()
        counts = count_words(
            shards_of(files, config), QWEN2, config, folder=tmp_path / "c", listener=Said(said)
        )
        least = next(n for n in range(1, 10**6) if size(n) <= result_bytes)
        assert counts.as_dict() == {word: n for word, n in truth.items() if n >= least}
        assert size(counts.report.min_count) == size(least)
        assert any("not only those below min_count=1: more do not" in text for text in said)


def test_loading_damaged_counts_says_what_to_do(tmp_path) -> None:
    count_words_in(["a b"], QWEN2).save(tmp_path / "counts")
    (tmp_path / "counts" / "text.u8").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"counts holds no whole word counts; count .* again"):
        WordCounts.load(tmp_path / "counts")


def test_no_words_is_an_error_with_a_name(tmp_path) -> None:
    (tmp_path / "empty.txt").write_text("")
    for shards in (
        [],
        shards_of([tmp_path / "empty.txt"], SMALL),
        [(TextSpan(tmp_path / "empty.txt"),)],
    ):
        with pytest.raises(TokenizerError, match="there are no words to count; add text"):
            count_words(shards, QWEN2, SMALL, folder=tmp_path / "c")
    with pytest.raises(TokenizerError, match="there are no words to count; add text"):
        count_words_in([], QWEN2)
    with pytest.raises(TokenizerError, match=r"no word of 2 occurs min_count=9 times; lower"):
        count_words_in(["a b"], QWEN2, CountConfig(min_count=9))
