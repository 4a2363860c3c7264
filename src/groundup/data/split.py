"""Where documents are cut and which of them are held out: both follow from the text alone."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

import xxhash

T = TypeVar("T")
Split = Literal["train", "heldout"]
SPLITS: tuple[Split, Split] = ("train", "heldout")
HASH_RANGE = 1 << 32
# The borders a long text may be cut after, best first; the cut falls at the last that fits. Before
# each, the bytes one of which it begins with: to look for these costs next to nothing.
_BORDERS = (
    ((b"\n",), re.compile(rb"\n[ \t]*\n+")),  # paragraphs
    ((b"\n",), re.compile(rb"\n")),  # lines
    # sentences, the ideographic stop too
    ((b".", b"!", b"?", b"\xe3"), re.compile(rb"[.!?][\"')\]]*[ \t]+|\xe3\x80\x82")),
    ((b" ", b"\t"), re.compile(rb"[ \t]+")),  # words
)
_OF_BORDERS = b" \t\n.!?\"')]\xe3\x80\x82"  # the bytes that borders are made of
_SMALLEST_PART = 0.5  # of the limit: a better border may not make a piece shorter than this
_NEAR_BYTES = 4096  # before the limit, where a border is looked for first


def content_hash(text: str) -> bytes:
    """128-bit hash of a text, equal on every machine."""
    return xxhash.xxh3_128_digest(text.encode())


def falls_in_heldout(digest: bytes, fraction: float) -> bool:
    """Whether a text with this hash is held out: hash mod 2^32 lies below fraction * 2^32.

    The verdict depends on the text alone, so it stays when other documents come or go.
    """
    return int.from_bytes(digest, "big") % HASH_RANGE < fraction * HASH_RANGE


class HeldoutChooser(Generic[T]):
    """Sends each item to train or heldout by its hash, and sees that heldout is not empty.

    Small collections may have no hash below the fraction. So the `minimum` items with the smallest
    hashes are held back while the rest streams by; if by the end too few fell in heldout, those
    fill it up (as long as one item stays in train), otherwise they go to train.
    """

    def __init__(self, fraction: float, minimum: int) -> None:
        self.fraction, self.minimum = fraction, minimum
        self.n_heldout = self.n_train = 0
        self._back: list[tuple[int, int, T]] = []  # heap: largest hash first
        self._n_seen = 0

    def send(self, digest: bytes, item: T) -> Iterator[tuple[Split, T]]:
        """Take one item; yields ("train" or "heldout", item) for each whose place is now known."""
        self._n_seen += 1
        if falls_in_heldout(digest, self.fraction):
            self.n_heldout += 1
            yield "heldout", item
        else:
            number = int.from_bytes(digest, "big") % HASH_RANGE
            heapq.heappush(self._back, (-number, self._n_seen, item))
        yield from self._release(keep=max(self.minimum - self.n_heldout, 0))

    def finish(self) -> Iterator[tuple[Split, T]]:
        """The items held back, smallest hash first, each with its place."""
        for _, _, item in sorted(self._back, key=lambda entry: (-entry[0], entry[1])):
            left = self._n_seen - self.n_heldout - self.n_train
            if self.n_heldout < self.minimum and left + self.n_train > 1:
                self.n_heldout += 1
                yield "heldout", item
            else:
                self.n_train += 1
                yield "train", item
        self._back = []

    def _release(self, keep: int) -> Iterator[tuple[Split, T]]:
        while len(self._back) > keep:
            self.n_train += 1
            yield "train", heapq.heappop(self._back)[2]


def cut_text(text: str, limit_bytes: int | None) -> list[str]:
    """Pieces of at most `limit_bytes` UTF-8 bytes that joined give `text` again.

    The held-out split goes by document, so a whole book in one file would land on one side of it
    as a whole; in pieces it is spread over both. A cut falls after the last paragraph break in
    the second half of what fits, else the last line, sentence or word, else between characters.

    >>> cut_text("One. Two.\\n\\nThree. Four.", 16)
    ['One. Two.\\n\\n', 'Three. Four.']
    """
    data = text.encode()
    if limit_bytes is None or len(data) <= limit_bytes:
        return [text]
    pieces, start = [], 0
    while len(data) - start > limit_bytes:
        end = _cut_point(data, start, start + limit_bytes)
        pieces.append(data[start:end].decode())
        start = end
    return [*pieces, data[start:].decode()]


def _cut_point(data: bytes, start: int, limit: int) -> int:
    """Where the piece that begins at `start` ends, at most at `limit`.

    Each border is looked for in the last bytes before the limit first, and from the earliest point
    that a cut may have if it is not there; the cut is that of a search from `start`.
    """
    earliest = start + int((limit - start) * _SMALLEST_PART)
    # A border that reaches from before one of these points to behind it is searched whole.
    begins = [
        start + len(data[start:point].rstrip(_OF_BORDERS))
        for point in dict.fromkeys((max(limit - _NEAR_BYTES, earliest), earliest))
    ]
    for firsts, border in _BORDERS:
        for begin in begins:
            if all(data.find(first, begin, limit) < 0 for first in firsts):
                continue
            ends = [match.end() for match in border.finditer(data, begin, limit)]
            if ends and ends[-1] >= earliest:
                return ends[-1]
    while limit > start + 1 and data[limit] & 0xC0 == 0x80:  # inside a UTF-8 character
        limit -= 1
    return limit
