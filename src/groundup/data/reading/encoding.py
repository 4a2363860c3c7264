"""In which encoding bytes are: a byte order mark, UTF-8, what the page says, or what is certain.

Called by the readers of text, tables and web pages. Text in Latin letters is told by the letters of
its language (`latin.py`); other guesses are left to a library, and one is taken only if there is
enough to tell by and all of the bytes agree with it.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from groundup.data.reading.latin import latin_encoding, looks_latin
from groundup.data.records import Refused

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_IN_USE = {  # encodings that uchardet is believed to have found, and what Python calls them
    **{f"cp125{n}": f"cp125{n}" for n in (1, 3, 5, 6)},
    **{f"iso8859-{n}": f"iso8859_{n}" for n in (5, 6, 7, 8)},
    **{name: name.replace("-", "_") for name in ("koi8-r", "koi8-u", "gb18030", "big5", "euc_jp")},
    "shift_jis": "cp932",
    "cp932": "cp932",
    "euc_kr": "cp949",
    "cp949": "cp949",
    "gbk": "gb18030",
    "cp874": "cp874",
    "iso8859-11": "cp874",
}
_OF_SEVERAL_BYTES = ("big5", "gb18030", "cp932", "euc_jp", "cp949")
_SAMPLE_BYTES = 32 << 10
_FEWEST_HIGH_BYTES = 12  # bytes above ASCII: with fewer a guess would be no more than that
_MOST = 0.8  # of the bytes above ASCII: characters of UTF-8 that are whole
_BYTES_PER_FAULT = 10_000  # of UTF-8 that is read in spite of its faults
_HIGH = re.compile(rb"[\x80-\xff]")
_ASCII = bytes(range(128))
_JAPANESE = "iso2022_jp_ext"
_ESCAPE_TO_JAPANESE = (b"\x1b$B", b"\x1b$@")  # ISO-2022-JP, which writes kanji with bytes of ASCII
_UKRAINIAN = re.compile(  # of KOI8-U beside a letter; in KOI8-R these are parts of frames
    rb"[\xc0-\xff][\xa4\xa6\xa7\xad\xb4\xb6\xb7\xbd]|[\xa4\xa6\xa7\xad\xb4\xb6\xb7\xbd][\xc0-\xff]"
)
_FOR_PRIVATE_USE = re.compile("[\ue000-\uf8ff]")
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


class TextEncoding(NamedTuple):
    """How text is decoded: encoding, length of its byte order mark, what is done with faults."""

    name: str
    n_mark: int
    errors: str = "strict"


def encoding_of(blocks: Iterable[bytes], notes: Counter[str]) -> tuple[str, int]:
    """`text_encoding` of what must have no fault, as (encoding, length of its byte order mark)."""
    found = text_encoding(blocks, notes, may_have_faults=False)
    return found.name, found.n_mark


def text_encoding(
    blocks: Iterable[bytes], notes: Counter[str], *, may_have_faults: bool = True
) -> TextEncoding:
    """The encoding of text, with one pass over it.

    What is not plain UTF-8 is noted. Of UTF-8 a byte in 10,000 may be none, which is read as
    U+FFFD: the book is kept, and nobody takes the fault for a letter. Blocks that break off are
    judged as far as they go. Raises Refused for `has_nul` and `not_utf8`.
    """
    given = _Given(blocks)
    head = next(given, b"")
    name, n_mark = mark_of(head)
    is_utf8 = name in ("", "utf-8")
    checked = _Check(name or "utf-8", has_wide=not is_utf8)
    seen = _Seen()
    for block in _after(head[n_mark:], given):
        seen.add(block)
        if not checked.take(block) and not (is_utf8 and checked.is_text):
            break
    if not given.has_broken_off:
        checked.finish()
    if not checked.is_text:
        raise Refused("has_nul", "holds NUL bytes: not plain text, or UTF-16; save it as UTF-8")
    if checked.bad_byte is None:
        name = seen.seven_bit_name() or name or "utf-8"
        if name != "utf-8":
            notes[f"encoding {name}"] += 1
        return TextEncoding(name, n_mark, "ignore" if given.has_broken_off else "strict")
    if is_utf8 and may_have_faults and (errors := _remedy(checked, seen)):
        notes["encoding utf-8 with faults"] += 1
        return TextEncoding("utf-8", n_mark, errors)
    if name:
        raise Refused(
            "not_utf8", f"byte {checked.bad_byte + n_mark} is not {name.upper()}; save it as UTF-8"
        )
    return TextEncoding(_guess(seen, checked.bad_byte, notes), 0)


def decoded(data: bytes, notes: Counter[str], declared: str | None = None) -> str:
    """Text from bytes held whole; `declared` is what a header or the page itself says.

    Bytes that are UTF-8 are taken for it whatever is declared: pages say many things. Raises
    Refused as `encoding_of` does; NUL in a page is dropped.
    """
    if not mark_of(data)[0]:
        if declared == "hz" and b"~{" in data and data.isascii():
            return data.decode(declared, "replace")
        is_wide = bool(declared) and str(declared).startswith("utf-16") and b"\0" in data
        is_asked = declared and (is_wide or _not_utf8(data))
        if declared and is_asked and (text := _as_declared(data, declared)) is not None:
            notes[f"encoding {codecs.lookup(declared).name}"] += 1
            return text
        data = data.replace(b"\0", b"")
    found = text_encoding([data], notes)
    return data[found.n_mark :].decode(found.name, "replace")


def _not_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


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


class _Given:
    """Blocks; that they are truncated or damaged is for who reads them again to tell."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self.has_broken_off = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._blocks)
        except Refused as refused:
            if refused.reason not in ("truncated", "damaged"):
                raise
            self.has_broken_off = True
            raise StopIteration from refused


