"""Tables and sorted runs: added up, merged, cut in parts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.tokenizer.counts import (
    CountedWords,
    count_words,
    runs,
    shards_of,
)
from groundup.tokenizer.counts.runs import add_up

from .small_corpus import (
    QWEN2,
    SMALL,
    plain_counts,
    texts_of,
    write_corpus,
)

words_with_counts = st.dictionaries(
    st.binary(max_size=4) | st.sampled_from([b"a", b"ab", b"b" * 40]), st.integers(1, 1 << 60)
)


@settings(deadline=None, max_examples=60)
@given(tables=st.lists(words_with_counts, max_size=6), block_bytes=st.sampled_from([1, 30, 4096]))
def test_merging_runs_sums_each_word_once_in_order(tmp_path_factory, tables, block_bytes) -> None:
    folder = tmp_path_factory.mktemp("runs")
    folders = [folder / str(number) for number in range(len(tables))]
    for run, table in zip(folders, tables, strict=True):
        ordered = dict(sorted(table.items()))
        runs._write_arrays(run, [CountedWords.of(ordered, ordered.values())])
    truth: Counter[bytes] = Counter()
    for table in tables:
        truth.update(table)
    found: dict[bytes, int] = {}
    for block in runs.merge(folders, block_bytes):
        found |= dict(zip(block.words(), block.counts.tolist(), strict=True))
    assert list(found.items()) == sorted(truth.items())


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.binary(max_size=3), st.integers(1, 1 << 50)))))
def test_adding_up_takes_words_in_any_order_and_more_than_once(tables) -> None:
    truth: Counter[bytes] = Counter()
    for table in tables:
        for word, count in table:
            truth[word] += count
    summed = add_up(CountedWords.of(*zip(*table, strict=True)) for table in tables if table)
    assert summed.words() == sorted(truth)
    assert summed.counts.tolist() == [truth[word] for word in sorted(truth)]
    assert b"".join(summed.words()) == summed.text.tobytes()


@settings(deadline=None)
@given(words_with_counts, st.data())
def test_parts_and_chosen_words_are_those_of_the_list(table, data) -> None:
    words = CountedWords.of(table, table.values())
    begin = data.draw(st.integers(0, len(table)))
    end = data.draw(st.integers(begin, len(table)))
    part = words.part(begin, end)
    assert part.words() == list(table)[begin:end]
    assert [part.word(i) for i in range(len(part))] == part.words()
    chosen = words.where(words.counts % 2 == 0)
    assert chosen.words() == [word for word, count in table.items() if count % 2 == 0]


def test_tiny_tables_do_spill_and_many_runs_are_merged_in_groups(tmp_path, monkeypatch) -> None:
    written = []
    write_arrays = runs._write_arrays

    def noted(folder: Path, blocks):
        written.append(folder)
        return write_arrays(folder, blocks)

    monkeypatch.setattr(runs, "_write_arrays", noted)
    monkeypatch.setattr(runs, "FAN_IN", 3)
    monkeypatch.setattr(runs, "BLOCK_BYTES", 100)
    files = write_corpus(tmp_path / "corpus", n_files=20)
    shards = shards_of(files, SMALL)
    counts = count_words(shards, QWEN2, SMALL, folder=tmp_path / "counts")
    assert counts.as_dict() == plain_counts(texts_of(files))
    spilled = [folder for folder in written if folder.parent.name.endswith(".tmp")]
    assert len(spilled) > 3 * len(shards)
    assert len(list((tmp_path / "counts" / "merged").iterdir())) > 1
    assert not list((tmp_path / "counts").rglob("*.tmp"))
