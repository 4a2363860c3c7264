"""PDF, Word and EPUB: their text, and those that have none, are damaged or locked."""

from __future__ import annotations

import io
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from groundup.data.records import Document, Refusal

from .samples import pdf_of, read, reasons_of, refusal_of, texts, zip_of

# --- PDF ------------------------------------------------------------------------------------------


def test_the_pages_of_a_pdf_are_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_of(["First page.", "", "Third page."]))
    assert texts(tmp_path) == ["First page.\n\nThird page."]


def test_a_pdf_of_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_of(["", ""]))
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "no_text"
    assert "2 page(s) without text: pictures, which need OCR first" in refusal.detail


def test_a_pdf_with_a_password_is_told(tmp_path: Path) -> None:
    key = "41" * 32
    lock = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >> "
    lock += f"/ID [<{'00' * 16}> <{'00' * 16}>]"
    (tmp_path / "a.pdf").write_bytes(pdf_of(["Secret."], lock))
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "encrypted"
    assert "needs a password" in refusal.detail


def test_what_is_no_pdf_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 and no more")
    (tmp_path / "b.pdf").write_bytes(b"<html>")
    (tmp_path / "c.pdf").write_bytes(b"")
    assert set(reasons_of(tmp_path).values()) == {"not_pdf"}


# --- Word -----------------------------------------------------------------------------------------

NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)


def docx_of(body: str) -> bytes:
    xml = f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>"
    return zip_of({"[Content_Types].xml": "<Types/>", "word/document.xml": xml})


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def test_paragraphs_and_tables_stand_in_order(tmp_path: Path) -> None:
    row = "<w:tr><w:tc>%s</w:tc><w:tc>%s</w:tc></w:tr>"
    table = row % (paragraph("a"), paragraph("b")) + row % (paragraph("c"), paragraph("d"))
    body = (
        paragraph("Title")
        + "<w:p><w:r><w:t>Two </w:t></w:r><w:r><w:tab/><w:t>parts</w:t><w:br/><w:t>and a line</w:t>"
        "</w:r><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del></w:p><w:p/>"
        + f"<w:tbl>{table}</w:tbl>"
        + "<w:p><mc:AlternateContent><mc:Choice><w:r><w:t>Box</w:t></w:r></mc:Choice>"
        "<mc:Fallback><w:r><w:t>Box</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>"
        + paragraph("&#8222;End&#8220;")
    )
    (tmp_path / "a.docx").write_bytes(docx_of(body))
    expected = "Title\n\nTwo \tparts\nand a line\n\na\tb\nc\td\n\nBox\n\n„End“"
    assert texts(tmp_path) == [expected]


def test_paragraphs_are_those_that_python_docx_finds(tmp_path: Path) -> None:
    docx: Any = pytest.importorskip("docx", reason="python-docx is not installed")
    made = docx.Document()
    made.add_heading("A heading", 1)
    for n in range(30):
        paragraph = made.add_paragraph(f"Paragraph {n} with ")
        paragraph.add_run("bold words").bold = True
        paragraph.add_run(f" and\ta tab, è, 世, <&> {n}.")
    made.add_paragraph("An item", style="List Bullet")
    made.save(tmp_path / "a.docx")
    expected = [p.text for p in docx.Document(str(tmp_path / "a.docx")).paragraphs]
    assert "\n\n".join(texts(tmp_path)).split("\n\n") == expected


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghi"))
    + "]>"
)


