"""PDF, Word and EPUB: their text, and those that have none, are damaged or locked."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
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


def test_a_page_that_cannot_be_read_is_told_and_the_rest_read(tmp_path: Path) -> None:
    data = pdf_of(["First page.", "Second page.", "Third page."])
    (tmp_path / "a.pdf").write_bytes(data.replace(b"6 0 R 8 0 R]", b"3 0 R 8 0 R]"))
    document, refusal = read(tmp_path)
    assert isinstance(document, Document)
    assert document.text == "First page.\n\nThird page."
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.reason) == ("s/a.pdf", "not_pdf")
    assert "page 2 cannot be read" in refusal.detail


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


def text_of_docx(path: Path, body: str, **more: str) -> str:
    members = {
        "word/document.xml": f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>"
    }
    path.write_bytes(zip_of({**members, **more}))
    (text,) = texts(path)
    return text


def test_formulas_moves_and_symbols(tmp_path: Path) -> None:
    math = (
        '<m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"><m:r><m:t>y='
        "</m:t></m:r><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r>"
        "</m:den></m:f><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r>"
        "</m:sup></m:sSup></m:oMath>"
    )
    moved = "<w:p><w:%s><w:r><w:t>Moved.</w:t></w:r></w:%s></w:p>"
    symbol = '<w:p><w:r><w:t>10</w:t><w:sym w:font="%s" w:char="%s"/></w:r></w:p>'
    body = (
        f"<w:p><w:r><w:t>Let </w:t></w:r>{math}<w:r><w:t> hold.</w:t></w:r></w:p>"
        + moved % ("moveFrom", "moveFrom") + paragraph("Middle") + moved % ("moveTo", "moveTo")
        + symbol % ("Symbol", "F0B0") + symbol % ("Symbol", "F06D") + symbol % ("Arial", "00A7")
    )  # fmt: skip
    text = text_of_docx(tmp_path / "a.docx", body)
    assert text == "Let y=(a)/(b)x^(2) hold.\n\nMiddle\n\nMoved.\n\n10°\n\n10μ\n\n10§"


def test_a_symbol_that_is_not_known_is_noted(tmp_path: Path) -> None:
    body = '<w:p><w:r><w:t>a</w:t><w:sym w:font="Own" w:char="F041"/></w:r></w:p>'
    (tmp_path / "a.docx").write_bytes(docx_of(body))
    notes: Counter[str] = Counter()
    assert texts(tmp_path, notes=notes) == ["a\ufffd"]
    assert notes == {"docx symbol not known": 1}


def test_empty_cells_keep_their_place(tmp_path: Path) -> None:
    rows = [("a", "b", ""), ("", "c", ""), ("", "", ""), ("", "", "d")]
    table = "".join(
        "<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) + "</w:tr>"
        for row in rows
    )
    body = f"{paragraph('Before')}<w:tbl>{table}</w:tbl>{paragraph('Behind')}"
    text = text_of_docx(tmp_path / "a.docx", body)
    assert text == "Before\n\na\tb\t\n\tc\t\n\t\td\n\nBehind"


def test_notes_follow_the_body(tmp_path: Path) -> None:
    notes = {
        f"word/{kind}notes.xml": f"<w:{kind}notes {NAMESPACES}><w:{kind}note w:id='1'>"
        f"{paragraph(f'An {kind}note.')}</w:{kind}note></w:{kind}notes>"
        for kind in ("foot", "end")
    }
    text = text_of_docx(tmp_path / "a.docx", paragraph("Claim"), **notes)
    assert text == "Claim\n\nAn footnote.\n\nAn endnote."


def test_the_document_is_where_its_package_says(tmp_path: Path) -> None:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="a" Type="x/core" Target="c.xml"/><Relationship Id="b" Type="{kind}" '
        'Target="/word/document2.xml"/></Relationships>'
    )
    xml = f"<w:document {NAMESPACES}><w:body>{paragraph('Hello')}</w:body></w:document>"
    (tmp_path / "a.docx").write_bytes(zip_of({"_rels/.rels": relations, "word/document2.xml": xml}))
    assert texts(tmp_path) == ["Hello"]


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


@pytest.mark.parametrize("head", ["<title/>", '<script src="x.js"/>', "<style/>", "<textarea/>"])
def test_elements_that_are_closed_at_once_hide_no_chapter(tmp_path: Path, head: str) -> None:
    chapters = {name: f"<p>Chapter {name[0]}.</p>" for name in ("a.xhtml", "b.xhtml", "c.xhtml")}
    page = f"<html><head>{head}</head><body><p>Chapter b.</p></body></html>"
    (tmp_path / "a.epub").write_bytes(epub_of(chapters, **{"OEBPS/b.xhtml": page}))
    assert texts(tmp_path) == ["Chapter a.\n\nChapter b.\n\nChapter c."]


def test_a_chapter_of_which_nothing_is_found_is_told(tmp_path: Path) -> None:
    chapters = {
        "a.xhtml": "<p>It began.</p>",
        "b.xhtml": "<textarea>It ended.",
        "c.xhtml": "<img/>",
    }
    (tmp_path / "a.epub").write_bytes(epub_of(chapters))
    document, refusal = read(tmp_path)
    assert isinstance(document, Document)
    assert document.text == "It began."
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not_html"
    assert "chapter OEBPS/b.xhtml: has words, of which none is found" in refusal.detail


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("application/xhtml+xml", "text/x-oeb1-document"),
        ("application/xhtml+xml", "application/xml"),
        (' xmlns="http://www.idpf.org/2007/opf"', ""),
        ("http://www.idpf.org/2007/opf", "http://openebook.org/namespaces/oeb-package/1.0/"),
    ],
)
def test_older_packages_are_read(tmp_path: Path, old: str, new: str) -> None:
    package = package_of(["a.xhtml"])
    assert old in package
    data = epub_of({"a.xhtml": "<p>Words.</p>"}, **{"OEBPS/a b.opf": package.replace(old, new)})
    (tmp_path / "a.epub").write_bytes(data)
    assert texts(tmp_path) == ["Words."]


def test_a_book_without_a_spine_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.epub").write_bytes(epub_of({}))
    refusal = refusal_of(tmp_path)
    assert refusal.reason == "not_epub"
    assert "its spine names no chapter that is read" in refusal.detail


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
