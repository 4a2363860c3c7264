"""Data sets of the Hub: their addresses, and folders on disk that are laid out like one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from groundup.data.reading import SourceConfig, find_inputs, input_hash
from groundup.data.reading.hub import absolute_address, parse_address
from groundup.data.records import Document, Refusal
from groundup.runtime import DataError

from .samples import read, texts


@pytest.mark.parametrize(
    ("text", "name", "config", "split"),
    [
        ("hf:gsm8k", "gsm8k", None, "train"),
        ("hf:allenai/c4", "allenai/c4", None, "train"),
        ("hf:allenai/c4:validation", "allenai/c4", None, "validation"),
        ("hf:allenai/c4/en:train[:10%]", "allenai/c4", "en", "train[:10%]"),
    ],
)
def test_addresses_have_a_name_a_config_and_a_split(
    text: str, name: str, config: str | None, split: str
) -> None:
    address = parse_address(text)
    assert (address.name, address.config, address.split) == (name, config, split)


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c/d", "hf:a//b", "hf:./no/such/folder"])
def test_addresses_that_make_no_sense_are_told(text: str) -> None:
    with pytest.raises(DataError, match=r"is no data set|names no folder"):
        parse_address(text)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set on disk, with a train and a test split."""
    datasets: Any = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "my_data"
    folder.mkdir()
    rows = [{"text": f"row {i}", "body": f"body {i}", "license": "MIT"} for i in range(3)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text('{"text": "held out", "body": "x", "license": null}\n')
    return folder


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_on_disk_is_streamed(dataset: Path) -> None:
    found = read(f"hf:{dataset}")
    assert [r.text for r in found if isinstance(r, Document)] == ["row 0", "row 1", "row 2"]
    assert isinstance(found[0], Document)
    assert found[0].licence == "MIT"
    assert found[0].id.endswith("my_data:train#0")
    assert texts(f"hf:{dataset}:test") == ["held out"]
    assert texts(f"hf:{dataset}", column="body") == ["body 0", "body 1", "body 2"]


@pytest.mark.filterwarnings("ignore")
def test_the_hash_of_a_data_set_follows_its_files(dataset: Path) -> None:
    def current() -> str:
        return input_hash(find_inputs(SourceConfig(path=f"hf:{dataset}"))[0][0])

    first = current()
    assert current() == first
    (dataset / "train.jsonl").write_text('{"text": "other"}\n')
    assert current() != first


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_that_cannot_be_read_is_told(dataset: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .*check its name, config and split"):
        read(f"hf:{dataset}:no_such_split")


# --- folders on disk ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("written", ["./my_data", "../{above}/my_data"])
def test_a_folder_may_be_named_from_where_one_stands(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """What begins with a dot is never taken for a name on the Hub, at no time on the way."""
    monkeypatch.chdir(dataset.parent)
    written = written.format(above=dataset.parent.name)
    source = SourceConfig(path=f"hf:{written}:test")
    assert find_inputs(source)[0][0].dataset == f"hf:{dataset}:test"
    assert source.label == "my_data-test"
    assert texts(source.path) == ["held out"]
    monkeypatch.chdir(dataset)
    assert texts("hf:.:test") == ["held out"]


@pytest.mark.parametrize("written", ["./nowhere", "../nowhere", "~/no such/folder", "~no_such/x"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("nowhere is a word of this project, and no config\n")
    with pytest.raises(DataError, match=r"^source hf:.* names no folder"):
        find_inputs(SourceConfig(path=f"hf:{written}:train"))


def test_a_config_is_one_that_the_folder_names(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: small\n  data_files: small.jsonl\n---\n"
    (tmp_path / "README.md").write_text(card)
    address = parse_address(f"hf:{tmp_path}/small:test")
    assert (address.name, address.config, address.split) == (str(tmp_path), "small", "test")
    with pytest.raises(DataError, match="names no folder"):
        parse_address(f"hf:{tmp_path}/smal")


def test_colons_in_paths_and_splits_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "a:b" / "c:d"
    folder.mkdir(parents=True)
    for split in ("train", "train[:10%]"):
        address = parse_address(f"hf:{folder}:{split}")
        assert (address.name, address.split) == (str(folder), split)
        assert parse_address(str(address)) == address
    assert parse_address(f"hf:{folder}").split == "train"


def test_an_address_is_made_absolute_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_address("hf:./set") == f"hf:{tmp_path}/set"
    assert absolute_address("hf:./set:train") == f"hf:{tmp_path}/set:train"
    assert absolute_address("hf:allenai/c4") == "hf:allenai/c4"


@pytest.mark.filterwarnings("ignore")
def test_what_is_left_of_a_folder_with_a_damaged_file_is_refused(dataset: Path) -> None:
    """What was read before stays, and nothing is said of a network that is not used."""
    packed = gzip.compress("".join(f'{{"text": "row {i}"}}\n' for i in range(9999)).encode())
    (dataset / "train2.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (dataset / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    *documents, refusal = read(f"hf:{dataset}")
    assert [d.text for d in documents[:2] if isinstance(d, Document)] == ["one", "two"]
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "truncated"
    assert refusal.id.endswith(f"my_data:train#{len(documents)}")
    assert refusal.detail.startswith(f"{len(documents)} rows were read and none that follow")
    with pytest.raises(DataError, match=r"truncated: .* rows were read"):
        read(f"hf:{dataset}", strict=True)
    with pytest.raises(DataError, match=r"check its name, config and split$"):
        read(f"hf:{dataset}:no_such_split")
