"""Token shards: the layout by hand, round trips, several as one, and damage told by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.shards import TokenShards
from groundup.runtime import DataError

from .bytes_tokenizer import BytesTokenizer, MaskedExample, masked_shards, text_shards

END = BytesTokenizer.end_of_text_id


def test_the_layout_is_the_one_drawn_in_the_module(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["abc", "de"])

    stream = np.fromfile(tmp_path / "train-00000.bin", dtype="<u2").tolist()
    assert stream == [END, *b"abc", END, *b"de", END]
    assert np.fromfile(tmp_path / "train-00000.idx", dtype="<u8").tolist() == [4, 7]
    assert (shards.n_tokens, shards.n_documents, shards.n_bytes, shards.n_trained) == (7, 2, 5, 7)


def test_the_label_of_a_documents_last_token_is_the_next_end_of_text(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["abc", "de"])

    inputs, labels, trained = shards.gather(np.array([0, 4]), np.array([4, 3]))
    assert inputs.tolist() == [END, *b"abc", END, *b"de"]
    assert labels.tolist() == [*b"abc", END, *b"de", END]
    assert trained is None


@settings(max_examples=12, deadline=None)
@given(
    texts=st.lists(st.text(max_size=12), min_size=1, max_size=20),
    per_shard=st.integers(min_value=1, max_value=60),
)
def test_documents_come_back_whatever_the_shard_size(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], per_shard: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    shards = text_shards(folder, texts, tokens_per_shard=per_shard)

    assert [ids.tolist() for ids in shards] == [[END, *text.encode()] for text in texts]
    assert shards.document_lengths.sum() == shards.n_tokens
    assert shards.n_bytes == sum(len(text.encode()) for text in texts)
    _, labels, _ = shards.gather(shards.document_starts, shards.document_lengths)
    assert labels.tolist() == [value for text in texts for value in [*text.encode(), END]]


def test_spans_may_be_gathered_in_any_order_across_shards(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["aa", "bb", "cc", "dd"], tokens_per_shard=6)
    assert len(shards.headers) == 2

    order = np.array([3, 0, 2, 1])
    starts, lengths = shards.document_starts[order], shards.document_lengths[order]
    inputs, labels, _ = shards.gather(starts, lengths)
    assert inputs.tolist() == [END, *b"dd", END, *b"aa", END, *b"cc", END, *b"bb"]
    assert labels.tolist() == [*b"dd", END, *b"aa", END, *b"cc", END, *b"bb", END]


def test_masks_mark_the_labels_that_are_trained(tmp_path: Path) -> None:
    first = MaskedExample([1, 2, 3], [False, False, True])
    second = MaskedExample([4, 5], [False, True])
    shards = masked_shards(tmp_path, [first, second])

    inputs, labels, trained = shards.gather(np.array([0, 3]), np.array([3, 2]))
    assert inputs.tolist() == [1, 2, 3, 4, 5]
    assert labels.tolist() == [2, 3, 4, 5, END]
    assert trained is not None
    assert trained.tolist() == [False, True, False, True, False]
    assert shards.n_trained == 2


def test_a_large_vocabulary_is_stored_in_four_bytes(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["ab"], tokenizer=BytesTokenizer(vocab_size=65_537))
    assert shards.headers[0].dtype == "uint32"
    assert shards.document(0).tolist() == [END, *b"ab"]
    assert text_shards(tmp_path / "small", ["ab"], tokenizer=BytesTokenizer(vocab_size=65_536))
    assert (tmp_path / "small/train-00000.bin").stat().st_size == 2 * 4


def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ids run from 98 to 256, but the vocabulary holds 98"):
        text_shards(tmp_path, ["b"], tokenizer=BytesTokenizer(vocab_size=98))


def test_no_text_is_an_error_that_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no text to tokenize for .*train; add documents"):
        text_shards(tmp_path, [])
    with pytest.raises(DataError, match=r"no chats to tokenize for .*train; add chats"):
        masked_shards(tmp_path, [])


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([], [], "got 0 ids and 0 mask values"),
        ([1, 2], [False], "got 2 ids and 1 mask values"),
        ([1, 2], [True, True], "the first token of an example has nothing before it"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    tmp_path: Path, ids: list[int], mask: list[bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        masked_shards(tmp_path, [MaskedExample(ids, mask)])


def test_missing_shards_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no token shards 'train' in .*; delete the folder"):
        TokenShards.open(tmp_path)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    text_shards(tmp_path, ["abc"])
    path = tmp_path / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train-00000\.bin has 9 bytes, its header says 10"):
        TokenShards.open(tmp_path)


@pytest.mark.parametrize("ending", ["bin", "idx"])
def test_a_missing_file_is_named(tmp_path: Path, ending: str) -> None:
    text_shards(tmp_path, ["abc"])
    (tmp_path / f"train-00000.{ending}").unlink()
    with pytest.raises(DataError, match=rf"train-00000\.{ending} is missing"):
        TokenShards.open(tmp_path)


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_shard_is_told(tmp_path: Path, number: int) -> None:
    text_shards(tmp_path, ["abc", "def"], tokens_per_shard=2)
    (tmp_path / f"train-{number:05d}.json").unlink()
    with pytest.raises(DataError, match=r"the token shards 'train' in .* are not complete"):
        TokenShards.open(tmp_path)


def test_verify_names_the_file_whose_content_changed(tmp_path: Path) -> None:
    shards = text_shards(tmp_path, ["abc", "def"], tokens_per_shard=2)
    shards.verify()
    path = tmp_path / "train-00001.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DataError, match=r"train-00001\.bin is damaged"):
        TokenShards.open(tmp_path).verify()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{", r"train-00000\.json is not a shard header"),
        ("[]", r"train-00000\.json is not a shard header"),
        ('{"version": 99}', r"train-00000\.json is of format 99, this version reads 1"),
    ],
)
def test_a_strange_header_is_named(tmp_path: Path, header: str, message: str) -> None:
    text_shards(tmp_path, ["abc"])
    (tmp_path / "train-00000.json").write_text(header)
    with pytest.raises(DataError, match=message):
        TokenShards.open(tmp_path)


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    one = text_shards(tmp_path / "one", ["abc", "d"]).fingerprint
    same = text_shards(tmp_path / "same", ["abc", "d"]).fingerprint
    other_border = text_shards(tmp_path / "border", ["ab", "cd"]).fingerprint
    assert one == same != other_border


def test_an_exception_leaves_no_header(tmp_path: Path) -> None:
    def texts() -> object:
        yield "abc"
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        text_shards(tmp_path, texts())  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.json"))


def test_the_header_names_the_tokenizer(tmp_path: Path) -> None:
    text_shards(tmp_path, ["abc"])
    header = json.loads((tmp_path / "train-00000.json").read_text())
    assert header["tokenizer_fingerprint"] == "bytes"
    assert header["end_of_text_id"] == END
