"""Winnowing: which windows are looked up."""

import numpy as np
import pyarrow as pa
import pytest

from groundup.data.dedup import SubstringsConfig
from groundup.data.dedup.substrings import windows_of
from groundup.data.dedup.texts import as_texts
from groundup.runtime import generator


def chosen(text: bytes, config: SubstringsConfig) -> tuple[list[int], list[int]]:
    """Where the chosen windows of one text begin, and their hashes."""
    [texts] = as_texts(pa.array([text.decode("latin-1")]))
    found = windows_of(texts, config)
    return found["start"].tolist(), found["key"].tolist()


@pytest.mark.parametrize("sample", [1, 2, 3, 25])
def test_every_run_of_windows_has_one_and_about_as_few_as_can_be(sample: int) -> None:
    config = SubstringsConfig(min_bytes=20, sample_bytes=sample)
    draw = generator(4, "winnow", sample)
    text = bytes(draw.integers(97, 123, 30_000).astype(np.uint8))
    places, _ = chosen(text, config)
    n_windows = len(text) - config.min_bytes + 1
    gaps = np.diff([-1, *places, n_windows])
    assert gaps.min() >= 1
    assert gaps.max() <= sample
    assert len(places) / n_windows == pytest.approx(2 / (sample + 1), rel=0.05)


@pytest.mark.parametrize("sample", [1, 2, 25])
def test_texts_of_one_character_find_room(sample: int) -> None:
    config = SubstringsConfig(min_bytes=20, sample_bytes=sample)
    places, hashes = chosen(b"-" * 5000, config)
    assert len(set(hashes)) == 1
    assert len(places) <= 5000 // sample


def test_what_two_texts_share_is_chosen_in_both() -> None:
    config = SubstringsConfig(min_bytes=20, sample_bytes=25)
    draw = generator(4, "shared")
    letters = draw.integers(97, 123, (3, 4000)).astype(np.uint8)
    rule = b"=" * 60  # equal windows one after the other
    shared = bytes(letters[2, :100]) + rule + bytes(letters[2, 100:300])
    found = [chosen(bytes(side) + shared + bytes(side[::-1]), config)[1] for side in letters[:2]]
    n_sure = (len(shared) - config.sure_bytes + 1) // config.sample_bytes
    common = set(found[0]) & set(found[1])
    assert len(common) >= n_sure - len(rule) // config.sample_bytes > 5
