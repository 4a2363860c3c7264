"""Bad input: each is named and counted by its reason, the rest goes on, and strict stops at it."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.cli import main
from groundup.data.executors import Serial
from groundup.data.manifest import read_manifest, verify
from groundup.data.prepare import DataConfig, prepare
from groundup.data.prepared import read_texts
from groundup.data.split import SPLITS
from groundup.data.table import rows_of
from groundup.runtime import DataError, GroundupError, hash_file

from .reading.samples import PAGE, pdf_of, zip_of

GOOD = [f"Story {i} of a fox that went over {i * i} hills and found the sea.\n" for i in range(12)]
LOCK = (
    f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'00' * 32}> /U <{'11' * 32}> /P -4 >> "
    f"/ID [<{'00' * 16}> <{'00' * 16}>]"
)
ROWS = "".join(
    json.dumps({"text": f"Row {i} of a table about the sea."}) + "\n" for i in range(300)
)


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


def parquet_of(texts: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts)}), buffer)
    return buffer.getvalue()


def tar_gz_of(members: dict[str, bytes], links: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


BAD: dict[str, tuple[bytes, str, str]] = {  # name: its bytes, the reason, words of the detail
    "cut.txt.gz": (gzip.compress(ROWS.encode(), mtime=0)[:-9], "truncated", "ends in the middle"),
    "cut.txt.zst": (zst(ROWS.encode())[:-40], "truncated", "cannot be unpacked"),
    "cut.parquet": (parquet_of(GOOD)[:-200], "truncated", "has no end"),
    "cut.zip": (zip_of({"a.txt": "x" * 500})[:90], "truncated", "no list of files"),
    "damaged.txt.gz": (b"not gzip at all", "damaged", "cannot be unpacked"),
    "pictures.pdf": (pdf_of(["", ""]), "no_text", "2 page"),
    "locked.pdf": (pdf_of(["Secret."], LOCK), "encrypted", "needs a password"),
    "half.pdf": (b"%PDF-1.4 and no more", "not_pdf", "cannot be read as PDF"),
    "nothing.html": (b"<html><head><title>x</title></head><body></body></html>", "no_text", ""),
    "bytes.txt": (b"na\xefve ideas", "not_utf8", "byte 2 is not UTF-8"),
    "nul.txt": (b"one\0two", "has_nul", "NUL"),
    "blank.txt": (b" \n\n", "empty", "text is empty"),
    "bomb.txt.gz": (gzip.compress(b"a" * (20 << 20), mtime=0), "expands_too_much", "is no bomb"),
    "photo.jpg": (b"\xff\xd8", "ending_not_read", "is not read"),
}  # fmt: skip


def write_good(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n, text in enumerate(GOOD):
        (folder / f"good{n:02d}.txt").write_text(text)
    return folder


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system lets no one make symbolic links")


def run(out: Path, *sources: Any, executor: Serial | None = None, **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "sources": [str(one) if isinstance(one, Path) else one for one in sources],
        "heldout_fraction": 0.2,
        "dedup": {"near": None},
        **fields,
    }
    config = DataConfig(**told)
    return prepare(config, out, executor=executor)


def texts_in(out: Path) -> list[str]:
    return sorted(text for split in SPLITS for text in read_texts(out, split))


def refusals_in(out: Path) -> dict[str, tuple[str, str]]:
    """id -> (reason, detail), of what was refused while reading."""
    files = sorted((out / "removed").glob("read-*.parquet"))
    rows = [row for file in files for row in rows_of(file)]
    assert all(row["stage"] == "read" and row["detail"] for row in rows)
    found = {row["id"]: (row["reason"], row["detail"]) for row in rows}
    assert len(found) == len(rows)
    return found


def dropped_at_read(out: Path) -> dict[str, int]:
    """What the manifest says, after a look whether its sums are right."""
    (stage,) = [stage for stage in read_manifest(out)["stages"] if stage["name"] == "read"]
    assert stage["documents_in"] == stage["documents_out"] + sum(stage["dropped"].values())
    assert verify(out) == []
    dropped: dict[str, int] = stage["dropped"]
    return dropped


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    folder = write_good(tmp_path / "messy")
    for name, (data, _, _) in BAD.items():
        (folder / name).write_bytes(data)
    return folder


def test_everything_bad_at_once_is_named_and_the_rest_goes_on(
    tmp_path: Path, messy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (messy / "sub").mkdir()
    link(messy / "sub/loop", messy)
    link(messy / "nowhere.txt", tmp_path / "nowhere.txt")
    expected = {f"messy/{name}": reason for name, (_, reason, _) in BAD.items()}
    expected |= {"messy/sub/loop": "link_loop", "messy/nowhere.txt": "dangling_link"}

    run(tmp_path / "out", messy)
    found = refusals_in(tmp_path / "out")
    assert {id: reason for id, (reason, _) in found.items()} == expected
    for name, (_, _, words) in BAD.items():
        assert words in found[f"messy/{name}"][1]
    by_reason = Counter(expected.values())
    assert dropped_at_read(tmp_path / "out") == by_reason
    # of cut.txt.gz all but its checksum is there
    assert texts_in(tmp_path / "out") == sorted([*GOOD, ROWS])

    arguments = ["data", "prepare", "--data", str(messy), "--out", str(tmp_path / "again")]
    assert main([*arguments, "--set", "cleaning.preset=none"]) == 0
    printed = capsys.readouterr().out
    assert "2 truncated" not in printed
    assert "4 truncated" in printed
    assert "1 link loop" in printed
    assert refusals_in(tmp_path / "again") == found
    assert dropped_at_read(tmp_path / "again") == by_reason
    assert texts_in(tmp_path / "again") == sorted([*GOOD, ROWS])


@pytest.mark.parametrize("name", [name for name in BAD if name != "photo.jpg"])
def test_strict_stops_at_the_first(tmp_path: Path, name: str) -> None:
    folder = write_good(tmp_path / "messy")
    data, reason, words = BAD[name]
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"messy/{name} cannot be used \({reason}: .*{words}"):
        run(tmp_path / "out", folder, reading={"strict": True})
    assert not (tmp_path / "out" / "manifest.json").exists()
    (folder / name).unlink()
    run(tmp_path / "out", folder, reading={"strict": True})
    assert texts_in(tmp_path / "out") == sorted(GOOD)


def test_strict_stops_at_links_and_tells_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_good(tmp_path / "messy")
    (folder / "photo.jpg").write_bytes(b"an ending that is not read is no fault")
    arguments = ["data", "prepare", "--data", str(folder), "--out", str(tmp_path / "out")]
    arguments += ["--set", "reading.strict=true", "--set", "cleaning.preset=none", "--quiet"]
    assert main(arguments) == 0
    link(folder / "loop", folder)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("groundup: messy/loop cannot be used (link_loop: ")
    assert error.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that opens and cannot be read")
def test_a_file_the_disk_does_not_give_is_refused(tmp_path: Path) -> None:
    folder = write_good(tmp_path / "messy")
    link(folder / "memory.txt", Path("/proc/self/mem"))
    run(tmp_path / "out", folder)
    reason, detail = refusals_in(tmp_path / "out")["messy/memory.txt"]
    assert reason == "not_readable"
    assert "Input/output error" in detail
    assert texts_in(tmp_path / "out") == sorted(GOOD)


def test_rows_before_the_place_where_a_file_breaks_off_stay(tmp_path: Path) -> None:
    folder = write_good(tmp_path / "messy")
    noise = [os.urandom(60).hex() for _ in range(4000)]  # so that half of it unpacks to many rows
    rows = "".join(json.dumps({"text": f"{i}: {word}"}) + "\n" for i, word in enumerate(noise))
    packed = gzip.compress(rows.encode())
    (folder / "rows.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "bad.jsonl").write_bytes(b'{"text": "one"}\n{"text": 1}\n{broken\n\xff\xfe\n')
    run(tmp_path / "out", folder)
    texts = texts_in(tmp_path / "out")
    n_rows = len(texts) - len(GOOD) - 1
    assert 1000 < n_rows < 3000
    assert {f"{i}: {word}" for i, word in enumerate(noise[:n_rows])} < set(texts)
    assert dropped_at_read(tmp_path / "out") == {
        "truncated": 1, "not_a_string": 1, "not_json": 1, "not_utf8": 1,
    }  # fmt: skip


# --- archives -------------------------------------------------------------------------------------


def test_what_is_bad_in_archives_is_refused_alone(tmp_path: Path) -> None:
    """Members that lead out, links, a bomb and an archive in an archive; the others are read."""
    folder = tmp_path / "in"
    folder.mkdir()
    inner = zip_of({"x.txt": "x"})
    members: dict[str, bytes | str] = {
        "a.txt": "From a zip.", "../x.txt": "out", "inner.zip": inner,
        "bomb.txt": b"a" * (20 << 20), "page.html": PAGE % b"A page.", "nul.txt": b"\0",
    }  # fmt: skip
    (folder / "one.zip").write_bytes(zip_of(members))
    with zipfile.ZipFile(folder / "one.zip", "a") as archive:
        member = zipfile.ZipInfo("link.txt")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    plain = {"b.txt": b"From a tar.", "../y.txt": b"out", "/z.txt": b"out"}
    (folder / "two.tar.gz").write_bytes(tar_gz_of(plain, {"link.txt": "/etc/passwd"}))
    run(tmp_path / "out", folder)
    assert {id: reason for id, (reason, _) in refusals_in(tmp_path / "out").items()} == {
        "in/one.zip!/../x.txt": "path_escapes",
        "in/one.zip!/inner.zip": "nested_archive",
        "in/one.zip!/bomb.txt": "expands_too_much",
        "in/one.zip!/nul.txt": "has_nul",
        "in/one.zip!/link.txt": "not_a_file",
        "in/two.tar.gz!/../y.txt": "path_escapes",
        "in/two.tar.gz!//z.txt": "path_escapes",
        "in/two.tar.gz!/link.txt": "not_a_file",
    }
    assert sorted(Counter(dropped_at_read(tmp_path / "out")).elements()) == sorted(
        reason for reason, _ in refusals_in(tmp_path / "out").values()
    )
    assert [text.strip() for text in texts_in(tmp_path / "out")] == [
        "A page.", "From a tar.", "From a zip.",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


# --- files that change ----------------------------------------------------------------------------


class Meddling(Serial):
    """Does something after the sources were hashed, before they are read."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def run(self, calls: Any, on_done: Any) -> list[Any]:
        act, self._act = self._act, None
        if act is not None:
            act()
        return super().run(calls, on_done)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_changes_between_is_refused_and_read_by_the_next_run(
    tmp_path: Path, packed: bool
) -> None:
    folder = write_good(tmp_path / "in")
    log = folder / ("log.jsonl.gz" if packed else "log.jsonl")
    data = gzip.compress(ROWS.encode(), mtime=0) if packed else ROWS.encode()
    log.write_bytes(data)
    out = tmp_path / "out"

    more = b'{"text": "One more."}\n'
    more = gzip.compress(more, mtime=0) if packed else more
    run(out, folder, executor=Meddling(lambda: log.write_bytes(data + more)))
    reason, detail = refusals_in(out)[f"in/{log.name}"]
    assert reason == "changed_while_reading"
    assert str(folder) not in detail
    assert dropped_at_read(out) == {"changed_while_reading": 1}
    assert texts_in(out) == sorted(GOOD)

    run(out, folder)
    assert dropped_at_read(out) == {}
    assert len(texts_in(out)) == len(GOOD) + 301
    run(tmp_path / "at once", folder)
    for name in ("manifest.json", "counts.json"):
        assert hash_file(out / name) == hash_file(tmp_path / "at once" / name)


