"""What is packed and cut short or damaged: all that comes before is given, and then the fault."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tarfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.formats import Compression
from groundup.data.reading.streams import Budget, Content, unpacked
from groundup.data.records import Document, Refusal, Refused

from .samples import read, refusal_of

PACK = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lzma.compress,
    "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


def noise(n_bytes: int) -> bytes:
    """Letters that hardly can be compressed."""
    return bytes(random.Random(0).choices(range(97, 123), k=n_bytes))


def packed_content(packed: bytes, compression: Compression) -> Content:
    def opened() -> BytesIO:
        return unpacked(BytesIO(packed), compression, Budget(ReadingConfig(), None))  # type: ignore[return-value]

    return Content(f"a.txt.{compression}", opened)


@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("n_asked", [100, 10_240, 1 << 20])
def test_what_comes_before_the_cut_is_given(compression: Compression, n_asked: int) -> None:
    data = noise(700_000)
    content = packed_content(PACK[compression](data)[:-5], compression)
    got = bytearray()

    def read_on(file: BinaryIO) -> None:
        while True:
            got.extend(file.read(n_asked))

    with content.opened() as file, pytest.raises(Refused, match=r"ends in the middle|runcated"):
        read_on(file)
    assert data.startswith(got)
    lost = {"bz2": 110_000, "zst": 140_000}.get(compression, 200)  # a block; of gz and xz little
    assert len(data) - len(got) < lost
    with pytest.raises(Refused, match=r"ends in the middle|runcated"):
        content.read_whole(1 << 20)


def test_a_tar_that_is_packed_and_cut_gives_the_members_before_the_cut(tmp_path: Path) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for n in range(5):
            member = tarfile.TarInfo(f"{n}.txt")
            member.size = 6000
            archive.addfile(member, BytesIO(noise(6000)[::-1] if n % 2 else noise(6000)))
    packed = gzip.compress(buffer.getvalue(), 0, mtime=0)
    (tmp_path / "a.tar.gz").write_bytes(packed[: len(packed) // 2])
    found = read(tmp_path)
    ids = [row.id for row in found if isinstance(row, Document)]
    assert ids[:2] == ["s/a.tar.gz!/0.txt#0", "s/a.tar.gz!/1.txt#0"]
    last = found[-1]
    assert isinstance(last, Refusal)
    assert (last.id, last.reason) == ("s/a.tar.gz", "truncated")


def test_a_long_window_is_told_with_what_helps(tmp_path: Path) -> None:
    """A frame of one empty block, whose header asks for a window of 2 GiB."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([21 << 3]) + b"\x01\x00\x00"
    (tmp_path / "a.jsonl.zst").write_bytes(frame)
    refusal = refusal_of(tmp_path)
    assert (refusal.reason, refusal.detail) == (
        "too_large",
        "was compressed with a long window; run zstd -d --long=31 on it first",
    )
