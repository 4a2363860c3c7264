"""Reading as a whole: strictness, files that change or hold nothing, libraries not loaded."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from groundup.data.reading import InputFile, ReadingConfig, SourceConfig, read_input, read_source
from groundup.data.records import Document, Refusal
from groundup.runtime import DataError

from .samples import PAGE, http, read, reasons_of, refusal_of, warc_record, zip_of


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
        "heavy = {'resiliparse', 'pypdfium2', 'datasets'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- nothing to read ------------------------------------------------------------------------------


def parquet_without_rows(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)


def test_a_file_with_nothing_in_it_is_told(tmp_path: Path) -> None:
    """Each is whole, and yields nothing: without a word it would be missed by no one."""
    import tarfile

    (tmp_path / "names.csv").write_text("id,text\n")
    (tmp_path / "none.jsonl").write_bytes(b"")
    (tmp_path / "blank.jsonl").write_text("\n \n\n")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "none.jsonl.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "none.txt").write_bytes(b"")
    parquet_without_rows(tmp_path / "none.parquet")
    (tmp_path / "none.zip").write_bytes(zip_of({}))
    (tmp_path / "hidden.zip").write_bytes(zip_of({".git/a.txt": "not read", "b/.c.txt": "nor"}))
    with tarfile.open(tmp_path / "none.tar.gz", "w:gz"):
        pass
    (tmp_path / "about.warc").write_bytes(warc_record("warcinfo", b"software: none"))
    (tmp_path / "members.zip").write_bytes(zip_of({"a.csv": "text\n", "b.txt": "one"}))
    found = reasons_of(tmp_path)
    assert found.pop("members.zip!/a.csv") == "empty"
    packed = ("hidden.zip", "none.jsonl.gz", "none.tar.gz", "none.zip")
    plain = ("blank.jsonl", "list.json", "names.csv", "none.jsonl", "none.parquet", "none.txt")
    assert found == dict.fromkeys(("about.warc", *packed, *plain), "empty")
    assert refusal_of(tmp_path / "names.csv").detail == "holds no rows"
    assert "hidden ones" in refusal_of(tmp_path / "hidden.zip").detail
    with pytest.raises(DataError, match=r"names\.csv cannot be used \(empty: holds no rows\)"):
        read(tmp_path / "names.csv", strict=True)


def test_what_is_normal_in_a_web_archive_is_no_fault(tmp_path: Path) -> None:
    page = http(PAGE % b"A page of words.")
    records = [
        warc_record("revisit", b"", WARC_Refers_To="<urn:uuid:1>"),
        warc_record("response", http(b"", status="404 Not Found")),
        warc_record("response", http(b"\x89PNG", "Content-Type: image/png")),
        warc_record("response", page),
    ]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(records))
    found = read(path, strict=True)
    assert [r.reason for r in found if isinstance(r, Refusal)] == [
        "revisit",
        "http_not_ok",
        "media_type_not_read",
    ]
    assert isinstance(found[-1], Document)
    path.write_bytes(b"".join(records)[:-40])
    with pytest.raises(DataError, match="truncated"):
        read(path, strict=True)
