"""The text of a Word document: the paragraphs and tables of its body, in order.

Office Open XML (ECMA-376, part 1, section 17): `w:p` is a paragraph, `w:t` its text, `w:tr` and
`w:tc` the rows and cells of a table. What was deleted while changes were tracked stands in
`w:delText` and what was moved in `w:moveFrom`; both are left out, and so is `mc:Fallback`, which
repeats what stands beside it. Formulas come as a line: x^(2), (a)/(b). Footnotes and endnotes
follow the body.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO
from xml.etree import ElementTree

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.html import valid_text
from groundup.data.reading.origin import Origin, documents_of
from groundup.data.reading.streams import Budget, Content, guarded, opening_errors
from groundup.data.records import Document, Refusal, Refused

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_W_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_M_STRICT = "{http://purl.oclc.org/ooxml/officeDocument/math}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_LEFT_OUT = (_FALLBACK, f"{_W}moveFrom", f"{_W_STRICT}moveFrom")
_BODY, _RELATIONS = "word/document.xml", "_rels/.rels"
_NOTES = ("footnotes.xml", "endnotes.xml")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"  # of OLE files, which hold documents with a password
_RELATIONS_BYTES = 1 << 20
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_FORMULA_STARTS = {"num": "(", "den": "/(", "sup": "^(", "sub": "_(", "rad": "\u221a("}
_SYMBOL_LETTERS = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", "αβχδεφγηιϕκλμνοπθρστυϖωξψζ"
_SYMBOL = {  # the font of that name (Adobe, Symbol encoding), as far as it is met in text
    **dict(zip(range(0x41, 0x5B), _SYMBOL_LETTERS[0], strict=True)),
    **dict(zip(range(0x61, 0x7B), _SYMBOL_LETTERS[1], strict=True)),
    **dict(zip(range(0xA2, 0xA6), "′≤⁄∞", strict=True)),
    **dict(zip(range(0xAB, 0xBD), "↔←↑→↓°±″≥×∝∂•÷≠≡≈…", strict=True)),
    **dict(zip(range(0xC4, 0xD2), "⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇", strict=True)),
    **dict(zip(range(0xD2, 0xDF), "®©™∏√⋅¬∧∨⇔⇐⇑⇒", strict=True)),
    **dict(zip((0x22, 0x24, 0x2D, 0xE5, 0xF2), "∀∃−∑∫", strict=True)),
}


def read_docx(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """A Word document as one document. Raises Refused: `encrypted`, `not_docx`, `no_text`."""
    data = content.read_whole(config.max_document_bytes)
    if data.startswith(_OLD_OFFICE):
        raise Refused("encrypted", "needs a password, or is of Word before 2007; save it anew")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            document = _Parts(archive, Budget(config, len(data)), origin)
            yield from documents_of(document.paragraphs(), origin, config.piece_bytes)
    except zipfile.BadZipFile as error:
        raise Refused("not_docx", f"is no Word document: {error}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # and encodings not known
        raise Refused("not_docx", f"its text is damaged: {error}") from error


class _Parts:
    """What a document is made of: its body, and the notes that stand beside it."""

    def __init__(self, archive: zipfile.ZipFile, budget: Budget, origin: Origin) -> None:
        self._archive, self._budget, self._origin = archive, budget, origin

    def paragraphs(self) -> Iterator[str]:
        """All of its text. Raises Refused if there is no body."""
        body = self._body()
        yield from self._paragraphs_of(body, "")
        for name in _NOTES:
            name = posixpath.join(posixpath.dirname(body), name)
            if name in self._archive.namelist():
                yield from self._paragraphs_of(name, "\n\n")

    def _body(self) -> str:
        """The part that the package says is the document."""
        if _RELATIONS in self._archive.namelist():
            with self._opened(_RELATIONS) as file:
                relations = ElementTree.fromstring(file.read(_RELATIONS_BYTES))
            for relation in relations:
                if relation.get("Type", "").endswith("/officeDocument"):
                    return posixpath.normpath(relation.get("Target", "").lstrip("/"))
        return _BODY

    def _opened(self, name: str) -> BinaryIO:
        try:
            info = self._archive.getinfo(name)
        except KeyError as error:
            raise Refused("not_docx", f"is no Word document: it has no {name}") from error
        if info.flag_bits & 1:
            raise Refused("encrypted", "needs a password")
        with opening_errors():
            opened = self._archive.open(info)
        return guarded(opened, self._budget)

    def _paragraphs_of(self, name: str, separator: str) -> Iterator[str]:
        with self._opened(name) as file:
            yield from _paragraphs(file, self._origin, separator)


def _paragraphs(file: BinaryIO, origin: Origin, separator: str) -> Iterator[str]:
    """Paragraphs with a blank line between them, the rows of a table each on a line."""
    parts: list[str] = []
    n_left_out = n_tables = 0
    for event, element in ElementTree.iterparse(file, ("start", "end")):
        name = element.tag.removeprefix(_W).removeprefix(_W_STRICT)
        if event == "start":
            n_left_out += element.tag in _LEFT_OUT
            n_tables += name == "tbl"
            if not n_left_out:
                parts.append(_formula_mark(element.tag, _FORMULA_STARTS))
            continue
        n_left_out -= element.tag in _LEFT_OUT
        n_tables -= name == "tbl"
        if not n_left_out:
            parts.append(_own_text(name, element, origin))
        if name == ("tr" if n_tables else "p") or (name == "tbl" and not n_tables):
            if text := _line(parts, is_row=name == "tr"):
                yield separator + text
                separator = "\n" if name == "tr" else "\n\n"
            elif name == "tbl":
                separator = "\n\n" if separator else ""
            parts = []
        if name in ("p", "tbl"):
            element.clear()


def _own_text(name: str, element: ElementTree.Element, origin: Origin) -> str:
    if name == "t" or element.tag in (f"{_M}t", f"{_M_STRICT}t"):
        return element.text or ""
    if name == "tc":
        return "\t"
    if name == "p":
        return "\n"
    if name == "sym":
        return _symbol(element, origin)
    return _CHARACTERS.get(name) or _formula_mark(element.tag, dict.fromkeys(_FORMULA_STARTS, ")"))


def _formula_mark(tag: str, marks: Mapping[str, str]) -> str:
    if not tag.startswith((_M, _M_STRICT)):
        return ""
    return marks.get(tag.removeprefix(_M).removeprefix(_M_STRICT), "")


def _symbol(element: ElementTree.Element, origin: Origin) -> str:
    """A character given by its place in a font; one that is not known is noted."""
    given = {name.rsplit("}")[-1]: value for name, value in element.attrib.items()}
    try:
        code = int(given.get("char", ""), 16)
    except ValueError:
        code = 0xF000
    if not 0xE000 <= code <= 0xF8FF and 0x20 <= code <= 0xD7FF:
        return chr(code)
    text = _SYMBOL.get(code & 0xFF, "") if given.get("font") == "Symbol" else ""
    if not text:
        origin.notes["docx symbol not known"] += 1
    return text or "\ufffd"


def _line(parts: list[str], *, is_row: bool) -> str:
    whole = "".join(parts).replace("^()", "").replace("_()", "")
    text = valid_text(whole)
    if not is_row or not text:
        return text
    before = whole[: len(whole) - len(whole.lstrip())].count("\t")
    behind = whole[len(whole.rstrip()) :].count("\t") - 1  # the last cell's own
    text = text.replace("\n\t", "\t").replace("\n", " ")
    return "\t" * before + text + "\t" * behind
