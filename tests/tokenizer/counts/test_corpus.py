"""Long documents are cut where no word spans, and files that cannot be read are named."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.runtime import DataError
from groundup.tokenizer.counts import (
    CountConfig,
    TextSpan,
    corpus,
    count_words,
    shards_of,
)
from groundup.tokenizer.normalize import Nfc, Nfkc
from groundup.tokenizer.pretokenize import PATTERNS, PatternCutter

from .small_corpus import (
    BERT,
    METASPACE,
    QWEN2,
    SMALL,
    Said,
    changed,
    plain_counts,
    write_corpus,
)

# One of each kind of character that a pattern tells apart, and the few it names.
KINDS = "sS天\u0301\u02b0" + "7½" + "'.(/" + " \t\n\r\xa0\u3000"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_word_spans_a_border_in_any_short_text(pattern) -> None:
    """Every text of three kinds of characters, and of four that matter most."""
    cut = PatternCutter(pattern).cut
    n_borders = 0
    for characters in (*product(KINDS, repeat=3), *product("s天7.'/ \n\r", repeat=4)):
        text = "".join(characters)
        for found in corpus._BORDERS.finditer(text):
            i = found.start()
            assert cut(text) == cut(text[:i]) + cut(text[i:]), (text, i)
            n_borders += 1
    assert n_borders > 3000


@settings(deadline=None, max_examples=300)
@given(
    text=st.text(alphabet=KINDS + "  eltvm\n😀", max_size=60), pattern=st.sampled_from([*PATTERNS])
)
def test_no_word_spans_a_border_in_longer_text(text, pattern) -> None:
    cut = PatternCutter(pattern).cut
    for found in corpus._BORDERS.finditer(text):
        i = found.start()
        assert cut(text) == cut(text[:i]) + cut(text[i:])


def pieces_of(text: str, cutter, document_bytes: int, normalizer=None) -> tuple[list[str], int]:
    words_of = cutter.cut if normalizer is None else lambda text: cutter.cut(normalizer(text))
    pieces, n_forced = corpus.pieces_of(text, document_bytes, words_of)
    return list(pieces), n_forced


@settings(deadline=None, max_examples=300)
@given(
    text=st.text(alphabet=KINDS + " etm\n😀", max_size=400),
    cutter=st.sampled_from([*map(PatternCutter, PATTERNS), BERT, METASPACE]),
    normalizer=st.sampled_from([None, Nfc(), Nfkc()]),
)
def test_pieces_have_the_words_of_the_whole(text, cutter, normalizer) -> None:
    pieces, n_forced = pieces_of(text, cutter, 64, normalizer)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) < 3 * 64 for piece in pieces)
    if n_forced == 0:
        prepared = [normalizer(p) if normalizer else p for p in (*pieces, text)]
        assert [word for piece in prepared[:-1] for word in cutter.cut(piece)] == cutter.cut(
            prepared[-1]
        )


@pytest.mark.parametrize("cutter", [*map(PatternCutter, PATTERNS), BERT, METASPACE], ids=str)
def test_real_text_is_cut_in_pieces_without_forcing(real_texts, cutter) -> None:
    text = "\n".join(real_texts)[:100_000]
    if cutter == METASPACE:  # by which only a space ends a word
        text = text.replace("\n", " ").replace("。", "。 ")
    pieces, n_forced = pieces_of(text, cutter, 4096)
    assert len(pieces) >= len(text) // 8192
    assert n_forced == 0
    assert Counter(w for piece in pieces for w in cutter.cut(piece)) == Counter(cutter.cut(text))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_text_without_a_space_is_cut_where_words_end(pattern) -> None:
    cutter = PatternCutter(pattern)
    for unit in ("天地玄黄,宇宙洪荒。日月,", "ab.cd(ef)", "x=1;y=22;", "\n\t \n  word\n\n"):
        pieces, n_forced = pieces_of(unit * 2000, cutter, 4096)
        assert (n_forced, len(pieces) > 3) == (0, True)
        assert [w for piece in pieces for w in cutter.cut(piece)] == cutter.cut(unit * 2000)


@pytest.mark.parametrize("text", ["天地" * 3000, "7" * 9000, " " * 9000, "\n" * 9000, "é'" * 4000])
def test_a_long_stretch_of_one_kind_is_cut_between_characters(text) -> None:
    pieces, _ = pieces_of(text, PatternCutter("llama3"), 4096)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) < 8200


def test_one_endless_word_is_cut_by_force_and_that_is_counted(tmp_path) -> None:
    (tmp_path / "dna.txt").write_text("ACGT" * 5000)
    config = CountConfig(document_bytes=4096, max_word_bytes=64, n_workers=1)
    shards = shards_of([tmp_path / "dna.txt"], config)
    said: list[str] = []
    counts = count_words(shards, QWEN2, config, folder=tmp_path / "c", listener=Said(said))
    assert counts.as_dict() == {b"ACGT" * 16: 312, b"ACGT" * 8: 1}
    assert counts.report.n_forced_cuts == 3
    assert counts.report.n_long_words == 4
    assert any(text.startswith("3 pieces of long documents end where a word may") for text in said)


def test_spans_of_a_file_hold_each_piece_once_wherever_they_end(tmp_path) -> None:
    path = tmp_path / "big.txt"
    text = "\ufeffOnce upon a time, " + "there's a mill,  and 12345 wheels.\r\nNext\n" * 1500
    path.write_bytes(text.encode())
    truth = plain_counts([text.removeprefix("\ufeff").replace("\r\n", "\n")])
    size = path.stat().st_size
    draw = random.Random(3)
    for _ in range(5):
        places = sorted([0, size, *(draw.randrange(size) for _ in range(6))])
        shards = [(TextSpan(path, a, b),) for a, b in zip(places[:-1], places[1:], strict=True)]
        counts = count_words(shards, QWEN2, SMALL, folder=tmp_path / f"c{places[1]}")
        assert counts.as_dict() == truth
        assert counts.report.n_documents == 1
    assert (
        count_words([(TextSpan(path),)], QWEN2, SMALL, folder=tmp_path / "one").as_dict() == truth
    )
    assert len(shards_of([path], SMALL)) == -(-size // SMALL.shard_bytes)


@pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_files_that_cannot_be_read_are_named(tmp_path, n_workers) -> None:
    good = write_corpus(tmp_path / "corpus", n_files=3)
    config = changed(SMALL, n_workers=n_workers, shard_bytes=8000)
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1") + b" and on")
    (tmp_path / "wide.txt").write_bytes("plain".encode("utf-16-le"))
    for name, message in (
        ("latin.txt", r"latin.txt is not UTF-8 near byte 3; save it as UTF-8, or leave it out"),
        ("wide.txt", r"wide.txt holds NUL bytes: .* save it as UTF-8"),
    ):
        shards = shards_of([*good, tmp_path / name], config)
        with pytest.raises(DataError, match=message):
            count_words(shards, QWEN2, config, folder=tmp_path / "c")
    shards = [(TextSpan(tmp_path / "gone.txt"),)]
    with pytest.raises(DataError, match=r"gone.txt cannot be read \(No such file"):
        count_words(shards, QWEN2, config, folder=tmp_path / "c")
    with pytest.raises(DataError, match=r"gone.txt cannot be read"):
        shards_of([tmp_path / "gone.txt"], config)


def test_bytes_that_are_no_text_at_a_piece_border_are_named(tmp_path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"word " * 500 + b"\xff\xfe" * 50 + b" word" * 500)
    with pytest.raises(DataError, match=r"bad.txt is not UTF-8 near .*; save it as UTF-8"):
        count_words([(TextSpan(tmp_path / "bad.txt"),)], QWEN2, SMALL, folder=tmp_path / "c")


def test_parquet_that_cannot_be_read_is_named(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"body": ["a b"], "n": [1]}), path)
    with pytest.raises(DataError, match=r"no column of strings named text \(columns: body, n\)"):
        shards_of([path], SMALL)
    with pytest.raises(DataError, match=r"no column of strings named n "):
        shards_of([path], SMALL, column="n")
    shards = shards_of([path], SMALL, column="body")
    counts = count_words(shards, QWEN2, SMALL, folder=tmp_path / "c")
    assert counts.as_dict() == {b" b": 1, b"a": 1}
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"rows.parquet cannot be read as Parquet .*leave it out"):
        shards_of([path], SMALL)
