"""Reading as a whole: strictness, files that change, libraries that are missing, data sets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from groundup.data.reading import (
    InputFile,
    ReadingConfig,
    SourceConfig,
    find_inputs,
    input_hash,
    read_input,
    read_source,
)
from groundup.data.reading.hub import parse_address
from groundup.data.records import Document, Refusal
from groundup.runtime import DataError

from .samples import read, texts


def test_strictness_stops_at_the_first_refusal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_bytes(b"\0")
    (tmp_path / "c.jpg").write_bytes(b"of another ending, which is no fault")
    found = read_source(SourceConfig(path=str(tmp_path)), "s", ReadingConfig(strict=True))
    assert isinstance(next(found), Refusal)
    assert isinstance(next(found), Document)
    with pytest.raises(DataError, match=r"s/b\.txt cannot be used \(has_nul: .*without strict"):
        next(found)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_file_that_changes_while_it_is_read_is_told(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody appends to it while the second row is parsed."""
    import gzip

    path = tmp_path / name
    data = b'{"text": "one"}\n{"text": "two"}\n'
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    real, n_calls = json.loads, 0

    def loads(line: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:
            with path.open("ab") as file:
                file.write(b"\n")
        return real(line)

    monkeypatch.setattr(json, "loads", loads)
    found = read(path)
    refusal = found[-1]
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == (f"s/{name}", "changed_while_reading")
    n_documents = sum(isinstance(record, Document) for record in found)
    assert n_documents == (2 if name.endswith(".gz") else 0)  # a small file waits to be sure


def test_a_file_that_grows_as_fast_as_it_is_read_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    row = b'{"text": "one"}\n'
    path.write_bytes(row * 3)
    real = json.loads

    def loads(line: Any) -> Any:
        with path.open("ab") as file:
            file.write(row)
        return real(line)

    monkeypatch.setattr(json, "loads", loads)
    (refusal,) = read(path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "changed_while_reading"
    assert path.stat().st_size == 6 * len(row)


def test_a_file_that_is_gone_or_may_not_be_read_is_told(tmp_path: Path) -> None:
    file = InputFile(tmp_path / "gone.txt", "gone.txt")
    (refusal,) = read_input(file, "s", ReadingConfig())
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/gone.txt", "not_readable")


def test_importing_the_readers_loads_none_of_the_libraries() -> None:
    code = (
        "import sys, groundup.data.reading\n"
        "heavy = {'resiliparse', 'pypdfium2', 'charset_normalizer', 'datasets'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- data sets ------------------------------------------------------------------------------------


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