def test_a_file_that_changes_back_is_read_by_the_next_run_too(tmp_path: Path) -> None:
    """Its hash then is that under which its refusal was noted."""
    folder = write_good(tmp_path / "in")
    file = folder / "good03.txt"
    run(tmp_path / "out", folder, executor=Meddling(lambda: file.write_text("Half of it")))
    assert dropped_at_read(tmp_path / "out") == {"changed_while_reading": 1}
    assert texts_in(tmp_path / "out") == sorted(set(GOOD) - {GOOD[3]})
    file.write_text(GOOD[3])
    run(tmp_path / "out", folder)
    assert dropped_at_read(tmp_path / "out") == {}
    assert texts_in(tmp_path / "out") == sorted(GOOD)


def test_a_file_that_goes_is_refused_and_strict_stops(tmp_path: Path) -> None:
    folder = write_good(tmp_path / "in")
    file = folder / "good03.txt"
    run(tmp_path / "out", folder, executor=Meddling(file.unlink))
    assert dropped_at_read(tmp_path / "out") == {"changed_while_reading": 1}
    file.write_text(GOOD[3])
    meddling = Meddling(lambda: file.write_text("Other"))
    with pytest.raises(DataError, match=r"in/good03\.txt cannot be used \(changed_while_reading: "):
        run(tmp_path / "strict", folder, executor=meddling, reading={"strict": True})


