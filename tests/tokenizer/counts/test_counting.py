"""Counting beyond memory gives what one Counter gives, whatever is cut, spilled or killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import groundup
from groundup.tokenizer.counts import (
    CountConfig,
    ParquetTexts,
    TextSpan,
    count_plainly,
    count_words,
    count_words_in,
    shards_of,
)
from groundup.tokenizer.normalize import LibraryNormalizer, Nfkc
from groundup.tokenizer.pretokenize import PatternCutter, WholeText

from .small_corpus import (
    BERT,
    QWEN2,
    SMALL,
    Said,
    bytes_in,
    changed,
    plain_counts,
    texts_of,
    write_corpus,
)


@pytest.mark.parametrize("n_workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_workers_and_tiny_tables_give_what_one_counter_gives_byte_for_byte(
    tmp_path, n_workers
) -> None:
    files = write_corpus(tmp_path / "corpus")
    shards = shards_of(files, SMALL)
    assert len(shards) > 4
    kept = {}
    for n in (1, n_workers):
        folder = tmp_path / f"by{n}"
        counts = count_words(shards, QWEN2, changed(SMALL, n_workers=n), folder=folder)
        assert counts.as_dict() == plain_counts(texts_of(files))
        assert counts.report.n_documents == len(files)
        kept[n] = bytes_in(folder)
    assert kept[1] == kept[n_workers]
    whole = changed(SMALL, table_bytes=1 << 20)  # one table a shard, nothing spilled
    count_words(shards, QWEN2, whole, folder=tmp_path / "whole")
    assert bytes_in(tmp_path / "whole") == kept[1]


def test_folders_parquet_and_texts_at_hand_give_the_same_words(tmp_path) -> None:
    files = write_corpus(tmp_path / "corpus")
    texts = texts_of(files)
    table = pa.table({"id": range(len(texts) + 1), "text": [*texts, None]})
    pq.write_table(table, tmp_path / "texts.parquet", row_group_size=4)
    shards = shards_of([tmp_path / "texts.parquet"], SMALL)
    assert sum(map(len, shards)) == 4
    assert isinstance(shards[0][0], ParquetTexts)
    by_rows = count_words(shards, QWEN2, SMALL, folder=tmp_path / "rows")
    by_files = count_words(shards_of(files, SMALL), QWEN2, SMALL, folder=tmp_path / "files")
    at_hand = count_words_in(iter(texts), QWEN2, SMALL)
    assert by_rows.as_dict() == by_files.as_dict() == at_hand.as_dict() == plain_counts(texts)
    assert by_rows.report == by_files.report == at_hand.report


@pytest.mark.parametrize("n_workers", [2, 3])
def test_threads_give_the_same_words_of_texts_at_hand(tmp_path, n_workers) -> None:
    texts = texts_of(write_corpus(tmp_path / "corpus"))
    draw = random.Random(2)

    def unevenly(texts, cutter, max_in_text):
        time.sleep(draw.random() / 100)
        return count_plainly(texts, cutter, max_in_text)

    one = count_words_in(texts, QWEN2, SMALL)
    several = count_words_in(texts, QWEN2, changed(SMALL, n_workers=n_workers), loop=unevenly)
    assert several.as_dict() == one.as_dict() == plain_counts(texts)
    assert several.report == one.report


def test_two_batches_of_texts_at_hand_are_counted_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)

    def together(texts, cutter, max_in_text):
        both.wait()
        return count_plainly(texts, cutter, max_in_text)

    texts = ["to be " * 100, "or not " * 100]  # a batch each
    config = changed(SMALL, n_workers=2)
    assert count_words_in(texts, QWEN2, config, loop=together).as_dict() == plain_counts(texts)


def test_an_error_in_a_thread_is_raised() -> None:
    def fails(texts, cutter, max_in_text):
        raise ZeroDivisionError("in the loop")

    with pytest.raises(ZeroDivisionError, match="in the loop"):
        count_words_in(["to be " * 100] * 9, QWEN2, changed(SMALL, n_workers=2), loop=fails)


def test_a_normalizer_comes_before_the_cut(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("ﬁne ½ Cafe\u0301 ", encoding="utf-8")
    shards = shards_of([tmp_path / "a.txt"], SMALL)
    counts = count_words(shards, QWEN2, SMALL, folder=tmp_path / "c", normalizer=Nfkc())
    assert set(counts.as_dict()) == {b"fine", b" ", b"1", b"2", "\u2044".encode(), " Café".encode()}


def test_half_of_a_surrogate_pair_is_counted_as_the_replacement_character() -> None:
    assert count_words_in(["\ud800 a"], QWEN2).as_dict() == {"\ufffd".encode(): 1, b" a": 1}


def test_one_document_counts_a_word_only_so_often(tmp_path) -> None:
    spam = "buy " * 5000
    texts = ["one two", spam, "one buy"]
    config = CountConfig(max_in_document=100, document_bytes=1 << 20)
    counts = count_words_in(texts, QWEN2, config)
    assert counts.as_dict() == plain_counts(texts, max_in_text=100)
    assert counts.as_dict()[b" buy"] == 101
    assert counts.report.n_left_out == 4999 - 100
    assert counts.report.n_words == sum(counts.as_dict().values())
    in_pieces = CountConfig(max_in_document=100, document_bytes=4096)  # five documents' shares
    assert count_words_in(texts, QWEN2, in_pieces).as_dict()[b" buy"] == 501
    (tmp_path / "spam.txt").write_text(spam)
    for shard_bytes in (100, 5000, 1 << 20):  # the share does not depend on how shards are made
        by_file = changed(in_pieces, shard_bytes=shard_bytes, n_workers=1)
        shards = shards_of([tmp_path / "spam.txt"], by_file)
        counts = count_words(shards, QWEN2, by_file, folder=tmp_path / str(shard_bytes))
        assert counts.as_dict()[b" buy"] == 500


def test_a_long_word_is_cut_between_characters_and_none_of_it_is_lost() -> None:
    text = "天" * 500 + " " + "a" * 100 + " short"
    counts = count_words_in([text], QWEN2, CountConfig(max_word_bytes=100))
    assert counts.as_dict() == {
        ("天" * 33).encode(): 15, ("天" * 5).encode(): 1, b" " + b"a" * 99: 1, b"a": 1, b" short": 1
    }  # fmt: skip
    assert counts.report.n_long_words == 2
    assert counts.report.n_text_bytes == len(text.encode())


def modified(folder: Path) -> dict[str, int]:
    return {
        run.name: (run / "header.json").stat().st_mtime_ns for run in (folder / "shards").iterdir()
    }


def test_shards_that_stand_are_not_counted_again(tmp_path) -> None:
    files = write_corpus(tmp_path / "corpus")
    shards = shards_of(files, SMALL)
    folder = tmp_path / "counts"

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_words(shards, QWEN2, SMALL, folder=folder, listener=Said([], stop))
    before = modified(folder)
    assert len(before) == 3
    counts = count_words(shards, QWEN2, SMALL, folder=folder)
    assert counts.as_dict() == plain_counts(texts_of(files))
    after = modified(folder)
    assert len(after) == len(shards)
    assert before.items() <= after.items()
    count_words(shards, QWEN2, SMALL, folder=tmp_path / "at once")
    assert bytes_in(folder) == bytes_in(tmp_path / "at once")


def test_another_text_cutter_or_cap_is_another_shard_another_minimum_is_not(tmp_path) -> None:
    files = write_corpus(tmp_path / "corpus")
    folder = tmp_path / "counts"

    def n_new(cutter=QWEN2, **fields: object) -> int:
        before = modified(folder) if folder.exists() else {}
        config = changed(SMALL, **fields)
        counts = count_words(shards_of(files, config), cutter, config, folder=folder)
        if config.max_in_document is None and config.min_count == 1:
            assert counts.as_dict() == plain_counts(texts_of(files), cutter)
        after = modified(folder)
        assert before.items() <= after.items()
        return len(after) - len(before)

    n_shards = len(shards_of(files, SMALL))
    assert n_new() == n_shards
    assert n_new(min_count=3) == n_new(table_bytes=1 << 20) == 0
    assert n_new(max_word_bytes=16) == n_new(document_bytes=4096) == n_shards
    assert n_new(max_in_document=9) == n_new(cutter=PatternCutter("gpt2")) == n_shards
    files[-1].write_text("The end of it changed.")
    assert n_new() == 1
    files[0].rename(files[0].with_name("00a.txt"))  # what a file is called is not what it holds
    files[0] = files[0].with_name("00a.txt")
    assert n_new() == 0


@pytest.mark.parametrize("name", ["text.u8", "lengths.u32", "counts.u64", "header.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_run_is_found_by_its_hash_and_made_again(tmp_path, name, damage) -> None:
    files = write_corpus(tmp_path / "corpus", n_files=4)
    shards = shards_of(files, SMALL)
    folder = tmp_path / "counts"
    count_words(shards, QWEN2, SMALL, folder=folder)
    good = bytes_in(folder)
    for kind in ("shards", "results"):
        path = next((folder / kind).glob(f"*/{name}"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        match damage:
            case "flip":
                path.write_bytes(data)
            case "truncate":
                path.write_bytes(data[:-1])
            case "remove":
                path.unlink()
    assert bytes_in(folder) != good
    count_words(shards, QWEN2, SMALL, folder=folder)
    assert bytes_in(folder) == good


def test_two_shards_of_the_same_text_both_count(tmp_path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("to be or not to be\n" * 20)
    shards = [(TextSpan(tmp_path / name),) for name in ("a.txt", "b.txt", "a.txt")]
    counts = count_words(shards, QWEN2, SMALL, folder=tmp_path / "c")
    assert counts.as_dict() == plain_counts(["to be or not to be\n" * 20] * 3)
    assert len(modified(tmp_path / "c")) == 1


KILLED = """
import sys, time
from pathlib import Path
from groundup.tokenizer.counts import CountConfig, count_plainly, count_words, shards_of
from groundup.tokenizer.pretokenize import PatternCutter

