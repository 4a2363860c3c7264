"""The text of a book in EPUB: its chapters in the order in which they are read.

EPUB (W3C, EPUB 3.3): META-INF/container.xml names a package, whose spine lists the chapters.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree import ElementTree

from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.html import page_text
from groundup.data.reading.licences import licence_in
from groundup.data.reading.origin import Origin, documents_of
from groundup.data.reading.streams import Budget, Content, guarded, opening_errors
from groundup.data.records import Document, Refusal, Refused

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/xml")
_NO_WORDS = re.compile(
    rb"<!--.*?-->|<(head|title|script|style)\b[^>]*(?<!/)>.*?</\1\s*>|<[^>]*>|&#?\w+;",
    re.DOTALL | re.IGNORECASE,
)
_WORD = re.compile(rb"[a-zA-Z\x80-\xff]{2}")
_HEADER_BYTES = 4 << 20  # of a package; larger ones are no books


@dataclass(frozen=True)
class _Package:
    chapters: tuple[str, ...]  # names of members, in reading order
    licence: str | None


def read_epub(
    content: Content, origin: Origin, config: ReadingConfig
) -> Iterator[Document | Refusal]:
    """A book as one document. Raises Refused: `encrypted`, `not_epub`, `no_text`."""
    data = content.read_whole(config.max_document_bytes)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            book = _Book(archive, config, len(data))
            package = book.package()
            book.check_open_to_all(package)
            lost: list[Refused] = []
            try:
                yield from documents_of(
                    _chapters(book, package, origin, lost),
                    origin,
                    config.piece_bytes,
                    licence=package.licence,
                )
            except Refused as refused:
                if not lost or refused.reason not in ("empty", "no_text"):
                    raise
            yield from (origin.refusal(refused) for refused in lost)
    except zipfile.BadZipFile as error:
        raise Refused("not_epub", f"is no EPUB: {error}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # and encodings not known
        raise Refused("not_epub", f"its package is damaged: {error}") from error


def _chapters(book: _Book, package: _Package, origin: Origin, lost: list[Refused]) -> Iterator[str]:
    """The text of each chapter; what cannot be read of them is put in `lost`."""
    separator = ""
    for name in package.chapters:
        try:
            data = book.member(name)
            text, _ = page_text(data, origin.notes, main_content=False, is_xml=True)
            if not text and _WORD.search(_NO_WORDS.sub(b" ", data)):
                raise Refused("not_html", "has words, of which none is found")
        except Refused as refused:
            lost.append(Refused(refused.reason, f"chapter {name}: {refused.detail}"))
            continue
        if text:
            yield separator + text
            separator = "\n\n"


class _Book:
    """An open EPUB, which unpacks to no more than it may."""

    def __init__(self, archive: zipfile.ZipFile, config: ReadingConfig, n_bytes: int) -> None:
        self._archive, self._config = archive, config
        self._budget = Budget(config, n_bytes)

    def member(self, name: str, limit_bytes: int | None = None) -> bytes:
        """Raises Refused if there is no such member or it cannot be unpacked."""
        try:
            info = self._archive.getinfo(name)
        except KeyError as error:
            raise Refused("not_epub", f"is no whole EPUB: it has no {name}") from error
        if info.flag_bits & 1:
            raise Refused("encrypted", f"{name} needs a password")
        with opening_errors():
            opened = self._archive.open(info)
        limit = limit_bytes or self._config.max_document_bytes
        with guarded(opened, self._budget) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Refused("too_large", f"{name} is above {limit:,} bytes")
        return data

    def package(self) -> _Package:
        """What is in the book."""
        container = ElementTree.fromstring(self.member(_CONTAINER, _HEADER_BYTES))
        paths = [e.get("full-path", "") for e in container.iter() if e.tag.endswith("rootfile")]
        if not paths:
            raise Refused("not_epub", f"{_CONTAINER} names no package")
        root = ElementTree.fromstring(self.member(paths[0], _HEADER_BYTES))
        folder = posixpath.dirname(paths[0])
        items = {
            item.get("id"): posixpath.normpath(
                posixpath.join(folder, unquote(item.get("href", "").split("#")[0]))
            )
            for item in _named(root, "item")
            if (item.get("media-type") or "").lower() in _PAGES
            and "nav" not in (item.get("properties") or "").split()
        }
        order = (items.get(ref.get("idref")) for ref in _named(root, "itemref"))
        chapters = tuple(name for name in order if name)
        if not chapters:
            raise Refused("not_epub", "its spine names no chapter that is read")
        return _Package(chapters, _licence(root))

    def check_open_to_all(self, package: _Package) -> None:
        """Raise Refused if chapters are encrypted; fonts may be."""
        if _ENCRYPTION not in self._archive.namelist():
            return
        root = ElementTree.fromstring(self.member(_ENCRYPTION, _HEADER_BYTES))
        named = {
            unquote(e.get("URI", "")) for e in root.iter() if e.tag.endswith("CipherReference")
        }
        if named & set(package.chapters):
            raise Refused("encrypted", "its chapters are encrypted (DRM)")


def _named(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements of that name: of OPF, whose older versions have another namespace or none."""
    return (e for e in root.iter() if isinstance(e.tag, str) and e.tag.rsplit("}")[-1] == name)


def _licence(root: ElementTree.Element) -> str | None:
    """Of the whole book: a link of its metadata, or what its rights say."""
    for link in _named(root, "link"):
        if link.get("rel", "").endswith("license") and not link.get("refines"):
            return licence_in(link.get("href", ""))
    return licence_in(" ".join(rights.text or "" for rights in _named(root, "rights")))
