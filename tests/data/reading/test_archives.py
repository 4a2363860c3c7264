"""Archives and what is compressed: their members, and what a hostile one holds."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.data.records import Document, Refusal

from .samples import pdf_of, read, reasons_of, refusal_of, texts, zip_of

ROWS = "".join(json.dumps({"text": f"row {i}"}) + "\n" for i in range(300))


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def tar_of(members: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["in a table"]}), buffer)
    return buffer.getvalue()


MEMBERS = {
    "a.txt": b"plain",
    "folder/b.jsonl": b'{"text": "first"}\n{"text": "second"}\n',
    "c.txt.gz": gzip.compress(b"packed twice"),
    "d.parquet": parquet(),
    "e.pdf": pdf_of(["a page"]),
    "f.jpg": b"picture",
    ".hidden.txt": b"not read",
    "__MACOSX/._a.txt": b"not read",
}
EXPECTED = ["plain", "first", "second", "packed twice", "in a table", "a page"]


@pytest.mark.parametrize("ending", PACKERS)
def test_each_way_of_compressing_is_read(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.jsonl{ending}").write_bytes(PACKERS[ending](ROWS.encode()))
    found = read(tmp_path)
    assert [r.text for r in found if isinstance(r, Document)] == [f"row {i}" for i in range(300)]
    assert isinstance(found[3], Document)
    assert found[3].start == ROWS.index('{"text": "row 3"}')


@pytest.mark.parametrize("ending", PACKERS)
def test_each_way_of_compressing_can_be_truncated_or_damaged(tmp_path: Path, ending: str) -> None:
    packed = PACKERS[ending](ROWS.encode() * 50)
    (tmp_path / f"a.txt{ending}").write_bytes(packed[: len(packed) // 2])
    (tmp_path / f"b.txt{ending}").write_bytes(packed[:-1])
    (tmp_path / f"c.txt{ending}").write_bytes(b"nothing of that kind")
    (tmp_path / f"d.txt{ending}").write_bytes(b"")
    reasons = reasons_of(tmp_path)
    assert reasons.pop(f"c.txt{ending}") == "damaged"
    assert reasons.pop(f"d.txt{ending}") in ("truncated", "empty")
    assert reasons == {f"a.txt{ending}": "truncated", f"b.txt{ending}": "truncated"}


@pytest.mark.parametrize("ending", PACKERS)
def test_files_packed_one_behind_the_other_are_one(tmp_path: Path, ending: str) -> None:
    pack = PACKERS[ending]
    (tmp_path / f"a.txt{ending}").write_bytes(pack(b"one ") + pack(b"two"))
    assert texts(tmp_path) == ["one two"]


def test_the_members_of_a_zip_are_read_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(MEMBERS))
    found = read(tmp_path, licence="CC0-1.0")
    documents = [record for record in found if isinstance(record, Document)]
    assert [document.text for document in documents] == EXPECTED
    assert documents[2] == Document(
        "second",
        "s/a.zip!/folder/b.jsonl#1",
        "s",
        licence="CC0-1.0",
        path="a.zip!/folder/b.jsonl",
        start=18,
        end=37,
    )
    assert reasons_of(tmp_path) == {"a.zip!/f.jpg": "ending_not_read"}


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_the_members_of_a_tar_are_read_where_they_stand(tmp_path: Path, ending: str) -> None:
    pack = PACKERS.get("." + ending.split(".")[-1].replace("tgz", "gz"), bytes)
    (tmp_path / f"a{ending}").write_bytes(pack(tar_of(MEMBERS)))
    found = read(tmp_path)
    assert [record.text for record in found if isinstance(record, Document)] == EXPECTED
    assert reasons_of(tmp_path) == {f"a{ending}!/f.jpg": "ending_not_read"}


ESCAPES = {"../up.txt": b"x", "/etc/abs.txt": b"x", "a/../../b.txt": b"x", "ok/../in.txt": b"x"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path, kind: str) -> None:
    members = {**ESCAPES, "C:\\windows.txt": b"x", "fine.txt": b"fine", "not..up.txt": b"fine"}
    data = zip_of(members) if kind == "zip" else tar_of(members)
    (tmp_path / f"a.{kind}").write_bytes(data)
    found = read(tmp_path)
    assert [r.text for r in found if isinstance(r, Document)] == ["fine", "fine"]
    refused = [r for r in found if isinstance(r, Refusal)]
    assert [r.reason for r in refused] == ["path_escapes"] * 5
    assert "'../up.txt'" in refused[0].detail
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{kind}"]


def test_links_and_devices_in_archives_are_refused(tmp_path: Path) -> None:
    kinds = {"l.txt": tarfile.SYMTYPE, "h.txt": tarfile.LNKTYPE, "d.txt": tarfile.CHRTYPE}
    extra = []
    for name, kind in kinds.items():
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        extra.append(info)
    (tmp_path / "a.tar").write_bytes(tar_of({"a.txt": b"fine"}, *extra))
    link = zipfile.ZipInfo("l.txt")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    (tmp_path / "b.zip").write_bytes(buffer.getvalue())
    assert reasons_of(tmp_path) == {
        "a.tar!/l.txt": "not_a_file",
        "a.tar!/h.txt": "not_a_file",
        "a.tar!/d.txt": "not_a_file",
        "b.zip!/l.txt": "not_a_file",
    }


def test_an_archive_in_an_archive_is_refused(tmp_path: Path) -> None:
    inner = zip_of({"x.txt": b"x"})
    (tmp_path / "a.zip").write_bytes(zip_of({"in.zip": inner, "in.tar.gz": b"", "y.txt": b"y"}))
    assert reasons_of(tmp_path) == {
        "a.zip!/in.zip": "nested_archive",
        "a.zip!/in.tar.gz": "nested_archive",
    }


def test_two_members_of_one_name_have_two_ids(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"x.txt": b"old", "./x.txt": b"new"}))
    assert [record.id for record in read(tmp_path)] == ["s/a.tar!/x.txt#0", "s/a.tar!/x.txt~2#0"]


def test_a_point_within_a_name_hides_nothing(tmp_path: Path) -> None:
    members = {"a/./b.txt": b"one", "././c.txt": b"two", "a/./.d.txt": b"hidden", ".e/f.txt": b"x"}
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    assert [r.id for r in read(tmp_path)] == ["s/a.tar!/a/b.txt#0", "s/a.tar!/c.txt#0"]


@pytest.mark.parametrize(
    ("encoding", "name", "noted"),
    [
        ("utf-8", "\u65e5\u672c.txt", {}),
        ("cp437", "\u00fcn\u00ef.txt", {"name in a zip read as cp437": 1}),
    ],
)
def test_names_that_do_not_say_their_encoding(
    tmp_path: Path, encoding: str, name: str, noted: dict[str, int]
) -> None:
    raw = name.encode(encoding)
    data = zip_of({"X" * len(raw): b"words"}).replace(b"X" * len(raw), raw)
    (tmp_path / "a.zip").write_bytes(data)
    notes: Counter[str] = Counter()
    assert [r.id for r in read(tmp_path, notes=notes)] == [f"s/a.zip!/{name}#0"]
    assert notes == noted


# --- bombs ----------------------------------------------------------------------------------------

ZEROS = b" " * (40 << 20)


def test_what_unpacks_to_too_much_is_refused_alone(tmp_path: Path) -> None:
    members = {"bomb.txt": ZEROS, "fine.txt": b"fine"}
    (tmp_path / "a.zip").write_bytes(zip_of(members))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(ZEROS))
    (tmp_path / "c.txt").write_text("fine")
    found = read(tmp_path)
    assert [r.text for r in found if isinstance(r, Document)] == ["fine", "fine"]
    refused = {r.id: r for r in found if isinstance(r, Refusal)}
    assert {id: r.reason for id, r in refused.items()} == {
        "s/a.zip!/bomb.txt": "expands_too_much",
        "s/b.txt.gz": "expands_too_much",
    }
    assert "raise max_expansion" in refused["s/b.txt.gz"].detail


def test_a_zip_that_says_too_little_of_its_size_is_cut_off(tmp_path: Path) -> None:
    """The directory of the archive tells of 10 bytes; the stream holds 40 MiB."""
    data = bytearray(zip_of({"a.txt": ZEROS}))
    size = len(ZEROS).to_bytes(4, "little")
    data = bytearray(bytes(data).replace(size, (10).to_bytes(4, "little")))
    (tmp_path / "a.zip").write_bytes(bytes(data))
    found = read(tmp_path)
    assert all(len(r.text) <= 10 for r in found if isinstance(r, Document))
    assert [r.reason for r in found if isinstance(r, Refusal)] in (["damaged"], ["empty"])


def test_many_members_may_not_unpack_to_too_much_together(tmp_path: Path) -> None:
    data = zip_of({f"{i}.txt": b"word " * 40_000 for i in range(20)})
    (tmp_path / "a.zip").write_bytes(data)
    found = read(tmp_path, max_unpacked_bytes=1_000_000)
    assert sum(isinstance(r, Document) for r in found) == 5
    last = found[-1]
    assert isinstance(last, Refusal)
    assert (last.id, last.reason) == ("s/a.zip", "expands_too_much")


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    members = {f"{i}.txt": b"x" for i in range(9)}
    (tmp_path / "a.zip").write_bytes(zip_of(members))
    assert refusal_of(tmp_path, max_members=8).reason == "too_many_members"
    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    *documents, refusal = read(tmp_path, max_members=8)
    assert len(documents) == 8
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.tar", "too_many_members")


def test_a_sparse_file_in_a_tar_may_not_fill_the_disk(tmp_path: Path) -> None:
    """A header of 512 bytes says that 100 GB of zeros follow."""
    info = tarfile.TarInfo("holes.txt")
    info.size = 100 << 30
    data = info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(data + bytes(1024))
    assert reasons_of(tmp_path)["a.tar"] in ("truncated", "damaged")


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_member_is_refused_and_the_others_read(tmp_path: Path) -> None:
    members = {"a.txt": b"first", "b.txt": b"second " * 500, "c.txt": b"third"}
    data = bytearray(zip_of(members, zipfile.ZIP_STORED))
    place = bytes(data).index(b"second second")
    data[place : place + 6] = b"SECOND"
    (tmp_path / "a.zip").write_bytes(bytes(data))
    found = read(tmp_path)
    assert [r.text for r in found if isinstance(r, Document)] == ["first", "third"]
    assert reasons_of(tmp_path) == {"a.zip!/b.txt": "damaged"}


def test_members_with_a_password_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.txt": b"secret", "b.txt": b"open"}, zipfile.ZIP_STORED))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[bytes(data).index(mark) + place] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(data))
    assert reasons_of(tmp_path) == {"a.zip!/a.txt": "encrypted"}


def test_a_list_that_names_places_outside_of_the_archive_is_damage(tmp_path: Path) -> None:
    """The list of files is said to lie further on than it does, so that members begin before it."""
    data = bytearray(zip_of({"a.txt": b"words"}))
    end = bytes(data).rindex(b"PK\x05\x06")
    place = int.from_bytes(data[end + 16 : end + 20], "little")
    data[end + 16 : end + 20] = (place + 9).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(bytes(data))
    assert reasons_of(tmp_path) == {"a.zip!/a.txt": "damaged"}


def test_archives_that_are_truncated_or_none_at_all(tmp_path: Path) -> None:
    whole = zip_of({"a.txt": b"words " * 99})
    (tmp_path / "a.zip").write_bytes(whole[:-30])
    (tmp_path / "b.zip").write_bytes(b"no archive")
    (tmp_path / "c.tar").write_bytes(b"no archive" * 99)
    (tmp_path / "d.tar.gz").write_bytes(b"no archive")
    (tmp_path / "x.txt").write_text("x")
    assert reasons_of(tmp_path) == {
        "a.zip": "truncated",
        "b.zip": "damaged",
        "c.tar": "damaged",
        "d.tar.gz": "damaged",
    }


def test_a_tar_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    whole = tar_of({"a.txt": b"first", "b.txt": b"second" * 999, "c.txt": b"third"})
    (tmp_path / "a.tar").write_bytes(whole[: 512 * 4])  # in the middle of b.txt
    (tmp_path / "b.tar").write_bytes(whole[: 512 * 2])  # behind a.txt
    broken = bytearray(whole)
    broken[1024:1034] = b"\xff" * 10  # the header of b.txt
    (tmp_path / "c.tar").write_bytes(bytes(broken))
    (tmp_path / "d.tar.gz").write_bytes(gzip.compress(whole)[:-60])
    found = read(tmp_path)
    for name in ("a.tar", "b.tar", "c.tar"):
        assert f"s/{name}!/a.txt#0" in [record.id for record in found]
    reasons = reasons_of(tmp_path)
    assert reasons["b.tar"] == "truncated"
    assert reasons["c.tar"] == "damaged"
    assert reasons["a.tar"] == "truncated"
    assert reasons["d.tar.gz"] == "truncated"