def test_a_file_that_is_written_to_all_the_time(tmp_path: Path) -> None:
    """By another process, which appends line after line while the pipeline runs."""
    folder = write_good(tmp_path / "in")
    log = folder / "log.jsonl"
    code = (
        "import sys, time\n"
        "with open(sys.argv[1], 'a', buffering=1) as file:\n"
        "    n = 0\n"
        "    while True:\n"
        '        file.write(\'{"text": "Line %d."}\\n\' % n)\n'
        "        n += 1\n"
        "        time.sleep(0.0005)\n"
        "        if n == 100: print('begun', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            run(tmp_path / "out", folder)
        finally:
            writer.kill()
    assert dropped_at_read(tmp_path / "out") == {"changed_while_reading": 1}
    assert texts_in(tmp_path / "out") == sorted(GOOD)


# --- sources --------------------------------------------------------------------------------------


def test_two_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for place in ("a", "b"):
        folder = write_good(tmp_path / place / "books")
        (folder / "own.txt").write_text(f"Only in {place}.")
        (folder / "nul.txt").write_bytes(b"\0")
    run(tmp_path / "out", tmp_path / "a/books", tmp_path / "b/books")
    manifest = read_manifest(tmp_path / "out")
    assert [source["name"] for source in manifest["sources"]] == ["books", "books-2"]
    assert set(refusals_in(tmp_path / "out")) == {"books/nul.txt", "books-2/nul.txt"}
    assert dropped_at_read(tmp_path / "out") == {"has_nul": 2}
    assert texts_in(tmp_path / "out") == sorted([*GOOD, "Only in a.", "Only in b."])
    ids = [row["id"] for file in (tmp_path / "out/documents").iterdir() for row in rows_of(file)]
    assert len(set(ids)) == len(ids)
    assert {id.split("/")[0] for id in ids} == {"books", "books-2"}


def test_weights_that_sum_to_nothing_are_told(tmp_path: Path) -> None:
    folder = write_good(tmp_path / "in")
    with pytest.raises(ValueError, match=r"weight=0\.0 must be above 0; or remove the source"):
        run(tmp_path / "out", {"path": str(folder), "weight": 0})


@pytest.mark.filterwarnings("ignore")  # of the library
def test_a_data_set_on_disk_goes_through_the_whole_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through `datasets`, with bad rows in it, and what gives an evaluation set away taken out."""
    datasets: Any = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    question = (
        "If a train leaves the harbour at nine and the ferry follows it two hours later at double "
        "its speed, when do the two of them meet?"
    )
    rows: list[dict[str, Any]] = [{"text": text, "license": "MIT"} for text in GOOD]
    rows += [{"text": "  ", "license": None}, {"text": f"A riddle. {question.upper()} At one."}]
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text(
        "".join(json.dumps({"license": None, **row}) + "\n" for row in rows)
    )
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": question, "answer": "1"}) + "\n")
    benchmark = {"path": str(tmp_path / "quiz.jsonl"), "fields": ("question",)}
    fields: dict[str, Any] = {"decontamination": {"benchmarks": [benchmark]}}
    run(tmp_path / "out", f"hf:{folder}", **fields)
    assert texts_in(tmp_path / "out") == sorted(GOOD)
    assert dropped_at_read(tmp_path / "out") == {"empty": 1}
    manifest = read_manifest(tmp_path / "out")
    assert manifest["sources"][0]["licences"] == {"MIT": len(GOOD)}
    stages = {stage["name"]: stage["dropped"] for stage in manifest["stages"]}
    assert sum(stages["decontaminate"].values()) == 1
    with pytest.raises(DataError, match="check its name, config and split"):
        run(tmp_path / "no split", f"hf:{folder}:nowhere", **fields)
    with pytest.raises(GroundupError, match="names no folder"):
        run(tmp_path / "no folder", f"hf:{tmp_path}/not/there", **fields)


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_file_of_one_line_is_prepared_in_bounded_memory(tmp_path: Path) -> None:
    """Eight times as much on one line takes no more memory; of 64 MB not a byte is lost."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from groundup.data.prepare import DataConfig, prepare\n"
        "from groundup.runtime import peak_memory_bytes\n"
        "counts = prepare(DataConfig(sources=[sys.argv[1]], dedup={'exact': False, 'near': None}),"
        " Path(sys.argv[2]))\n"
        "print(sum(counts['documents'][s]['n_bytes'] for s in ('train', 'heldout')),"
        " peak_memory_bytes())\n"
    )
    peaks = {}
    for megabytes in (8, 64):
        path = tmp_path / f"{megabytes}.txt"
        with path.open("wb") as file:
            for n in range(megabytes * 1000):
                file.write(b"word%06d " % n * 90 + b"x" * 10)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / f"out{megabytes}")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        n_bytes, peaks[megabytes] = map(int, done.stdout.split())
        assert n_bytes == path.stat().st_size == megabytes * 1_000_000
    assert peaks[64] < peaks[8] + 60e6