def slowly(texts, cutter, max_in_text):
    time.sleep(0.05)
    return count_plainly(texts, cutter, max_in_text)

if __name__ == "__main__":
    corpus, folder, n_workers = sys.argv[1:]
    config = CountConfig(document_bytes=2048, shard_bytes=12_000, table_bytes=600,
                         max_in_document=None, n_workers=int(n_workers))
    shards = shards_of(sorted(Path(corpus).iterdir()), config)
    count_words(shards, PatternCutter("qwen2"), config, folder=Path(folder), loop=slowly)
"""


def started(script: Path, *arguments: object) -> subprocess.Popen[bytes]:
    source = str(Path(groundup.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in found.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc to find the workers")
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path) -> None:
    files = sorted(write_corpus(tmp_path / "corpus", n_files=40))
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    count_words(shards_of(files, SMALL), QWEN2, SMALL, folder=tmp_path / "at once")
    folder = tmp_path / "counts"
    draw = random.Random(5)
    n_kills = 0
    for n_workers in (1, 2, 2, 1):
        n_before = len(list((folder / "shards").glob("[!.]*"))) if folder.exists() else 0
        process = started(script, tmp_path / "corpus", folder, n_workers)
        workers: list[int] = []
        goal = n_before + draw.randrange(1, 4)
        while process.poll() is None and len(list((folder / "shards").glob("[!.]*"))) < goal:
            workers = children(process.pid)
            time.sleep(0.01)
        time.sleep(draw.random() / 5)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            n_kills += 1
        process.communicate()
        deadline = time.monotonic() + 20
        while any(map(is_running, workers)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(map(is_running, workers))  # nobody works on for a caller that is gone
    assert n_kills >= 3
    last = started(script, tmp_path / "corpus", folder, 2)
    assert (last.wait(), last.communicate()[1]) == (0, b"")
    assert bytes_in(folder) == bytes_in(tmp_path / "at once")


def test_the_header_says_what_made_the_counts(tmp_path) -> None:
    files = write_corpus(tmp_path / "corpus", n_files=3)
    lower = LibraryNormalizer('{"type": "Lowercase"}')
    shards = shards_of(files, SMALL)
    count_words(shards, BERT, SMALL, folder=tmp_path / "c", normalizer=lower)
    header = json.loads(next((tmp_path / "c" / "results").glob("*/header.json")).read_text())
    assert header["parameters"]["cutter"] == ["LibraryCutter", {"spec": BERT.spec}]
    assert header["parameters"]["normalizer"] == ["LibraryNormalizer", {"spec": lower.spec}]
    assert header["parameters"]["document_bytes"] == 2048
    assert header["report"]["n_documents"] == 3


def test_a_whole_text_may_be_a_word(tmp_path) -> None:
    counts = count_words_in(["to be", "to be", "or"], WholeText())
    assert counts.as_dict() == {b"or": 1, b"to be": 2}
