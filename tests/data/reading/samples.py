"""What the tests of reading share: reading one path, and files of each kind made in a few lines."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from groundup.data.reading import ReadingConfig, SourceConfig, read_source
from groundup.data.records import Document, Record, Refusal

DATA = Path(__file__).parents[3].parent / "shared" / "data"
PAGE = b"<html><body><p>%s</p></body></html>"


def read(
    path: Path | str,
    *,
    column: str | int | None = None,
    licence: str | None = None,
    notes: Counter[str] | None = None,
    **limits: Any,
) -> list[Record | Refusal]:
    """All records of a file or a folder, as those of a source called "s"."""
    source = SourceConfig(path=str(path), column=column, licence=licence)
    return list(read_source(source, "s", ReadingConfig(**limits), notes))


def texts(path: Path | str, **options: Any) -> list[str]:
    """The texts of a path, of which nothing is refused."""
    found = read(path, **options)
    assert all(isinstance(record, Document) for record in found), found
    return [record.text for record in found if isinstance(record, Document)]


def refusal_of(path: Path | str, **options: Any) -> Refusal:
    """The one thing that reading a path gives, which is a refusal."""
    (refusal,) = read(path, **options)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def reasons_of(path: Path | str, **options: Any) -> dict[str, str]:
    """The reason of each refusal by what stands behind "s/" in its id."""
    found = read(path, **options)
    return {
        record.id.removeprefix("s/"): record.reason
        for record in found
        if isinstance(record, Refusal)
    }


def zip_of(members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def pdf_of(pages: list[str], encrypt: str = "") -> bytes:
    """A PDF with a line of text on each page; `encrypt` goes in its trailer."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else "0 0 100 100 re f"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Contents {5 + 2 * n} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data, places = b"%PDF-1.4\n", []
    for n, content in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{n} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R {encrypt} >>"
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}\n"
    return data + end.encode() + f"startxref\n{len(data)}\n%%EOF\n".encode()


def warc_record(kind: str, block: bytes, **fields: str) -> bytes:
    """One record of a web archive."""
    header = {"WARC-Type": kind, **{k.replace("_", "-"): v for k, v in fields.items()}}
    header.setdefault("Content-Length", str(len(block)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items())
    return f"WARC/1.0\r\n{lines}\r\n".encode() + block + b"\r\n\r\n"


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """The answer of a server, a web page unless a header says otherwise."""
    if not any(header.lower().startswith("content-type") for header in headers):
        headers = ("Content-Type: text/html; charset=utf-8", *headers)
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body
