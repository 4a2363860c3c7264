"""The text of a PDF, page by page.

pypdfium2 binds PDFium, the reader of Chromium. A PDF holds lines and not paragraphs: words cut at
the end of a line are joined, lines are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.html import valid_text
from groundup.data.reading.origin import Origin, documents_of
from groundup.data.reading.streams import Content
from groundup.data.records import Document, Refusal, Refused

_PASSWORD = 4  # FPDF_ERR_PASSWORD
_CUT_WORD = re.compile("[\ufffe\x02](?:\r?\n)?")  # how PDFium writes a hyphen that cuts a word
_SPACES_AT_END = re.compile(r"[ \t]+(?=\n)")


def read_pdf(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """A PDF as one document. Raises Refused: `encrypted`, `not_pdf`, or `no_text` for pictures."""
    import pypdfium2 as pdfium

    data = content.read_whole(config.max_document_bytes)
    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD:
            raise Refused("encrypted", "needs a password; save it without one") from error
        raise Refused("not_pdf", f"cannot be read as PDF: {error}") from error
    try:
        n_pages = len(pdf)
        none = Refused("no_text", f"{n_pages} page(s) without text: pictures, which need OCR first")
        lost: list[Refused] = []
        try:
            yield from documents_of(_pages(pdf, lost), origin, config.piece_bytes, if_blank=none)
        except Refused as refused:
            if not lost or refused.reason not in ("empty", "no_text"):
                raise
        yield from (origin.refusal(refused) for refused in lost)
    finally:
        pdf.close()


def _pages(pdf: Any, lost: list[Refused]) -> Iterator[str]:
    """The text of each page that has some; one that cannot be read is put in `lost`."""
    from pypdfium2 import PdfiumError

    separator = ""
    for n in range(len(pdf)):
        try:
            text = _page_text(pdf, n)
        except PdfiumError as error:
            lost.append(Refused("not_pdf", f"page {n + 1} cannot be read: {error}"))
            continue
        if text:
            yield separator + text
            separator = "\n\n"


def _page_text(pdf: Any, n: int) -> str:
    page = pdf[n]
    try:
        textpage = page.get_textpage()
        try:
            text = str(textpage.get_text_bounded())
        finally:
            textpage.close()
    finally:
        page.close()
    return _SPACES_AT_END.sub("", valid_text(_CUT_WORD.sub("", text)))