class _Check:
    """Whether blocks are text in an encoding, and where not; of UTF-8, at how many places."""

    def __init__(self, name: str, *, has_wide: bool) -> None:
        self._decoder = codecs.getincrementaldecoder(name)()
        self._has_wide = has_wide
        self._replacing: _Replacing | None = None
        self.n_bytes = 0
        self.bad_byte: int | None = None
        self.is_text = True
        self.is_cut = False  # nothing is wrong but that it ends within a character

    @property
    def n_faults(self) -> int:
        return self._replacing.n_faults if self._replacing else 0

    def take(self, block: bytes) -> bool:
        """False once something is wrong."""
        if not self._has_wide and b"\0" in block:
            self.is_text = False
        self._decode(block, final=False)
        return self.is_text and self.bad_byte is None

    def finish(self) -> None:
        was_good = self.bad_byte is None
        self._decode(b"", final=True)
        self.is_cut = was_good and self.bad_byte is not None

    def _decode(self, block: bytes, *, final: bool) -> None:
        pending = self._decoder.getstate()[0]
        if self._replacing:
            self._replacing.take(block, final=final)
        else:
            try:
                text = self._decoder.decode(block, final)
                if self._has_wide and "\0" in text:
                    self.is_text = False
            except UnicodeDecodeError as error:
                self.bad_byte = self.n_bytes - len(pending) + error.start
                self._replacing = _Replacing()
                self._replacing.take(pending + block, final=final)
        self.n_bytes += len(block)


class _Replacing:
    """At how many places bytes are not UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._end = b""
        self.n_faults = 0

    def take(self, block: bytes, *, final: bool) -> None:
        own = (self._end + block).count("\ufffd".encode())  # the text may have it of its own
        self.n_faults += self._decoder.decode(block, final).count("\ufffd") - own
        self._end = (self._end + block)[-2:]


def _remedy(checked: _Check, seen: _Seen) -> str:
    """How UTF-8 with a few faults is decoded; "" where they are too many, or it is not UTF-8."""
    if 5 * checked.n_faults > seen.n_high:
        return ""
    if checked.is_cut:
        return "ignore"
    return "replace" if checked.n_faults * _BYTES_PER_FAULT <= checked.n_bytes else ""


class _Seen:
    """What is above ASCII: how many bytes, which, and stretches that hold some."""

    def __init__(self) -> None:
        self.n_high = 0
        self.used: set[int] = set()
        self._sample = bytearray()
        self._end = b""
        self._japanese: codecs.IncrementalDecoder | None = None
        self._is_japanese = True

    def add(self, block: bytes) -> None:
        if block.isascii():
            self._add_ascii(block)
            return
        high = block.translate(None, _ASCII)
        self.n_high += len(high)
        self.used.update(high)
        if len(self._sample) < _SAMPLE_BYTES and (found := _HIGH.search(block)):
            start = max(found.start() - 2048, 0)
            self._sample += block[start : start + _SAMPLE_BYTES]

    @property
    def sample(self) -> bytes:
        return bytes(self._sample)

    def _add_ascii(self, block: bytes) -> None:
        held = self._end + block
        if self._japanese is None and any(escape in held for escape in _ESCAPE_TO_JAPANESE):
            self._japanese = codecs.getincrementaldecoder(_JAPANESE)()
            block = held
        self._end = held[-2:]
        if self._japanese is not None:
            try:
                self._japanese.decode(block)
            except UnicodeDecodeError:
                self._is_japanese = False

    def seven_bit_name(self) -> str:
        """ISO-2022-JP where that is it. Raises Refused if it is said and is not."""
        if self.n_high or self._japanese is None:
            return ""
        if not self._is_japanese:
            raise Refused("not_utf8", "switches to Japanese as ISO-2022-JP does, and is damaged")
        return _JAPANESE


def _guess(seen: _Seen, bad_byte: int, notes: Counter[str]) -> str:
    """The encoding that is certain. Raises Refused (`not_utf8`) if none is."""
    data = seen.sample
    n_high = len(_HIGH.findall(data))
    n_utf8 = sum(len(found) for found in _UTF8_CHARACTER.findall(data))
    fault = f"byte {bad_byte} is not UTF-8; save the file as UTF-8"
    if n_utf8 > _MOST * n_high:
        raise Refused("not_utf8", f"{fault} (most of it is, so it is damaged)")
    if looks_latin(data):
        name = latin_encoding(data, frozenset(seen.used))
        if name is None and n_high >= _FEWEST_HIGH_BYTES:  # English with marks from a Chinese font
            name = _best_guess(data)
            name = name if name in _OF_SEVERAL_BYTES else None
    elif n_high < _FEWEST_HIGH_BYTES:
        raise Refused("not_utf8", fault)
    else:
        name = _best_guess(data)
    if name is None:
        raise Refused("not_utf8", f"{fault} (no other encoding is certain)")
    notes[f"encoding {name}"] += 1
    return name


def _best_guess(data: bytes) -> str | None:
    """What uchardet says if it is an encoding that is in use for other letters than Latin ones."""
    from resiliparse.parse.encoding import detect_encoding

    name = _IN_USE.get(str(detect_encoding(data)))
    if name == "gb18030" and _FOR_PRIVATE_USE.search(data.decode(name, "replace")):
        return None  # of a language, these are another encoding's
    return "koi8_u" if name == "koi8_r" and _UKRAINIAN.search(data) else name
