"""The text of a Word document: the paragraphs and tables of its body, in order.

Office Open XML (ECMA-376, part 1, section 17): `w:p` is a paragraph, `w:t` its text, `w:tr` and
`w:tc` the rows and cells of a table. What was deleted while changes were tracked stands in
`w:delText` and is left out; `mc:Fallback` repeats what stands beside it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.html import valid_text
from groundup.data.reading.origin import Origin, documents_of
from groundup.data.reading.streams import Budget, Content, guarded, opening_errors
from groundup.data.records import Document, Refusal, Refused

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_W_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_BODY = "word/document.xml"
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"  # of OLE files, which hold documents with a password
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read_docx(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """A Word document as one document. Raises Refused: `encrypted`, `not_docx`, `no_text`."""
    data = content.read_whole(config.max_document_bytes)
    if data.startswith(_OLD_OFFICE):
        raise Refused("encrypted", "needs a password, or is of Word before 2007; save it anew")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            body = archive.getinfo(_BODY)
            if body.flag_bits & 1:
                raise Refused("encrypted", "needs a password")
            with opening_errors():
                opened = archive.open(body)
            with guarded(opened, Budget(config, len(data))) as file:
                yield from documents_of(_paragraphs(file), origin, config.piece_bytes)
    except zipfile.BadZipFile as error:
        raise Refused("not_docx", f"is no Word document: {error}") from error
    except KeyError as error:
        raise Refused("not_docx", f"is no Word document: it has no {_BODY}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # and encodings not known
        raise Refused("not_docx", f"its text is damaged: {error}") from error


def _paragraphs(file: io.BufferedIOBase | object) -> Iterator[str]:
    """Paragraphs with a blank line between them, the rows of a table each on a line."""
    parts: list[str] = []
    n_fallback = n_tables = 0
    separator = ""
    for event, element in ElementTree.iterparse(file, ("start", "end")):  # type: ignore[arg-type]
        name = element.tag.removeprefix(_W).removeprefix(_W_STRICT)
        if event == "start":
            n_fallback += element.tag == _FALLBACK
            n_tables += name == "tbl"
            continue
        n_fallback -= element.tag == _FALLBACK
        n_tables -= name == "tbl"
        if not n_fallback:
            parts.append(_own_text(name, element))
        if name == ("tr" if n_tables else "p") or (name == "tbl" and not n_tables):
            if text := _line(parts, is_row=name == "tr"):
                yield separator + text
                separator = "\n" if name == "tr" else "\n\n"
            elif name == "tbl":
                separator = "\n\n" if separator else ""
            parts = []
        if name in ("p", "tbl"):
            element.clear()


def _own_text(name: str, element: ElementTree.Element) -> str:
    if name == "t":
        return element.text or ""
    if name == "tc":
        return "\t"
    if name == "p":
        return "\n"
    return _CHARACTERS.get(name, "")


def _line(parts: list[str], *, is_row: bool) -> str:
    text = valid_text("".join(parts))
    return text.replace("\n\t", "\t").replace("\n", " ") if is_row else text
