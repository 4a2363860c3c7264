"""In which encoding bytes are: a byte order mark, UTF-8, what the page says, or what is certain.

Called by the readers of text, tables and web pages. Guessing is left to two libraries, and a guess
is taken only if there is enough to tell by and all of the bytes agree with it.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from groundup.data.records import Refused

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_IN_USE = {  # encodings that uchardet is believed to have found, and what Python calls them
    **{f"cp125{n}": f"cp125{n}" for n in range(7)},
    **{f"iso8859-{n}": f"iso8859_{n}" for n in (1, 2, 5, 6, 7, 8, 9, 15)},
    **{name: name.replace("-", "_") for name in ("koi8-r", "koi8-u", "gb18030", "big5", "euc_jp")},
    "shift_jis": "cp932",
    "cp932": "cp932",
    "euc_kr": "cp949",
    "cp949": "cp949",
    "gbk": "gb18030",
    "cp874": "cp874",
    "iso8859-11": "cp874",
}
_SAMPLE_BYTES = 32 << 10
_FEWEST_HIGH_BYTES = 12  # bytes above ASCII: with fewer a guess would be no more than that
_MOST = 0.8  # of the bytes above ASCII: characters of UTF-8 that are whole
_HIGH = re.compile(rb"[\x80-\xff]")
_UTF8_CHARACTER = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)


def mark_of(head: bytes) -> tuple[str, int]:
    """(encoding, length) of the byte order mark; ("", 0) if there is none.

    >>> mark_of("hi".encode("utf-16"))[1], mark_of(b"hi")
    (2, ('', 0))
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    return "", 0


def encoding_of(blocks: Iterable[bytes], notes: Counter[str]) -> tuple[str, int]:
    """(encoding, length of its byte order mark) of text, with one pass over it.

    An encoding other than UTF-8 is noted. Raises Refused for `has_nul` and `not_utf8`.
    """
    blocks = iter(blocks)
    head = next(blocks, b"")
    name, n_mark = mark_of(head)
    marked = bool(name)
    checked = _Check(name or "utf-8", has_wide=name.startswith(("utf-16", "utf-32")))
    seen = _Sample()
    for block in _after(head[n_mark:], blocks):
        seen.add(block)
        if not checked.take(block) and (marked or not checked.is_text):
            break
    checked.finish()
    if not checked.is_text:
        raise Refused("has_nul", "holds NUL bytes: not plain text, or UTF-16; save it as UTF-8")
    if checked.bad_byte is None:
        if name not in ("", "utf-8"):
            notes[f"encoding {name}"] += 1
        return name or "utf-8", n_mark
    if marked:
        raise Refused(
            "not_utf8", f"byte {checked.bad_byte + n_mark} is not {name.upper()}; save it as UTF-8"
        )
    return _guess(seen, checked.bad_byte, notes), 0


def decoded(data: bytes, notes: Counter[str], declared: str | None = None) -> str:
    """Text from bytes held whole; `declared` is what a header or the page itself says.

    Bytes that are UTF-8 are taken for it whatever is declared: pages say many things. Raises
    Refused as `encoding_of` does; NUL in a page is dropped.
    """
    name, n_mark = mark_of(data)
    if not name and declared and _is_seven_bit(data, declared):
        return data.decode(declared, "replace")
    if not name:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
        if declared and (text := _as_declared(data, declared)) is not None:
            notes[f"encoding {codecs.lookup(declared).name}"] += 1
            return text
        data = data.replace(b"\0", b"")
        name, n_mark = encoding_of([data], notes)
    return data[n_mark:].decode(name, "replace")


def _is_seven_bit(data: bytes, declared: str) -> bool:
    """Whether it is one of those encodings that write other letters with bytes of ASCII."""
    return declared in ("iso2022_jp", "iso-2022-jp", "hz") and b"\x1b" in data and data.isascii()


def _as_declared(data: bytes, declared: str) -> str | None:
    """Text in the declared encoding, None if more than a few of its bytes do not fit."""
    try:
        text = data.decode(declared, "replace")
    except (LookupError, UnicodeError):
        return None
    return text if text.count("\ufffd") <= len(text) // 1000 else None


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class _Check:
    """Whether blocks are text in an encoding, and where not."""

    def __init__(self, name: str, *, has_wide: bool) -> None:
        self._decoder = codecs.getincrementaldecoder(name)()
        self._has_wide = has_wide
        self._n_bytes = 0
        self.bad_byte: int | None = None
        self.is_text = True

    def take(self, block: bytes) -> bool:
        """False once something is wrong."""
        if not self._has_wide and b"\0" in block:
            self.is_text = False
        if self.bad_byte is None:
            self._decode(block, final=False)
        return self.is_text and self.bad_byte is None

    def finish(self) -> None:
        if self.bad_byte is None:
            self._decode(b"", final=True)

    def _decode(self, block: bytes, *, final: bool) -> None:
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            self.bad_byte = self._n_bytes - pending + error.start
            return
        self._n_bytes += len(block)
        if self._has_wide and "\0" in text:
            self.is_text = False


class _Sample:
    """The first bytes, and those stretches that are not all ASCII, as far as there is room."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, block: bytes) -> None:
        if len(self.data) >= _SAMPLE_BYTES:
            return
        if found := _HIGH.search(block):
            start = max(found.start() - 2048, 0)
            self.data += block[start : start + _SAMPLE_BYTES]


def _guess(sample: _Sample, bad_byte: int, notes: Counter[str]) -> str:
    """The encoding that is certain. Raises Refused (`not_utf8`) if none is."""
    data = bytes(sample.data)
    n_high = len(_HIGH.findall(data))
    n_utf8 = sum(len(found) for found in _UTF8_CHARACTER.findall(data))
    fault = f"byte {bad_byte} is not UTF-8; save the file as UTF-8"
    if n_high < _FEWEST_HIGH_BYTES:
        raise Refused("not_utf8", fault)
    if n_utf8 > _MOST * n_high:
        raise Refused("not_utf8", f"{fault} (most of it is, so it is damaged)")
    name = _best_guess(data)
    if name is None:
        raise Refused("not_utf8", f"{fault} (no other encoding fits it)")
    notes[f"encoding {name}"] += 1
    return name


def _best_guess(data: bytes) -> str | None:
    """What uchardet says if it is an encoding that is in use, else Windows-1252 where it may be.

    charset-normalizer alone takes most Western text for an encoding of Central Europe or of DOS.
    """
    from charset_normalizer import from_bytes
    from resiliparse.parse.encoding import detect_encoding

    name = str(detect_encoding(data))
    if name in _IN_USE:
        return _IN_USE[name]
    found = from_bytes(data, enable_fallback=False, cp_isolation=sorted(set(_IN_USE.values())))
    return "cp1252" if any(match.encoding == "cp1252" for match in found) else None
