"""Where a record comes from, and documents cut from texts that may be too long to hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from groundup.data.records import Document, Refusal, Refused
from groundup.data.split import cut_text

_PIECES_AT_A_TIME = 4
_DETAIL_CHARACTERS = 500


@dataclass(frozen=True)
class Origin:
    """A file or a member of an archive, as its records name it.

    source: name of the source
    path: relative to the source, such as "books/a.zip!/b.txt"
    licence: of all its documents that do not name one themselves
    column: of its rows that holds the text; None for `text` and the columns of chats and pairs
    notes: counts of what was assumed on the way, such as "encoding cp1252"
    """

    source: str
    path: str
    licence: str | None = None
    column: str | None = None
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def id(self) -> str:
        """What the ids of its records begin with."""
        return f"{self.source}/{self.path}"

    def document(
        self,
        text: str,
        number: int | str,
        *,
        licence: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> Document:
        """Number `number` of its documents; `span` is where its bytes begin and end."""
        start, end = span or (None, None)
        return Document(
            text,
            f"{self.id}#{number}",
            self.source,
            licence=licence or self.licence,
            path=self.path,
            start=start,
            end=end,
        )

    def refusal(self, refused: Refused, number: int | str | None = None) -> Refusal:
        """Why it, or number `number` of what it holds, cannot be used."""
        detail = storable(refused.detail)
        if len(detail) > _DETAIL_CHARACTERS:
            detail = detail[:_DETAIL_CHARACTERS] + "..."
        id = self.id if number is None else f"{self.id}#{number}"
        return Refusal(id, self.source, "read", refused.reason, detail)


def storable(text: str) -> str:
    r"""A string that can be stored as UTF-8: halves of surrogate pairs stand as \udcNN.

    >>> storable("a\udcffb")
    'a\\udcffb'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def pieces_of(texts: Iterable[str], piece_bytes: int) -> Iterator[str]:
    """`cut_text` of the joined texts, with a few pieces in memory.

    >>> list(pieces_of(["One. Tw", "o.\\n\\nThree. ", "Four."], 16))
    ['One. Two.\\n\\n', 'Three. Four.']
    """
    held: list[str] = []
    n_held = 0
    for text in texts:
        held.append(text)
        n_held += len(text)
        if n_held > _PIECES_AT_A_TIME * piece_bytes:
            *done, rest = cut_text("".join(held), piece_bytes)
            yield from done
            held, n_held = [rest], len(rest)
    if n_held:
        yield from cut_text("".join(held), piece_bytes)


def documents_of(
    texts: Iterable[str],
    origin: Origin,
    piece_bytes: int,
    *,
    licence: str | None = None,
    if_blank: Refused | None = None,
) -> Iterator[Document | Refusal]:
    """One text, given in parts, as documents numbered from 0; those that are blank are refused.

    Raises `if_blank` (or else Refused for `no_text`) if all of it is.
    """
    n_documents = n_blank = 0
    for n, piece in enumerate(pieces_of(texts, piece_bytes)):
        if piece.strip():
            n_documents += 1
            yield origin.document(piece, n, licence=licence)
        else:
            n_blank += 1
    if not n_documents:
        raise if_blank or Refused("no_text", "holds no text")
    if n_blank:
        yield origin.refusal(Refused("empty", f"{n_blank} of its pieces are white space"))