def test_word_documents_that_cannot_be_used(tmp_path: Path) -> None:
    bomb = f"{LAUGHS}<w:document {NAMESPACES}><w:p><w:t>&i;</w:t></w:p></w:document>"
    files = {
        "empty.docx": docx_of("<w:p/>"),
        "locked.docx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        "none.docx": b"not a zip",
        "other.docx": zip_of({"xl/workbook.xml": "<x/>"}),
        "broken.docx": zip_of({"word/document.xml": f"<w:document {NAMESPACES}><w:p>"}),
        "laughs.docx": zip_of({"word/document.xml": bomb}),
        "spaces.docx": zip_of({"word/document.xml": " " * (40 << 20)}),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert reasons_of(tmp_path) == {
        "empty.docx": "no_text",
        "locked.docx": "encrypted",
        "none.docx": "not_docx",
        "other.docx": "not_docx",
        "broken.docx": "not_docx",
        "laughs.docx": "not_docx",
        "spaces.docx": "expands_too_much",
    }


# --- EPUB -----------------------------------------------------------------------------------------

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/a%20b.opf"/></rootfiles></container>'
)


def package_of(chapters: list[str], rights: str = "") -> str:
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    return (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{rights}</metadata><manifest>{items}'
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f'</manifest><spine><itemref idref="nav"/>{order}</spine></package>'
    )


def epub_of(chapters: dict[str, str], rights: str = "", **more: str) -> bytes:
    package = package_of(list(chapters), rights)
    members = {f"OEBPS/{name}": f"<html><body>{text}</body></html>"
               for name, text in chapters.items()}  # fmt: skip
    return zip_of(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": CONTAINER.replace("%20", " "),
            "OEBPS/a b.opf": package,
            "OEBPS/nav.xhtml": "<html><body>Contents</body></html>",
            **members,
            **more,
        }
    )


def test_the_chapters_of_a_book_are_one_document(tmp_path: Path) -> None:
    chapters = {"z.xhtml": "<h1>One</h1><p>It began.</p>", "text/a.xhtml": "<p>It ended.</p>"}
    rights = "<dc:rights>CC BY-SA 3.0</dc:rights>"
    (tmp_path / "a.epub").write_bytes(epub_of(chapters, rights))
    (document,) = read(tmp_path)
    assert isinstance(document, Document)
    assert document.text == "One\n\nIt began.\n\nIt ended."
    assert document.licence == "CC-BY-SA-3.0"
    assert [d.id for d in read(tmp_path, piece_bytes=64)] == ["s/a.epub#0"]


def test_a_chapter_that_is_missing_is_told_and_the_rest_read(tmp_path: Path) -> None:
    data = epub_of({"a.xhtml": "<p>It began.</p>", "b.xhtml": "<p>x</p>"})
    members = {
        name: content for name, content in _members(data).items() if not name.endswith("b.xhtml")
    }
    (tmp_path / "a.epub").write_bytes(zip_of(members))
    document, refusal = read(tmp_path)
    assert isinstance(document, Document)
    assert document.text == "It began."
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not_epub"
    assert "chapter OEBPS/b.xhtml" in refusal.detail


def test_books_that_cannot_be_used(tmp_path: Path) -> None:
    locked = (
        '<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:CipherReference URI="%s"/>'
        "</encryption>"
    )
    chapter = {"a.xhtml": "<p>Words.</p>"}
    name = "META-INF/encryption.xml"
    files = {
        "empty.epub": epub_of({"a.xhtml": ""}),
        "drm.epub": epub_of(chapter, **{name: locked % "OEBPS/a.xhtml"}),
        "fonts.epub": epub_of(chapter, **{name: locked % "OEBPS/font.otf"}),
        "none.epub": b"not a zip",
        "other.epub": zip_of({"a.txt": "x"}),
        "broken.epub": epub_of(chapter, **{"META-INF/container.xml": "<container>"}),
    }
    for file_name, data in files.items():
        (tmp_path / file_name).write_bytes(data)
    assert reasons_of(tmp_path) == {
        "empty.epub": "no_text",
        "drm.epub": "encrypted",
        "none.epub": "not_epub",
        "other.epub": "not_epub",
        "broken.epub": "not_epub",
    }


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.epub", "a.html"])
def test_what_must_be_held_whole_may_be_too_large(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 2000)
    refusal = refusal_of(tmp_path, max_document_bytes=1000)
    assert refusal.reason == "too_large"
    assert "raise max_document_bytes" in refusal.detail
