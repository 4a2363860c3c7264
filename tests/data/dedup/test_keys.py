from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.dedup import keys
from groundup.data.dedup.keys import (
    KEY,
    KeyWriter,
    document_numbers,
    read_array,
    read_partition,
    split_numbers,
    write_array,
)
from groundup.runtime import DataError


@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), min_size=1, max_size=3),
    st.integers(1, 7),
)
def test_partitions_hold_every_entry_once_in_its_range(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[int]], n: int
) -> None:
    place = tmp_path_factory.mktemp("keys")
    folders = [place / str(number) for number in range(len(shards))]
    for folder, values in zip(folders, shards, strict=True):
        with pytest.MonkeyPatch.context() as patch, KeyWriter(folder, KEY) as writer:
            patch.setattr(keys, "BLOCK_BYTES", 200)
            for first in range(0, len(values), 7):
                part = np.zeros(len(values[first : first + 7]), dtype=KEY)
                part["key"] = values[first : first + 7]
                part["row"] = np.arange(first, first + len(part))
                writer.add(part)
    found = []
    for partition in range(n):
        entries, documents = read_partition(folders, partition, n, KEY)
        for key, document in zip(entries["key"].tolist(), documents.tolist(), strict=True):
            assert partition == key * n // 2**64
            found.append((key, document))
    planted = [
        (value, (number << 32) | row)
        for number, values in enumerate(shards)
        for row, value in enumerate(values)
    ]
    assert sorted(found) == sorted(planted)


def test_documents_are_numbered_by_shard_and_row() -> None:
    shards, rows = split_numbers(document_numbers(3, np.array([0, 5, 2**32 - 1])))
    assert shards.tolist() == [3, 3, 3]
    assert rows.tolist() == [0, 5, 2**32 - 1]


def test_a_file_that_is_cut_short_or_missing_is_named(tmp_path: Path) -> None:
    write_array(tmp_path / "a.bin", np.zeros(3, dtype=KEY))
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"a\.bin is cut short: 59 bytes are no multiple of 20"):
        read_array(tmp_path / "a.bin", KEY)
    with pytest.raises(DataError, match=r"b\.bin is missing"):
        read_array(tmp_path / "b.bin", KEY)


def test_a_partition_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"partition=2 must lie in 0\.\.1"):
        read_partition([tmp_path], 2, 2, KEY)
